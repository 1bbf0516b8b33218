//! Compares `herd pretrain` with a PyTorch loop that trains the same model from the same weights on the same shards: tokens per second,
//! held-out loss and peak memory. The loop uses SDPA, fused AdamW, the same schedule, clipping and evaluation. The runs follow one
//! another.
//!
//! `HERD_PEER_PYTHON=/path/to/python cargo bench -p pretrain --bench torch` is nanoGPT's small setting on tiny Shakespeare
//! (`../shared/data`). `-- CONFIG MODEL TRAIN VALID [FLAGS]` takes a configuration of `herd pretrain`, a model folder and two
//! folders of shards instead; FLAGS go to both (`--tokens 200000`). That Python needs torch 2.11.0, numpy and safetensors; without it,
//! only this project is measured. `HERD_PEER_COMPILE=1` lets the peer call `torch.compile`, `HERD_PEER_AUTOCAST=1` lets it compute in
//! bfloat16. Steps are timed one by one; the first tenth is left out, and the median is reported.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::{Value, json};

#[path = "../tests/common/shakespeare.rs"]
mod shakespeare;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: pretrain::command::Args,
}

struct Work {
    config: PathBuf,
    model: PathBuf,
    train: PathBuf,
    valid: PathBuf,
    flags: Vec<String>,
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    torch_ext::init();
    // Each run has its own process, so that its peak memory is its own.
    if let Some(at) = words.iter().position(|word| word == "--run") {
        trainer::keep_memory();
        let flags = std::iter::once("pretrain".to_owned()).chain(words[at + 1..].iter().cloned());
        return pretrain::command::run(&Cli::parse_from(flags).args).map(drop);
    }
    let dir = tempfile::tempdir()?;
    let work = match words.as_slice() {
        [] => {
            let Some(text) = test_support::shared("data/tinyshakespeare/input.txt.gz") else { return Ok(()) };
            shakespeare::place(dir.path(), &text)?;
            let [model, train, valid] = ["base", "train", "valid"].map(|name| dir.path().join(name));
            let config = test_support::root().join("recipes/configs/pretrain-tiny-shakespeare.toml");
            Work { config, model, train, valid, flags: Vec::new() }
        }
        [config, model, train, valid, flags @ ..] => Work {
            config: config.into(),
            model: model.into(),
            train: train.into(),
            valid: valid.into(),
            flags: flags.to_vec(),
        },
        _ => anyhow::bail!("give CONFIG MODEL TRAIN VALID, or nothing"),
    };
    let output = dir.path().join("run");
    let ours = herd(&work, &output)?;
    show("herd", &ours);
    let Some(python) = std::env::var_os("HERD_PEER_PYTHON") else { return Ok(()) };
    // The resolved configuration is passed on, so that both sides use the same.
    let resolved = output.join("resolved.json");
    let record: Value = serde_json::from_slice(&std::fs::read(output.join("run.json"))?)?;
    let config = &record["stage"]["config"];
    std::fs::write(&resolved, json!({"config": config, "steps": ours["steps"]}).to_string())?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/torch_peer.py");
    let command = &mut Command::new(python);
    command.arg(script).arg(&resolved).arg(&work.model).arg(&work.train).arg(&work.valid);
    let result = command.output().context("cannot start the peer")?;
    let text = String::from_utf8_lossy(&result.stdout).into_owned();
    let theirs = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
    let theirs = theirs.with_context(|| format!("the peer failed: {}", String::from_utf8_lossy(&result.stderr)))?;
    show("PyTorch", &theirs);
    let ratio = |name: &str| number(&ours, name) / number(&theirs, name);
    println!(
        "{:.2} times PyTorch's tokens/s, {:.2} of its memory, held-out loss {:+.4} nats",
        ratio("tokens_per_second"),
        ratio("peak_memory"),
        number(&ours, "loss") - number(&theirs, "loss")
    );
    Ok(())
}

fn number(record: &Value, name: &str) -> f64 {
    record[name].as_f64().unwrap_or(f64::NAN)
}

fn show(name: &str, record: &Value) {
    println!(
        "{name}: {:.0} tokens/s, held-out loss {:.4} nats, {:.2} GB at most, {} steps",
        number(record, "tokens_per_second"),
        number(record, "loss"),
        number(record, "peak_memory") / 1e9,
        record["steps"]
    );
}

/// Runs this project's side; the record uses the peer's names.
fn herd(work: &Work, output: &Path) -> anyhow::Result<Value> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--run").arg("--config").arg(&work.config).arg("--model").arg(&work.model);
    command.arg("--data").arg(&work.train).arg("--eval-data").arg(&work.valid).arg("--output").arg(output);
    command.args(["--device", "cpu", "--checkpoint-minutes", "0"]).args(&work.flags);
    let result = command.output()?;
    ensure!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    let metrics = trainer::metrics::read(&output.join("metrics.jsonl"))?;
    let mut speeds: Vec<f64> = metrics.iter().skip(metrics.len() / 10).map(|step| step.tokens_per_second).collect();
    speeds.sort_by(f64::total_cmp);
    let lines = std::fs::read_to_string(output.join("metrics.jsonl"))?;
    let last: Value = serde_json::from_str(lines.lines().last().unwrap_or("{}"))?;
    let record: Value = serde_json::from_slice(&std::fs::read(output.join("run.json"))?)?;
    let memory = record["stage"]["figures"]["report"]["peak_memory"].clone();
    let speed = speeds.get(speeds.len() / 2).copied();
    Ok(json!({"tokens_per_second": speed, "loss": last["eval_loss"], "peak_memory": memory, "steps": last["step"]}))
}
