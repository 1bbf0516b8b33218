//! Runs every stage of `recipes/whole.toml` on a tiny model, from pages to a guarded chat model: undisturbed, and killed once.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{herd_run, kill, results, root, said};
use serde_json::Value;

/// The recipe with the smallest sizes of which something is learnt. The problems of the first answers and of round 1 are those of
/// the demonstrations, which a tiny model knows by heart, so that some sampled answers are right.
fn tiny(output: &Path) -> Command {
    let mut command = herd_run(Path::new("recipes/whole.toml"), output);
    // Two pipelines run at the same time.
    command.env("OMP_NUM_THREADS", "1");
    for set in [
        "packages=itertools,nom",
        "heldout_packages=memchr",
        "vocabulary=400",
        "config=recipes/from-scratch/tiny.json",
        "topics=arithmetic,code",
        "pretraining_topics=arithmetic,code",
        "pretraining_problems=500",
        "tokens=40000",
        "batch_tokens=512",
        "anneal_tokens=6144",
        "eval_tokens=10000",
        "extend_tokens=8192",
        "needles=1",
        "examples=64",
        "first_epochs=28",
        "epochs=8",
        "sft_batch_tokens=512",
        "sft_learning_rate=4e-3",
        "demonstration_seed=41",
        "first_problems=64",
        "first_seed=41",
        "practice_problems=64",
        "practice_seed=4",
        "long_examples=20",
        "long_share=3%",
        "safety_limit=30",
        "safety_weight=2",
        "probes=60",
        "items=10",
    ] {
        command.args(["--set", set]);
    }
    command
}

fn succeed(output: &Path) -> String {
    let output = tiny(output).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    text
}

fn records(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_whole_way_and_the_same_bytes_after_a_kill() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let wait = Duration::from_millis(1500);
            kill(tiny(killed.path()), killed.path(), "29-round1-sft", wait, false);
            succeed(killed.path())
        });
        let text = succeed(whole.path());
        let again = other.join().unwrap();
        assert!(again.contains("28-round1-sample") || again.contains("round1-sample: done before"), "{again}");
        text
    });
    assert!(text.contains("43 stages done") && text.contains("after against before, paired by item"), "{text}");
    same_bytes(whole.path(), killed.path());
    stages_use_each_other(whole.path());
    gate(whole.path());
}

fn same_bytes(whole: &Path, killed: &Path) {
    let (whole, killed): (BTreeMap<String, Vec<u8>>, _) = (results(whole), results(killed));
    let models = whole.keys().filter(|place| place.ends_with("model.safetensors")).count();
    assert!(models >= 11, "{:?}", whole.keys());
    assert_eq!(whole.keys().collect::<Vec<_>>(), killed.keys().collect::<Vec<_>>());
    for (place, bytes) in &whole {
        assert!(killed[place] == *bytes, "{place} differs after the kill");
    }
}

/// What each stage gives is there, and the next one has read it.
fn stages_use_each_other(folder: &Path) {
    let at = |place: &str| folder.join(place);
    // The base model has learnt: a fresh model of this vocabulary has 6.5 nats a token.
    let loss = json(&at("15-base/run.json"))["stage"]["figures"]["report"]["evaluation"]["loss"].as_f64().unwrap();
    assert!(loss < 5.8, "{loss}");
    assert_eq!(json(&at("17-extend/model/config.json"))["max_position_embeddings"], 512);
    // A share of the demonstrations is long: 2 of 66.
    assert_eq!(records(&at("19-mix/sft-long.jsonl")).len(), 2);
    // Verdicts of code and of maths with its steps; right answers and pairs of the first model and of round 1.
    for sample in ["22-first-answers", "28-round1-sample"] {
        let samples = records(&at(sample).join("samples.jsonl"));
        let verdicts: Vec<&Value> = samples.iter().map(|sample| &sample["verdict"]).collect();
        assert!(verdicts.iter().any(|verdict| verdict["steps"]["correct"].as_u64() > Some(0)), "{sample}");
        assert!(verdicts.iter().any(|verdict| verdict["steps"].is_null()), "{sample}: no program");
        assert!(verdicts.iter().any(|verdict| verdict["passed"] == true), "{sample}");
        for file in ["selected.jsonl", "pairs.jsonl"] {
            assert!(records(&at(sample).join(file)).len() >= 5, "{sample}: {file}");
        }
        let rewards = samples.iter().filter(|sample| sample["reward"].is_f64()).count();
        assert_eq!(rewards > 0, sample.contains("round"), "{sample}: {rewards} rewards");
    }
    // The model of round 2 comes from the base model, with the answers of the model of round 1.
    let samples = records(&at("33-round2-sample/samples.jsonl"));
    assert!(samples[0]["model"].as_str().unwrap().ends_with("30-round1-dpo/model"), "{}", samples[0]["model"]);
    let inputs = json(&at("34-round2-sft/run.json"))["inputs"].to_string();
    for part in
        ["17-extend/model", "33-round2-sample/selected.jsonl", "19-mix/sft-long.jsonl", "24-refusals/refusals.jsonl"]
    {
        assert!(inputs.contains(part), "{part}: {inputs}");
    }
    // The averaged model has learnt to refuse; the first has no usable answer. The guard finds harmful requests.
    let outcomes = |stage: &str| json(&at(stage).join("summary.json"))["views"]["none"][0]["rates"]["outcomes"].clone();
    assert!(outcomes("38-safety-after")["refused"].as_u64() > Some(5), "{}", outcomes("38-safety-after"));
    assert!(outcomes("37-safety-before")["refused"].is_null(), "{}", outcomes("37-safety-before"));
    let views = json(&at("38-safety-after/summary.json"))["views"].clone();
    assert!(views.as_object().unwrap().len() > 1, "no view with the guard: {views}");
    assert!(at("40-guard-eval/report.json").is_file() && at("43-long-after/run.json").is_file());
    let page = fs::read_to_string(at("report.html")).unwrap();
    for part in ["<h2>Training</h2>", "base: loss", "<td>gate<td>done", "\">guard-eval</a><td>done", "<h2>Results</h2>"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
}

/// With a limit that the model does not keep, the pipeline stops at the gate.
fn gate(folder: &Path) {
    let mut command = tiny(folder);
    let output = command.args(["--set", "max_vr=1"]).output().unwrap();
    let text = said(&output);
    assert!(!output.status.success() && text.contains("stage gate ended with exit code 4"), "{text}");
    assert!(root().join("recipes/whole.toml").is_file() && !text.contains("guard-eval: done in"), "{text}");
}
