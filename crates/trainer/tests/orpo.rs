//! Tests the stage that `docs/extend.md` builds: its loss, a run on a tiny model, and the document itself.

#![allow(clippy::unwrap_used)]

#[path = "../examples/orpo/loss.rs"]
mod loss;
#[path = "../examples/orpo/stage.rs"]
mod stage;

use std::fs;
use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};
use tch::Tensor;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    flags: trainer::stage::Flags<stage::Config>,
}

fn run(flags: &[String]) -> anyhow::Result<()> {
    torch_ext::init();
    stage::run(&Cli::parse_from(std::iter::once("orpo".to_owned()).chain(flags.iter().cloned())).flags)
}

#[test]
fn the_loss_is_the_papers() {
    torch_ext::init();
    let log = |p: f64| Tensor::from_slice(&[p.ln()]);
    // The odds of 1/2 are 1 and those of 1/5 are 1/4. The ratio is 4, and -log sigmoid(log 4) = log(5/4).
    let loss = f64::try_from(loss::orpo_sum(&log(0.5), &log(0.2), 0.1)).unwrap();
    assert!((loss - (2_f64.ln() + 0.1 * 1.25_f64.ln())).abs() < 1e-12, "{loss}");
}

#[test]
fn a_run_learns_the_preference() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    llama::NewModel { hidden: 32, layers: 2, context: 128, seed: 17 }.write(Path::new(&path("model"))).unwrap();
    let record = |n: usize| json!({"id": format!("p-{n}"), "prompt": format!("Is it {n}?"), "chosen": "Yes, it is.", "rejected": "No idea!"});
    let lines: Vec<String> = (0..60).map(|n| format!("{}\n", record(n))).collect();
    fs::write(path("train.jsonl"), lines.concat()).unwrap();
    let words = format!(
        "--model {} --data {} --output {} --eval-fraction 0.2 --epochs 5 --batch-size 8 --learning-rate 3e-3 \
         --micro-batch-tokens 2048 --dtype f32 --device cpu --threads 1",
        path("model"),
        path("train.jsonl"),
        path("run")
    );
    let flags: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    run(&flags).unwrap();
    let read = |name: &str| serde_json::from_slice::<Value>(&fs::read(path(name)).unwrap()).unwrap();
    let start = read("run/eval_start.json");
    let metrics = trainer::metrics::read(Path::new(&path("run/metrics.jsonl"))).unwrap();
    let end = metrics.last().unwrap();
    assert!(end.loss < 0.5 * start["loss"].as_f64().unwrap(), "{} from {start}", end.loss);
    assert!(end.metrics["accuracy"] > 0.9, "{:?}", end.metrics);
    llama::ModelFolder::load(Path::new(&path("run/model")), None, tch::Device::Cpu).unwrap();
    // A custom stage has the common behaviour: its keys are checked, and a finished run is recognised as finished.
    run(&flags).unwrap();
    let error = format!("{:#}", run(&[&flags[..], &["--lambda=-1".into()]].concat()).unwrap_err());
    assert!(error.contains("--lambda is -1; it must be 0 or more"), "{error}");
}

#[test]
fn the_document_shows_the_code_that_is_compiled() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = fs::read_to_string(root.join("../../docs/extend.md")).unwrap();
    for name in ["loss.rs", "stage.rs", "main.rs"] {
        let code = fs::read_to_string(root.join("examples/orpo").join(name)).unwrap();
        assert!(
            document.contains(&format!("```rust\n{code}```\n")),
            "docs/extend.md does not show crates/trainer/examples/orpo/{name} as it is; copy the file into its block"
        );
    }
    let stage = fs::read_to_string(root.join("examples/orpo/stage.rs")).unwrap();
    assert!(stage.lines().count() < 150, "the stage has {} lines", stage.lines().count());
}

/// Losses, metrics and gradient norms are read together, however many micro-batches a step has.
#[test]
fn a_step_reads_its_numbers_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    llama::NewModel { hidden: 32, layers: 1, context: 128, seed: 17 }.write(Path::new(&path("model"))).unwrap();
    let record = |n: usize| json!({"id": format!("p-{n}"), "prompt": format!("Is it {n}?"), "chosen": "Yes, it is.", "rejected": "No idea!"});
    let lines: Vec<String> = (0..40).map(|n| format!("{}\n", record(n))).collect();
    fs::write(path("train.jsonl"), lines.concat()).unwrap();
    let read = |folder: &str, micro_batch: usize| {
        let words = format!(
            "--model {} --data {} --output {} --batch-size 8 --max-steps 5 --max-length 128 --micro-batch-tokens {micro_batch} --dtype f32 \
             --device cpu --threads 1",
            path("model"),
            path("train.jsonl"),
            path(folder)
        );
        let before = trainer::reads();
        run(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).unwrap();
        let log = fs::read_to_string(dir.path().join(folder).join("metrics.jsonl")).unwrap();
        assert_eq!(log.lines().count(), 5);
        let share = |line: &str| serde_json::from_str::<Value>(line).unwrap()["accuracy"].as_f64().unwrap();
        assert!(log.lines().map(share).all(|share| (0.0..=1.0).contains(&share)), "{log}");
        trainer::reads() - before
    };
    assert_eq!(read("one", 4096), 5);
    assert_eq!(read("several", 128), 5);
}
