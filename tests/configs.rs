//! Configuration files: the examples in `recipes/configs` resolve, and `docs/config.md` equals the output of `herd
//! config`.

use std::path::Path;
use std::process::Command;

use crate::common::root;
use serde_json::{Map, Value, json};
use trainer::stage::{Resolved, StageConfig, resolve};

fn resolved<C: StageConfig>(name: &str) -> anyhow::Result<Resolved<C>> {
    let given: Map<String, Value> =
        serde_json::from_value(json!({"model": "m", "data": ["train.jsonl"], "output": "run"})).unwrap();
    resolve(Some(&root().join("recipes/configs").join(name)), given)
}

#[test]
fn the_example_files_resolve() {
    let sft = resolved::<sft::config::Config>("sft.toml").unwrap().config;
    assert_eq!(sft.training.lora_rank, 0);
    let lora = resolved::<sft::config::Config>("sft-lora.toml").unwrap().config;
    assert!(lora.training.lora_rank > 0 && lora.training.merge);
    let dpo = resolved::<dpo::config::Config>("dpo.toml").unwrap().config;
    assert_eq!(dpo.beta, 0.1);
    resolved::<rejection_sampling::reward::Config>("train-rm.toml").unwrap();
    let pretrain = resolved::<pretrain::config::Config>("pretrain-tiny-shakespeare.toml").unwrap().config;
    assert_eq!(pretrain.course().unwrap().longest(), 64);
    let files = std::fs::read_dir(root().join("recipes/configs")).unwrap().count();
    assert_eq!(files, 5, "a file of recipes/configs is not tested here");
}

fn herd(words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_herd")).args(words).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_reference_is_what_the_program_prints() {
    let path: &Path = &root().join("docs/config.md");
    let (written, printed) = (std::fs::read_to_string(path).unwrap(), herd(&["config", "--markdown"]));
    assert!(
        written == printed,
        "docs/config.md is not what the flags say; run: target/debug/herd config --markdown > docs/config.md"
    );
}

#[test]
fn a_stage_shows_its_keys() {
    let text = herd(&["config", "sft"]);
    for part in [
        "learning_rate = 0.00001  (number)\n      Peak learning rate",
        "schedule = cosine  (\"cosine\" or \"linear\" or ",
        "data  (list of text)",
        "merge = false  (true or false)",
        "model  (path)",
        "epochs = 1  (integer)",
        "over_long = error  (\"error\" or \"drop\" or \"truncate-prompt\")",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let text = herd(&["config", "doctor"]);
    assert!(text.contains("\"doctor\" takes no configuration file; those that do: pretrain"), "{text}");
}
