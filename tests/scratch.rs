//! Runs the stages of `recipes/from-scratch.toml` from pages to a chat model, in a minute, and a scaling ladder of two models.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::{herd_run, root, said};
use serde_json::Value;

/// The stages of the ladder: they take as long as all others together, and a law needs eight models.
const LADDER: [&str; 3] = ["ladder-runs", "law", "prediction"];

/// The recipe without the ladder, with the smallest sizes of which something is learnt: the practice problems are those of the
/// demonstrations, which a tiny model knows by heart, so that some sampled answers are right.
fn tiny(recipe: &Path, output: &Path) -> Command {
    let text = fs::read_to_string(root().join("recipes/from-scratch.toml")).unwrap();
    let stages = text.split("[[stage]]\n");
    let is_ladder = |stage: &&str| LADDER.iter().any(|name| stage.starts_with(&format!("name = \"{name}\"\n")));
    assert_eq!(stages.clone().filter(is_ladder).count(), 3);
    let rest: Vec<&str> = stages.filter(|stage| !is_ladder(stage)).collect();
    fs::write(recipe, rest.join("[[stage]]\n")).unwrap();
    let mut command = herd_run(recipe, output);
    for set in [
        "packages=itertools,nom",
        "heldout_packages=memchr",
        "vocabulary=400",
        "config=recipes/from-scratch/tiny.json",
        "topics=arithmetic",
        "pretraining_problems=500",
        "tokens=40000",
        "batch_tokens=512",
        "anneal_tokens=6144",
        "eval_tokens=10000",
        "examples=64",
        "epochs=28",
        "sft_batch_tokens=512",
        "sft_learning_rate=4e-3",
        "practice_problems=64",
        "practice_seed=2",
        "items=10",
    ] {
        command.args(["--set", set]);
    }
    command
}

#[test]
fn pages_become_a_chat_model() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("out");
    let output = tiny(&place.path().join("recipe.toml"), &folder).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("21 stages done") && text.contains("after-dpo against base-answers"), "{text}");
    // The base model has learnt from its data: a fresh model of this vocabulary has 6.5 nats a token.
    let record: Value = serde_json::from_slice(&fs::read(folder.join("13-base/run.json")).unwrap()).unwrap();
    let loss = record["stage"]["figures"]["report"]["evaluation"]["loss"].as_f64().unwrap();
    assert!(loss < 5.8, "{loss}");
    // Right answers and pairs came out of sampling.
    for file in ["selected.jsonl", "pairs.jsonl"] {
        let records = fs::read_to_string(folder.join("18-sample").join(file)).unwrap();
        assert!(records.lines().count() >= 5, "{file}: {records}");
    }
    // Every stage is in the report, with its last lines.
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    for part in
        ["<h2>Training</h2>", "base: loss", "bytes a token", "pages of ", "\">dpo</a><td>done", "<h2>Results</h2>"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    // The result is a chat model with the trained tokenizer.
    let model = folder.join("20-dpo/model");
    for file in ["tokenizer.json", "chat_template.jinja", "model.safetensors"] {
        assert!(model.join(file).is_file(), "{file}");
    }
    let (first, last) = (folder.join("08-tokenizer/tokenizer.json"), model.join("tokenizer.json"));
    assert_eq!(fs::read(first).unwrap(), fs::read(last).unwrap());
    ladder(&folder, &place.path().join("ladder"));
}

/// Two models at one budget, on the shards of the pipeline; the same command again does nothing.
fn ladder(shards: &Path, output: &Path) {
    let run = || {
        let at = |name: &str| shards.join(name).display().to_string();
        let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
        command.args(["scaling", "run", "--data", &at("09-text-shards"), "--eval-data", &at("11-heldout-shards")]);
        command.args(["--tokenizer", &at("08-tokenizer"), "--budgets", "4e9", "--sizes", "2", "--batch-tokens", "512"]);
        let output = command.args(["--eval-tokens", "5000", "--output"]).arg(output).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    let text = run();
    assert!(text.contains("ladder.csv: 2 models at 1 budgets"), "{text}");
    let table = fs::read_to_string(output.join("ladder.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "flops,params,tokens,loss,bits_per_byte,width,layers");
    // Budget, size and tokens belong together, and the sizes are those of the files.
    for line in &lines[1..] {
        let cells: Vec<f64> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
        assert!((6.0 * cells[1] * cells[2] / cells[0] - 1.0).abs() < 0.03 && cells[3] < 6.5, "{line}");
    }
    assert_eq!(lines.len(), 3, "{table}");
    assert!(run().contains("is finished already"));
    let mut again = Command::new(env!("CARGO_BIN_EXE_herd"));
    let text = said(&again.arg("again").arg(output).output().unwrap());
    assert!(text.contains("1 file in ") && text.contains("the same bytes"), "{text}");
}
