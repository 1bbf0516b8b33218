//! `herd safety guard train` with a language model, on a small random model whose tokens are bytes.

use std::fs;
use std::path::Path;

use guard::command::Which;
use guard::{Asked, Judge as _};
use llama::NewModel;
use serde_json::json;

use crate::herd_safety;

/// A policy of two categories in few bytes.
const POLICY: &str = r#"
name = "fruit"
version = 1
hold_back_tokens = 8
refusal = "No."
[[category]]
id = "S1"
key = "apples"
name = "Apples"
ailuminate = []
openai = ["violence"]
applies = ["prompt", "response"]
definition = "Bad apples."
[[category]]
id = "S2"
key = "bananas"
name = "Bananas"
ailuminate = []
openai = ["hate"]
applies = ["prompt", "response"]
definition = "Bad bananas."
"#;

fn records(part: &str, count: usize) -> String {
    let mut lines = String::new();
    for n in 0..count {
        for (category, noun) in [("S1", "apple"), ("S2", "banana")] {
            for (word, is_unsafe) in [("bad", true), ("good", false)] {
                let mut record = json!({"id": format!("{part}-{word}-{noun}-{n}"), "source": "plain", "label": "safe",
                    "messages": [{"role": "user", "content": format!("{word} {noun} {part}{n}")}], "language": "en"});
                if is_unsafe {
                    record["label"] = "unsafe".into();
                    record["categories"] = json!([category]);
                }
                lines += &format!("{record}\n");
            }
        }
    }
    lines
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    let names = ["linear.bin", "policy.toml", "seen.txt", "guard.toml", "model/model.safetensors"];
    names.iter().map(|name| fs::read(folder.join(name)).unwrap()).collect()
}

#[test]
fn a_base_model_becomes_a_guard() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    torch_ext::init();
    NewModel { hidden: 64, layers: 2, context: 1024, seed: 3 }.write(Path::new(&at("base"))).unwrap();
    fs::write(at("fruit.toml"), POLICY).unwrap();
    fs::write(at("train.jsonl"), records("t", 40)).unwrap();
    let words = |output: &str| {
        let words = [
            "guard",
            "train",
            "--model",
            &at("base"),
            "--data",
            &at("train.jsonl"),
            "--policy",
            &at("fruit.toml"),
            "--output",
            &at(output),
            "--epochs",
            "30",
            "--learning-rate",
            "3e-3",
            "--max-length",
            "1024",
            "--variants",
            "6",
            "--dtype",
            "f32",
            "--micro-batch-tokens",
            "4096",
        ];
        words.map(str::to_owned).to_vec()
    };
    let train = |output: &str| {
        let words = words(output);
        herd_safety(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    train("a").unwrap();
    let folder = dir.path().join("a");
    let made = bytes(&folder);
    let card = fs::read_to_string(folder.join("guard.toml")).unwrap();
    assert!(card.contains("has_model = true") && card.contains("policy = \"fruit\""), "{card}");

    // Finished: nothing is done again. Killed before its card: the same bytes.
    train("a").unwrap();
    assert_eq!(bytes(&folder), made);
    fs::remove_file(folder.join("guard.toml")).unwrap();
    train("a").unwrap();
    assert_eq!(bytes(&folder), made);

    // The language model answers, and both tiers make a verdict with categories.
    let which = Which { guard: Some(folder.clone()), ..Which::default() };
    let (mut guard, _) = which.open(guard_model::open).unwrap();
    let asked: Vec<Asked> =
        ["bad apple v1", "good apple v1", "bad banana v2", "good banana v2"].map(Asked::prompt).into();
    let verdicts = guard.judge(&asked).unwrap();
    assert!(verdicts.iter().all(|verdict| verdict.mass.unwrap() > 0.9), "{verdicts:?}");
    assert_eq!(
        verdicts.iter().map(|verdict| verdict.is_unsafe).collect::<Vec<_>>(),
        [true, false, true, false],
        "{verdicts:?}"
    );
    assert!(!verdicts[0].violated.is_empty() && verdicts[0].categories.len() == 2, "{verdicts:?}");
    // The policy is read once: from the second text on most of the prompt is in the cache.
    let before = guard.counts();
    guard.judge(&asked[1..2]).unwrap();
    let after = guard.counts();
    assert!(after.cached > before.cached, "{before:?} {after:?}");

    // No output for people contains a text.
    for name in ["config.toml", "run.json", "guard.toml", "report.html", "metrics.jsonl"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(!text.contains("bad apple") && !text.contains("bad banana"), "{name}");
    }
    let error = herd_safety(&[
        "guard",
        "train",
        "--model",
        &at("base"),
        "--data",
        &at("train.jsonl"),
        "--skip-bad",
        "--output",
        &at("b"),
    ]);
    assert!(format!("{:#}", error.unwrap_err()).contains("--skip-bad: bad records of a guard's data"));
}

#[test]
fn a_linear_guard_needs_no_model() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    fs::write(at("fruit.toml"), POLICY).unwrap();
    fs::write(at("train.jsonl"), records("t", 40)).unwrap();
    let (policy, data) = (at("fruit.toml"), at("train.jsonl"));
    let words = ["guard", "train", "--head", "linear", "--data", &data, "--policy", &policy, "--output", &at("a")];
    herd_safety(&words).unwrap();
    let which = Which { guard: Some(dir.path().join("a")), ..Which::default() };
    let (mut guard, card) = which.open(guard::command::no_model).unwrap();
    assert!(!card.unwrap().has_model && guard.judge(&[Asked::prompt("bad apple")]).unwrap()[0].is_unsafe);
    let error = herd_safety(&["guard", "train", "--data", &data, "--output", &at("c")]).unwrap_err().to_string();
    assert!(error.contains("--model is missing"), "{error}");
}
