//! Cases from public bug reports about data, templates and recipes, if `../shared/field/training` exists, with what
//! each has to give. The tables name every file of the folder.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::common::said;

/// The expected output of a dry run.
enum Expected {
    /// It succeeds, and what it shows of the first example has these parts.
    Reads(&'static [&'static str]),
    /// It is refused with a sentence that has these parts.
    Refuses(&'static [&'static str]),
}
use Expected::{Reads, Refuses};

const DATA: &[(&str, &str, Expected)] = &[
    // O6: a system column is the system turn.
    ("d01_sharegpt_system.jsonl", "sft", Reads(&["<|im_start|>system", "French"])),
    // O7: the input joins the instruction.
    ("d02_alpaca.jsonl", "sft", Reads(&["pear, fig, apple<|im_end|>", "⟦apple, fig, pear"])),
    // O9 to O12: a template without tools is named.
    ("d03_tools_args_object.jsonl", "sft", Refuses(&["does not write the tools"])),
    ("d03_tools_args_string.jsonl", "sft", Refuses(&["does not write the tools"])),
    ("tool_call_empty_content.jsonl", "sft", Refuses(&["message 1: the chat template does not write the call"])),
    // O14: a turn's loss switch.
    ("d04_masks.jsonl", "sft", Reads(&["6 trained tokens", "1 trained ends of turns", "⟦good2"])),
    // O8: no prompt is guessed beside columns that hold it.
    ("d05_orca.jsonl", "dpo", Refuses(&["prompt: is missing", "system, question", ".prompt = .question"])),
    ("d06_uf_nosys.jsonl", "dpo", Reads(&["4 examples to train on", "⟦hi 0⟧"])),
    ("d06_uf_system.jsonl", "dpo", Reads(&["4 examples to train on", "<|im_start|>system", "⟦hi 0⟧"])),
    ("d07_prefix.jsonl", "dpo", Refuses(&[":1: chosen: the response is empty"])),
    ("d07b_prefix_msgs.jsonl", "dpo", Refuses(&["prompt: ends with an assistant turn"])),
    ("d08_hh.jsonl", "dpo", Refuses(&[":2: chosen: the response is empty"])),
    // O19: special tokens of another tokenizer are plain text; those of its own are in `special_tokens`, below.
    ("d09_filename.jsonl", "sft", Reads(&["2 examples to train on", "cp <filename>"])),
    ("d09_ssml.jsonl", "sft", Reads(&["<s>Hello.</s>"])),
    // O31: a list in a file is read, a table is named.
    ("d10.csv", "sft", Refuses(&["separated values", "read_csv"])),
    ("d10_array.json", "sft", Reads(&["3 examples to train on"])),
    ("d10_Roles_upper.jsonl", "sft", Refuses(&["messages[0].role: \"User\" is not known"])),
    ("d10_bom_crlf.jsonl", "sft", Reads(&["2 examples to train on", "⟦hello"])),
    ("d10_consecutive.jsonl", "sft", Reads(&["2 trained ends of turns", "⟦c", "⟦d"])),
    ("d10_cr_only.jsonl", "sft", Refuses(&[":1: not valid JSON", "column 94"])),
    ("d10_developer.jsonl", "sft", Refuses(&["messages[0].role: \"developer\" is not known"])),
    ("d10_dupids.jsonl", "sft", Reads(&["3 examples to train on"])),
    ("d10_dupkeys.jsonl", "sft", Reads(&["⟦b"])),
    ("d10_empty_assistant.jsonl", "sft", Reads(&["2 trained ends of turns"])),
    ("d10_ends_user.jsonl", "sft", Reads(&["1 trained ends of turns", "bye"])),
    ("d10_function_role.jsonl", "sft", Refuses(&["messages[1].content: is missing or null"])),
    ("d10_ids_uuid_float.jsonl", "sft", Refuses(&[":2: id: must be a string or a number"])),
    // A completion that is marked as bad is not trained.
    ("d10_kto.jsonl", "sft", Refuses(&[":2: label: is false"])),
    ("d10_nan.jsonl", "sft", Refuses(&[":1: not valid JSON", "column 88"])),
    ("d10_nul.jsonl", "sft", Reads(&["1 example to train on"])),
    ("d10_null_content.jsonl", "sft", Refuses(&["messages[1].content: is missing or null"])),
    ("d10_ok.jsonl.gz", "sft", Reads(&["⟦hello"])),
    ("d10_parts.jsonl", "sft", Reads(&["ab<|im_end|>", "⟦c"])),
    ("d10_parts_thinking.jsonl", "sft", Refuses(&["messages[1].content[0]: a part of type \"thinking\""])),
    ("d10_query_response.jsonl", "sft", Refuses(&["messages: is missing", "query, response", "--prompt-column"])),
    ("d10_sharegpt_null.jsonl", "sft", Refuses(&["conversations[1].value: is missing"])),
    ("d10_surrogate.jsonl", "sft", Refuses(&[":1: not valid JSON", "hex escape"])),
    ("d10_system_middle.jsonl", "sft", Reads(&["<|im_start|>system", "⟦c"])),
    ("d10_text_only.jsonl", "sft", Refuses(&["messages: is missing", "the record has text"])),
    ("d10_u2028.jsonl", "sft", Reads(&["1 example to train on", "⟦b"])),
    ("d10_vicuna.jsonl", "sft", Refuses(&["items holds turns: rename it to messages"])),
    ("d10_weight0.jsonl", "sft", Reads(&["2 examples to train on"])),
    ("d10_weightneg.jsonl", "sft", Refuses(&[":1: weight: is -1"])),
    // O12, O36: `generate`, below.
    ("generate_duplicate_ids.jsonl", "generate", Refuses(&[":2: id: \"1\" is also the id of", ":1"])),
    ("generate_tools.jsonl", "generate", Refuses(&["record 1 (id 1): the chat template does not write the tools"])),
    // O21: before the first step, with the ways out.
    ("longer_than_context.jsonl", "sft", Refuses(&["1522 tokens", "--over-long", "a longer context"])),
    // O41: a list as a text.
    ("messages_as_json_text.jsonl", "sft", Reads(&["⟦hello"])),
    ("ok.jsonl", "sft", Reads(&["24 examples to train on"])),
    ("ok1.jsonl", "sft", Reads(&["⟦hello"])),
    ("pairs.jsonl", "dpo", Reads(&["24 examples to train on"])),
];

/// O15 to O18: templates that failed, or were rendered otherwise than by transformers.
const TEMPLATES: &[(&str, Expected)] = &[
    ("date.jinja", Reads(&["The chat template writes the date", "template-date.txt"])),
    ("none_is_iterable.jinja", Reads(&["⟦hello"])),
    ("prompt_opens_thinking.jinja", Reads(&["<think>", "hello<|im_end|>"])),
    ("tojson_separators.jinja", Reads(&["{\"a\":[1,2],\"b\":1}"])),
];

fn herd(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    // The command uses one thread, because tests run in parallel.
    command.current_dir(folder).env("OMP_NUM_THREADS", "1").args(args).output().unwrap()
}

/// A folder with a model `tiny`; its tokens are bytes, its context is 1,024.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = herd(folder.path(), &["model", "new", "--output", "tiny"]);
    assert!(made.status.success(), "{}", said(&made));
    folder
}

/// The fault of a run; the marks between tokens do not count.
fn fault(expected: &Expected, output: &Output) -> Option<String> {
    let text = said(output).replace('·', "");
    let (is_read, parts) = match expected {
        Reads(parts) => (true, parts),
        Refuses(parts) => (false, parts),
    };
    let is_one_error = is_read || text.matches("error:").count() == 1;
    let is_right = output.status.success() == is_read && is_one_error && parts.iter().all(|part| text.contains(part));
    let is_panic = text.contains("panicked") || text.contains("RUST_BACKTRACE");
    (!is_right || is_panic).then(|| format!("{parts:?} was expected:\n{text}"))
}

fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The folder of the cases; `None`, and the test is skipped, if it is missing.
#[track_caller]
fn cases(name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("field/training/{name}"))
}

#[test]
fn rows_of_public_reports() {
    let Some(data) = cases("data") else { return };
    let named: BTreeSet<String> = DATA.iter().map(|(file, ..)| (*file).to_owned()).collect();
    assert_eq!(named, files(&data));
    let place = place();
    let mut faults = Vec::new();
    for (file, command, expected) in DATA {
        let path = data.join(file);
        let path = path.to_str().unwrap();
        let output = match *command {
            "generate" => herd(
                place.path(),
                &[
                    "generate",
                    "--model",
                    "tiny",
                    "--prompts",
                    path,
                    "--max-new-tokens",
                    "2",
                    "--output",
                    "answers.jsonl",
                ],
            ),
            stage => herd(
                place.path(),
                &[stage, "--dry-run", "--model", "tiny", "--data", path, "--max-length", "1024", "--output", "run"],
            ),
        };
        faults.extend(fault(expected, &output).map(|fault| format!("{file}: {fault}")));
    }
    assert!(faults.is_empty(), "{} of {} disagree:\n{}", faults.len(), DATA.len(), faults.join("\n\n"));
}

#[test]
fn templates_of_public_reports() {
    let (Some(templates), Some(data)) = (cases("templates"), cases("data")) else { return };
    let named: BTreeSet<String> = TEMPLATES.iter().map(|(file, _)| (*file).to_owned()).collect();
    assert_eq!(named, files(&templates));
    let place = place();
    let config = place.path().join("tiny/tokenizer_config.json");
    let path = data.join("ok1.jsonl");
    let mut faults = Vec::new();
    for (file, expected) in TEMPLATES {
        let mut value: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
        value["chat_template"] = std::fs::read_to_string(templates.join(file)).unwrap().into();
        std::fs::write(&config, value.to_string()).unwrap();
        let args = ["sft", "--dry-run", "--model", "tiny", "--data", path.to_str().unwrap(), "--output", file];
        faults.extend(fault(expected, &herd(place.path(), &args)).map(|fault| format!("{file}: {fault}")));
    }
    assert!(faults.is_empty(), "{} disagree:\n{}", faults.len(), faults.join("\n\n"));
}

/// O1 to O5.
#[test]
fn recipes_of_public_reports() {
    let (Some(recipes), Some(data)) = (cases("recipes"), cases("data")) else { return };
    let expected =
        ["dangling_link", "dot_is_an_input", "flag_equals_value", "forward_reference", "recipe_in_output_folder"];
    let named: BTreeSet<String> = expected.iter().map(|name| format!("{name}.toml")).collect();
    assert_eq!(named, files(&recipes));
    let place = place();
    let at = |name: &str| place.path().join(name);
    for name in named {
        // A copy that can be written to.
        std::fs::write(at(&name), std::fs::read(recipes.join(&name)).unwrap()).unwrap();
    }
    let run = |recipe: &str, more: &[&str]| {
        let output = herd(place.path(), &[&["run", recipe][..], more].concat());
        (output.status.success(), said(&output))
    };
    // O1: a recipe in its own output folder stays as it is.
    std::fs::create_dir(at("p1")).unwrap();
    let recipe = std::fs::read(at("recipe_in_output_folder.toml")).unwrap();
    std::fs::write(at("p1/recipe.toml"), &recipe).unwrap();
    for _ in 0..2 {
        let (is_done, text) = run("p1/recipe.toml", &[]);
        assert!(is_done, "{text}");
        assert_eq!(std::fs::read(at("p1/recipe.toml")).unwrap(), recipe);
    }
    // O2: an input in `--data=FILE` is an input.
    std::fs::create_dir_all(at("data")).unwrap();
    std::fs::create_dir_all(at("models")).unwrap();
    std::fs::rename(at("tiny"), at("models/tiny")).unwrap();
    let rows = std::fs::read_to_string(data.join("ok.jsonl")).unwrap();
    std::fs::write(at("data/d1.jsonl"), &rows).unwrap();
    let (is_done, text) = run("flag_equals_value.toml", &[]);
    assert!(is_done, "{text}");
    assert!(run("flag_equals_value.toml", &[]).1.contains("done before"));
    std::fs::write(at("data/d1.jsonl"), rows.replace("say", "tell")).unwrap();
    let (is_done, text) = run("flag_equals_value.toml", &[]);
    assert!(is_done && text.contains("its command or what it reads has changed"), "{text}");
    // O3: a link to nothing is no fault of the stage.
    let (is_done, text) = run("dangling_link.toml", &[]);
    assert!(is_done && text.contains("2 stages done"), "{text}");
    // O4: `.` is not an input because the output is below it.
    assert!(run("dot_is_an_input.toml", &[]).0);
    let (is_done, text) = run("dot_is_an_input.toml", &[]);
    assert!(is_done && text.contains("done before"), "{text}");
    // O5: one sentence each.
    let (is_done, text) = run("forward_reference.toml", &[]);
    assert!(!is_done && text.contains("{b} in \"{b}/x\" is a later stage: move b before this one"), "{text}");
    let (is_done, text) = run("dangling_link.toml", &["--set", "x=1"]);
    assert!(!is_done && text.contains("it has no variables at all"), "{text}");
}

/// O19: rows with a special token as text are set aside, or tokenised as plain text.
#[test]
fn special_tokens_as_text() {
    let Some(data) = cases("data") else { return };
    let Some(model) = test_support::require(llama::locate::locate("smollm2-135m-instruct")) else { return };
    let (place, path) = (place(), data.join("d09_filename.jsonl"));
    let dry = |more: &[&str]| {
        let base = [
            "sft",
            "--dry-run",
            "--model",
            model.to_str().unwrap(),
            "--data",
            path.to_str().unwrap(),
            "--output",
            "run",
        ];
        herd(place.path(), &[&base[..], more].concat())
    };
    for (more, expected) in [
        (&[][..], Refuses(&["special token <filename>", "--plain-special-tokens"])),
        (&["--skip-bad"], Reads(&["2 rows: 1 set aside"])),
        (&["--plain-special-tokens"], Reads(&["2 rows: 0 set aside", "2 examples"])),
    ] {
        assert_eq!(fault(&expected, &dry(more)), None);
    }
    // O10: a template without tools is named, also where it fails on a message without text.
    let path = data.join("d03_tools_args_object.jsonl");
    let args =
        ["sft", "--dry-run", "--model", model.to_str().unwrap(), "--data", path.to_str().unwrap(), "--output", "run"];
    assert_eq!(
        fault(&Refuses(&["the chat template does not write the call of the tool"]), &herd(place.path(), &args)),
        None
    );
}
