//! `herd safety eval` that asks a model, on a small random model whose tokens are bytes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use llama::NewModel;
use serde_json::{Value, json};

use crate::herd_safety;

/// A word that every request has.
const SECRET: &str = "xyzzyplugh";

#[test]
fn a_model_is_asked_and_its_answers_stay_private() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    torch_ext::init();
    NewModel { hidden: 32, layers: 1, context: 128, seed: 3 }.write(Path::new(&at("model"))).unwrap();
    let probe = |n: usize| {
        let meta = json!({"expect": if n.is_multiple_of(2) { "refuse" } else { "answer" }, "source": "own"});
        // The last one does not fit the context.
        let text = if n == 7 { SECRET.repeat(30) } else { format!("{SECRET} {n}") };
        format!("{}\n", json!({"id": n.to_string(), "kind": "safety", "prompt": text, "meta": meta}))
    };
    fs::write(at("probes.jsonl"), (0..8).map(probe).collect::<String>()).unwrap();
    let (sets, model) = (format!("probes={}", at("probes.jsonl")), at("model"));
    let sampled = ["--model", &model, "--dtype", "f32", "-n", "2", "--temperature", "1", "--max-new-tokens", "8"];
    let run =
        |output: &str| herd_safety(&[&["eval", "--sets", &sets, "--output", output], sampled.as_slice()].concat());
    run(&at("a")).unwrap();
    let folder = dir.path().join("a");
    let lines = |name: &str| fs::read_to_string(folder.join(name)).unwrap().lines().count();
    assert_eq!((lines("responses.jsonl"), lines("items.jsonl")), (16, 16));
    for name in ["responses.jsonl", "items.jsonl"] {
        let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    for name in ["items.jsonl", "summary.json", "report.html", "run.json", "config.toml"] {
        assert!(!fs::read_to_string(folder.join(name)).unwrap().contains(SECRET), "{name} holds a request");
    }
    let summary: Value = serde_json::from_slice(&fs::read(folder.join("summary.json")).unwrap()).unwrap();
    let all = &summary["views"]["none"][0]["rates"];
    assert_eq!((&all["outcomes"]["failed"], &all["probes"]), (&json!(2), &json!(8)), "{all}");

    // The same after a kill while answers came: half of them are there, and a torn line.
    let text = fs::read_to_string(folder.join("responses.jsonl")).unwrap();
    let half: String = text.lines().take(5).map(|line| format!("{line}\n")).collect();
    let killed = dir.path().join("b");
    run(&at("b")).unwrap();
    let record: Value = serde_json::from_slice(&fs::read(killed.join("run.json")).unwrap()).unwrap();
    let mut unfinished = record.clone();
    unfinished["finished"] = false.into();
    unfinished["outputs"] = json!([]);
    for name in ["responses.jsonl", "items.jsonl", "summary.json", "report.html"] {
        fs::remove_file(killed.join(name)).unwrap();
    }
    fs::write(killed.join("run.json"), unfinished.to_string()).unwrap();
    fs::write(killed.join("responses.jsonl.partial"), format!("{half}{{\"id\": \"own")).unwrap();
    let side = json!({"fingerprint": record["fingerprint"]}).to_string();
    fs::write(killed.join("responses.jsonl.partial.json"), format!("{side}\n")).unwrap();
    run(&at("b")).unwrap();
    for name in ["responses.jsonl", "items.jsonl", "summary.json"] {
        assert!(fs::read(folder.join(name)).unwrap() == fs::read(killed.join(name)).unwrap(), "{name} differs");
    }
    let mode = fs::metadata(killed.join("responses.jsonl")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);

    // Sampled answers are answers for another measurement, which needs no model.
    let answers = at("a/responses.jsonl");
    herd_safety(&["eval", "--sets", &sets, "--answers", &answers, "--output", &at("c")]).unwrap();
    assert_eq!(fs::read(folder.join("items.jsonl")).unwrap(), fs::read(dir.path().join("c/items.jsonl")).unwrap());
    let error = herd_safety(&["eval", "--sets", &sets, "--output", &at("d")]).unwrap_err().to_string();
    assert!(error.contains("--model <MODEL>"), "{error}");
}
