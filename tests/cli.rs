//! Runs the commands as users do, on a real model. Tests that need the model are skipped if it is not in the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const MODEL: &str = "smollm2-135m-instruct";

fn model() -> Option<PathBuf> {
    test_support::require(llama::locate::locate(MODEL))
}

fn herd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_herd")).args(arguments).output().unwrap()
}

/// Runs a command that must succeed, and returns its output.
fn succeed(arguments: &[&str]) -> String {
    let output = herd(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command that must fail with one sentence, and returns the sentence.
fn refuse(arguments: &[&str]) -> String {
    let output = herd(arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {text}");
    let error = text.lines().skip_while(|line| !line.starts_with("error: ")).collect::<Vec<_>>();
    assert_eq!(error.len(), 1, "{text}");
    assert!(!text.contains("panicked"), "{text}");
    error[0].to_owned()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn prompts(folder: &Path) -> String {
    let lines = ["What is the capital of France?", "Say hi.", "Count to five."].iter().enumerate();
    let lines: Vec<String> = lines
        .map(|(id, text)| json!({"id": format!("p{id}"), "prompt": [{"role": "user", "content": text}]}).to_string())
        .collect();
    write(folder, "prompts.jsonl", &(lines.join("\n") + "\n"))
}

fn records(path: &str) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn generate_writes_every_sample_in_order_and_goes_on_where_it_was_cut_off() {
    if model().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let prompts = prompts(folder.path());
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let generate = |output: &str, more: &[&str]| {
        let fixed = ["generate", "--model", MODEL, "--prompts", &prompts, "--output", output, "--dtype", "f32"];
        succeed(&[&fixed[..], &["--max-new-tokens", "12", "--temperature", "0.9", "-n", "2"], more].concat())
    };
    let whole = path("whole.jsonl");
    let printed = generate(&whole, &["--max-num-seqs", "4"]);
    assert!(printed.contains("6 answers") && printed.contains("tokens/s"), "{printed}");
    let found = records(&whole);
    let order: Vec<(&str, u64)> =
        found.iter().map(|r| (r["id"].as_str().unwrap(), r["sample"].as_u64().unwrap())).collect();
    assert_eq!(order, [("p0", 0), ("p0", 1), ("p1", 0), ("p1", 1), ("p2", 0), ("p2", 1)]);
    for record in &found {
        assert!(record["logprob"].as_f64().unwrap() < 0.0);
        assert!(["stop", "length"].contains(&record["finish_reason"].as_str().unwrap()));
        assert!(record["tokens"].as_u64().unwrap() <= 12);
    }
    assert_ne!(found[0]["seed"], found[1]["seed"]);

    // The files of an interrupted run: some answers exist, and the last line is incomplete.
    let resumed = path("resumed.jsonl");
    let mut child = Command::new(env!("CARGO_BIN_EXE_herd"))
        .args(["generate", "--model", MODEL, "--prompts", &prompts, "--output", &resumed, "--dtype", "f32"])
        .args(["--max-new-tokens", "12", "--temperature", "0.9", "-n", "2", "--max-num-seqs", "4"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let partial = || {
        let entries = fs::read_dir(folder.path()).unwrap().flatten();
        entries.map(|entry| entry.path()).find(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.contains("resumed") && fs::metadata(path).is_ok_and(|file| file.len() > 0)
        })
    };
    while partial().is_none() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    generate(&resumed, &["--max-num-seqs", "4"]);
    assert_eq!(fs::read(&whole).unwrap(), fs::read(&resumed).unwrap());
}

#[test]
fn ignore_eos_goes_on_to_the_maximum_and_stop_strings_end_an_answer() {
    if model().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let prompts = prompts(folder.path());
    let output = folder.path().join("out.jsonl").to_string_lossy().into_owned();
    let fixed = ["generate", "--model", MODEL, "--prompts", &prompts, "--output", &output, "--temperature", "0"];
    succeed(&[&fixed[..], &["--max-new-tokens", "20", "--ignore-eos"]].concat());
    assert!(records(&output).iter().all(|record| record["tokens"] == 20 && record["finish_reason"] == "length"));
    fs::remove_file(&output).unwrap();
    succeed(&[&fixed[..], &["--max-new-tokens", "20", "--stop", " France"]].concat());
    assert_eq!(records(&output)[0]["response"], "The capital of");
    assert_eq!(records(&output)[0]["finish_reason"], "stop");
}

#[test]
fn chat_answers_a_question() {
    if model().is_none() {
        return;
    }
    assert_eq!(
        succeed(&["chat", "--model", MODEL, "--ask", "What is the capital of France?"]).trim(),
        "The capital of France is Paris."
    );
}

#[test]
fn an_exported_model_is_the_same_model() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("bf16"), folder.path().join("again"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    succeed(&["model", "export", &text(&model), "--output", &text(&first), "--save-dtype", "bf16"]);
    succeed(&["model", "export", &text(&first), "--output", &text(&second)]);
    assert!(tensors(&first) == tensors(&second), "the tensors of both differ");
    let info = succeed(&["model", "info", &text(&second)]);
    assert!(info.contains("134.5 M, bf16") && info.contains("template found"), "{info}");
    let error = refuse(&["model", "export", &text(&model), "--output", &text(&first)]);
    assert!(error.contains("exists"), "{error}");
}

/// The digest of each tensor of a model's file with its description, independent of their order.
fn tensors(model: &Path) -> BTreeMap<String, (String, Value, String)> {
    let file = fs::read(model.join("model.safetensors")).unwrap();
    let (length, rest) = file.split_at(8);
    let (header, data) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    let of = |(name, tensor): (String, Value)| {
        let place = |end: usize| tensor["data_offsets"][end].as_u64().unwrap() as usize;
        let digest = dataset::digest::bytes(&data[place(0)..place(1)]);
        (name, (tensor["dtype"].to_string(), tensor["shape"].clone(), digest))
    };
    header.into_iter().filter(|(name, _)| name != "__metadata__").map(of).collect()
}

#[test]
fn a_new_model_is_made_once() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("model").to_string_lossy().into_owned();
    let make = |seed| ["model", "new", "--hidden", "32", "--layers", "1", "--seed", seed, "--output", &output];
    succeed(&make("1"));
    succeed(&make("1"));
    assert!(succeed(&["model", "info", &output]).contains("1 of width 32, feed-forward 64"));
    let error = refuse(&make("2"));
    assert!(error.contains("exists and is another model"), "{error}");
}

#[test]
fn doctor_reports() {
    let report = succeed(&["doctor"]);
    for line in ["libtorch  2.11.0", "GPU", "processor", "features", "threads", "cache", "python3"] {
        assert!(report.contains(line), "{line}: {report}");
    }
}

#[test]
fn mistakes_get_one_sentence_without_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = prompts(folder.path());
    let output = folder.path().join("out.jsonl").to_string_lossy().into_owned();
    let error = refuse(&["generate", "--model", "no-such-model", "--prompts", &prompts, "--output", &output]);
    assert!(error.contains("no-such-model"), "{error}");
    let error = refuse(&["model", "get", "gpt-5"]);
    assert!(error.contains(MODEL), "{error}");
    let gguf = write(folder.path(), "cut.gguf", "GGUF\u{3}\0\0\0");
    let imported = folder.path().join("imported").to_string_lossy().into_owned();
    let error = refuse(&["model", "import", &gguf, "--output", &imported]);
    assert!(error.contains("cut.gguf"), "{error}");
    assert!(!Path::new(&imported).exists());
}

#[test]
fn mistakes_get_one_sentence_with_a_model() {
    let Some(model) = model() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let good = prompts(folder.path());
    let generate = |model: &str, prompts: &str| {
        refuse(&["generate", "--model", model, "--prompts", prompts, "--output", &path("out.jsonl")])
    };
    let error = generate(MODEL, &write(folder.path(), "bad.jsonl", "{\"id\": 1, \"prompt\": \"a\"}\n{\"id\": 2,\n"));
    assert!(error.contains("bad.jsonl:2"), "{error}");
    let long = json!({"id": "long", "prompt": "word ".repeat(9000)}).to_string();
    let error = generate(MODEL, &write(folder.path(), "long.jsonl", &long));
    assert!(error.contains("long") && error.contains("the model's context is 8192"), "{error}");
    assert!(!Path::new(&path("out.jsonl")).exists());

    // A copy whose small files can be damaged.
    let copy = folder.path().join("copy");
    let restore = || {
        fs::remove_dir_all(&copy).ok();
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&model).unwrap().flatten() {
            let target = copy.join(entry.file_name());
            if entry.file_name().to_string_lossy().ends_with(".safetensors") {
                std::os::unix::fs::symlink(entry.path(), target).unwrap();
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    };
    let copied = copy.to_string_lossy().into_owned();
    restore();
    fs::write(copy.join("tokenizer.json"), "{\"version\": ").unwrap();
    assert!(generate(&copied, &good).contains("tokenizer.json"));
    restore();
    fs::write(copy.join("chat_template.jinja"), "{{ raise_exception('no system here') }}").unwrap();
    assert!(generate(&copied, &good).contains("refuses this conversation: no system here"));
    fs::write(copy.join("chat_template.jinja"), "{% if %}").unwrap();
    assert!(generate(&copied, &good).contains("chat template"));
    restore();
    let weights = fs::read(model.join("model.safetensors")).unwrap();
    fs::remove_file(copy.join("model.safetensors")).unwrap();
    fs::write(copy.join("model.safetensors"), &weights[..1_000_000]).unwrap();
    assert!(generate(&copied, &good).contains("model.safetensors"));
    restore();
    fs::write(copy.join("config.json"), "{\"architectures\": [\"MambaForCausalLM\"]}").unwrap();
    assert!(generate(&copied, &good).contains("MambaForCausalLM"));
}
