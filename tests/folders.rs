//! Model folders and prompts in the forms that users have, tested through the binary with a small new model.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

struct Place(tempfile::TempDir);

impl Place {
    /// Creates a new model in `tiny`.
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.succeed("model new --output tiny --hidden 16 --layers 1 --context 256");
        place
    }

    fn run(&self, words: &str) -> (bool, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        let output = command.args(words.split_whitespace()).current_dir(self.0.path()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    fn succeed(&self, words: &str) -> String {
        let (fine, said, error) = self.run(words);
        assert!(fine, "{words}: {error}");
        said
    }

    fn refuse(&self, words: &str) -> String {
        let (fine, said, error) = self.run(words);
        assert!(!fine && !error.contains("panicked"), "{words}: {said}{error}");
        error
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn records(&self, name: &str) -> Vec<Value> {
        self.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Changes a JSON file with `change`.
    fn change(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_str(&self.read(name)).unwrap();
        change(&mut value);
        self.write(name, &value.to_string());
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }
}

const GENERATE: &str = "generate --model tiny --prompts prompts.jsonl --max-new-tokens 4 --temperature 0";
const TOOLS: &str = r#""tools": [{"type": "function", "function": {"name": "weather"}}]"#;

#[test]
fn tools_of_a_prompt_reach_the_template_or_are_refused() {
    let place = Place::new();
    let prompt = r#""prompt": [{"role": "user", "content": "rain?"}]"#;
    place.write("prompts.jsonl", &format!("{{\"id\": 1, {prompt}, {TOOLS}}}\n{{\"id\": 2, {prompt}}}\n"));
    let error = place.refuse(&format!("{GENERATE} --output a.jsonl"));
    assert!(error.contains("record 1") && error.contains("the chat template does not write the tools"), "{error}");
    let source = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                  {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    place.write("tiny/additional_chat_templates/tool_use.jinja", &format!("{{{{ tools | tojson }}}}\n{source}"));
    place.succeed(&format!("{GENERATE} --output a.jsonl"));
    let answers = place.records("a.jsonl");
    assert_ne!(answers[0]["logprob"], answers[1]["logprob"]);
    // Other files of the folder are copied.
    for words in ["model export tiny --output copy", "model import tiny --output copy2"] {
        place.succeed(words);
    }
    for copy in ["copy", "copy2"] {
        let template = place.read(&format!("{copy}/additional_chat_templates/tool_use.jinja"));
        assert!(template.contains("tools | tojson"));
    }
}

#[test]
fn an_id_names_one_prompt_and_a_missing_one_is_filled_in() {
    let place = Place::new();
    place.write("prompts.jsonl", "{\"id\": \"1\", \"prompt\": \"hi\"}\n{\"id\": \"1\", \"prompt\": \"ho\"}\n");
    let error = place.refuse(&format!("{GENERATE} --output a.jsonl"));
    assert!(error.contains("prompts.jsonl:2: id: \"1\" is also the id of prompts.jsonl:1"), "{error}");
    place.write("prompts.jsonl", "{\"prompt\": \"hi\"}\n{\"prompt\": \"ho\", \"system\": \"s\"}\n");
    place.succeed(&format!("{GENERATE} --output a.jsonl"));
    let ids: Vec<Value> = place.records("a.jsonl").iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [json!("prompts.jsonl:1"), json!("prompts.jsonl:2")]);
}

/// The type of each tensor of a model, by name.
fn types(folder: &Path) -> Vec<(String, String)> {
    let checkpoint = weights::Checkpoint::open(folder).unwrap();
    let one = |name: &str| (name.to_owned(), format!("{:?}", checkpoint.tensor(name).unwrap().dtype));
    checkpoint.names().map(one).collect()
}

#[test]
fn an_export_keeps_the_types_of_all_tensors() {
    let place = Place::new();
    place.succeed("model export tiny --output narrow --save-dtype bf16");
    // Norms in float32, as in mixed-precision checkpoints.
    let (narrow, wide) = (place.path("narrow"), place.path("tiny"));
    let mixed = place.path("mixed");
    fs::create_dir(&mixed).unwrap();
    for entry in fs::read_dir(&narrow).unwrap().flatten() {
        fs::copy(entry.path(), mixed.join(entry.file_name())).unwrap();
    }
    let (a, b) = (weights::Checkpoint::open(&narrow).unwrap(), weights::Checkpoint::open(&wide).unwrap());
    let of = |name: &str| if name.contains("norm") { b.tensor(name).unwrap() } else { a.tensor(name).unwrap() };
    let names: Vec<String> = a.names().map(str::to_owned).collect();
    let declared = names.iter().map(|name| (name.clone(), of(name).dtype, of(name).shape.to_vec())).collect();
    let mut writer = weights::SafetensorsWriter::create(&mixed, declared).unwrap();
    for name in &names {
        writer.write(name, of(name).data).unwrap();
    }
    writer.finish().unwrap();
    let said = place.succeed("model export mixed --output out");
    assert!(said.contains("(bf16 and f32)"), "{said}");
    assert_eq!(types(&place.path("out")), types(&mixed));
    assert!(
        types(&mixed).iter().any(|(_, kind)| kind == "F32") && types(&mixed).iter().any(|(_, kind)| kind == "BF16")
    );
}

#[test]
fn folders_that_cannot_be_used_are_named_as_what_they_are() {
    let place = Place::new();
    place.write("prompts.jsonl", "{\"prompt\": \"hi\"}\n");
    let generate = |model: &str| place.refuse(&format!("{} --output a.jsonl", GENERATE.replace("tiny", model)));
    let error = generate("../nowhere/tiny");
    assert!(error.contains("no model at ../nowhere/tiny: there is no such folder"), "{error}");
    fs::create_dir(place.path("adapter")).unwrap();
    place.write("adapter/adapter_config.json", "{}");
    let error = generate("adapter");
    assert!(error.contains("this is a LoRA adapter without its base model") && error.contains("herd merge"), "{error}");
    // A padding token that is unknown to the tokenizer does no harm, because none is needed.
    place.change("tiny/tokenizer_config.json", |config| config["pad_token"] = json!("<|pad|>"));
    place.succeed(&format!("{GENERATE} --output a.jsonl"));
    let config = place.read("tiny/config.json");
    place.change("tiny/config.json", |config| config["quantization_config"] = json!({"quant_method": "gptq"}));
    assert!(generate("tiny").contains("the weights are quantised (gptq)"));
    place.write("tiny/config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\n");
    assert!(generate("tiny").contains("config.json is not a JSON object: this is a Git LFS pointer"));
    place.write("tiny/config.json", &config);
    fs::remove_file(place.path("tiny/tokenizer.json")).unwrap();
    let error = generate("tiny");
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
}

#[test]
fn an_imported_model_tells_where_its_weights_came_from() {
    let place = Place::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/weights/tests/fixtures");
    for (name, origin) in [
        ("qwen3-llama-bpe", "restored from 8-bit weights (Q8_0) of qwen3-llama-bpe.gguf: less exact than the original"),
        ("qwen2-bpe", "converted from qwen2-bpe.gguf (BF16)"),
    ] {
        place.succeed(&format!("model import {}/{name}.gguf --output {name}", fixtures.display()));
        let told = place.succeed(&format!("model info {name}"));
        assert!(told.contains(&format!("     weights  {origin}\n")), "{told}");
        // A copy keeps it.
        place.succeed(&format!("model export {name} --output {name}-copy"));
        assert!(place.succeed(&format!("model info {name}-copy")).contains(origin));
    }
    assert!(!place.succeed("model info tiny").contains("     weights  "));
    let mut list = Command::new(env!("CARGO_BIN_EXE_herd"));
    let cache = place.path("cache/models");
    fs::create_dir_all(&cache).unwrap();
    fs::rename(place.path("qwen3-llama-bpe"), cache.join("q")).unwrap();
    // A model that was fetched before its origin was written.
    fs::rename(place.path("tiny"), cache.join("smollm2-135m-instruct")).unwrap();
    let output = list.args(["model", "list"]).env("HERD_CACHE", place.path("cache")).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "q\trestored from 8-bit weights (Q8_0) of qwen3-llama-bpe.gguf: less exact than the original");
    assert!(
        lines[1].starts_with("smollm2-135m-instruct\trestored from 4-bit weights (Q4_1) of SmolLM2-135M-"),
        "{told}"
    );
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("2 models in "));
}

#[test]
fn herd_again_names_the_program_of_a_stage_that_herd_does_not_have() {
    let place = Place::new();
    place.succeed("data make --topics words --train 2 --heldout 2 --output made");
    place.change("made/run.json", |record| {
        record["stage"]["name"] = json!("orpo");
        record["command"] = json!(["target/debug/examples/orpo", "--data", "my pairs.jsonl", "--output", "made"]);
        record["directory"] = json!("/somewhere");
    });
    let error = place.refuse("again made");
    let told = "error: made was made by target/debug/examples/orpo (stage orpo), which is no command of herd: repeat it in \
                /somewhere with `target/debug/examples/orpo --data 'my pairs.jsonl' --output made-again`, and compare";
    assert!(error.starts_with(told) && error.lines().count() == 1, "{error}");
    // The output stands in a configuration file.
    place.change("made/run.json", |record| record["command"] = json!(["orpo", "--config", "orpo.toml"]));
    let error = place.refuse("again made");
    assert!(error.contains("with `orpo --config orpo.toml --output made-again`"), "{error}");
}

#[test]
fn an_output_that_is_a_file_is_told_as_such() {
    let place = Place::new();
    place.write("taken", "");
    let error = place.refuse("data make --topics words --train 2 --heldout 2 --output taken");
    let told = "error: cannot create the run folder taken: it is a file; give the name of a new folder, or the folder of an \
                earlier run\n";
    assert_eq!(error, told);
}

#[test]
fn herd_again_repeats_runs_that_sample() {
    let place = Place::new();
    place.succeed("data make --topics words --difficulties easy --train 2 --heldout 2 --seed 1 --output d");
    // Device and threads are keys of the configuration file, like the other flags.
    let common = "model = \"tiny\"\nmax_new_tokens = 4\nthreads = 1\ndevice = \"cpu\"\n";
    place.write("eval.toml", &format!("{common}tasks = [\"problems\"]\nproblems = \"d/heldout.jsonl\"\n"));
    place.succeed("eval --config eval.toml --output evaluated");
    place.write("rs.toml", &format!("{common}problems = \"d/train.jsonl\"\nselect = \"verifier\"\nsamples = 2\n"));
    place.succeed("rejection-sampling run --config rs.toml --output sampled");
    for folder in ["evaluated", "sampled"] {
        let said = place.succeed(&format!("again {folder}"));
        assert!(said.contains("the same bytes") && !said.contains("may differ"), "{folder}: {said}");
    }
}
