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
    assert_eq!(files, 7, "a file of recipes/configs is not tested here");
}

#[test]
fn the_example_files_of_other_commands_are_read() {
    let place = tempfile::tempdir().unwrap();
    let run = |words: &str| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_herd")).args(words.split(' ')).current_dir(&place).output().unwrap();
        let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "{words}: {text}");
        text
    };
    run("model new --output tiny --hidden 16 --layers 1 --context 1024");
    run("data make --topics words --train 2 --heldout 2 --output made");
    for (command, name, file, keys) in [
        ("rejection-sampling run", "rejection-sampling", "train", &["temperature          [0.6,0.8,1.0]"][..]),
        ("eval", "eval", "heldout", &["tasks                [\"problems\"]", "max_num_seqs         32"]),
    ] {
        let config = root().join(format!("recipes/configs/{name}.toml"));
        let problems = format!("made/{file}.jsonl");
        let flags = format!("--config {} --model tiny --problems {problems} --output out --dry-run", config.display());
        let text = run(&format!("{command} {flags}"));
        for key in keys {
            let line = text.lines().find(|line| line.trim_start().starts_with(key));
            assert!(line.is_some_and(|line| line.ends_with("file")), "{key}: {text}");
        }
    }
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
