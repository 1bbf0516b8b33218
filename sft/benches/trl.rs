//! Tokens per second and peak memory, compared with TRL's SFTTrainer in the same run: SmolLM2-135M, GSM8K, 4,096
//! tokens per step, bfloat16 compute with float32 master weights, nearly every token trained.
//!
//! `HERD_PEER_PYTHON=/path/to/python cargo bench -p sft --bench trl [-- full|lora]`. That Python needs torch 2.11.0,
//! transformers 5.23, trl 1.16 and peft 0.21. Without it, only this project is measured. Each step is timed; the
//! first is left out, and the median is reported.

use std::path::Path;
use std::process::Command;

use clap::Parser;
use serde_json::{Value, json};

const STEPS: usize = 5;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: sft::command::Args,
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    torch_ext::init();
    // One run per process, so that each has its own peak memory.
    if let Some(at) = words.iter().position(|word| word == "--run") {
        trainer::keep_memory();
        let flags = std::iter::once("sft".to_owned()).chain(words[at + 1..].iter().cloned());
        return sft::command::run(&Cli::parse_from(flags).args).map(drop);
    }
    let Ok(model) = llama::locate::locate("smollm2-135m-instruct") else {
        println!("skipped: no smollm2-135m-instruct in the cache (`herd model get` fetches it)");
        return Ok(());
    };
    let gsm8k = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/gsm8k/train.jsonl.gz");
    if !gsm8k.is_file() {
        println!("skipped: no {}", gsm8k.display());
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data.jsonl");
    let rows = dataset::jsonl::read_all::<Value>(&gsm8k)?.into_iter().take(600).map(|row| {
        let text = format!("{}\n{}", row["question"].as_str().unwrap_or(""), row["answer"].as_str().unwrap_or(""));
        json!({"messages": [{"role": "user", "content": "A problem, please."}, {"role": "assistant", "content": text}]})
    });
    dataset::jsonl::write_all(&data, rows)?;
    let kinds: Vec<&str> = ["full", "lora"]
        .into_iter()
        .filter(|kind| {
            words.iter().any(|word| word == kind) || !words.iter().any(|word| word == "full" || word == "lora")
        })
        .collect();
    for kind in kinds {
        let (ours, memory) = herd(&model, &data, &dir.path().join(kind), kind)?;
        println!("{kind}: herd {ours:.0} tokens/s, {:.2} GB at most", memory / 1e9);
        let Some(python) = std::env::var_os("HERD_PEER_PYTHON") else { continue };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/trl_peer.py");
        let mut command = Command::new(python);
        command.arg(script).arg(&model).arg(&data).arg(STEPS.to_string()).arg(kind);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(record) = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok()) else {
            anyhow::bail!("the peer failed: {}", String::from_utf8_lossy(&output.stderr));
        };
        let number = |name: &str| record[name].as_f64().unwrap_or(f64::NAN);
        let (theirs, their_memory) = (number("tokens_per_second"), number("peak_memory"));
        println!("{kind}: TRL  {theirs:.0} tokens/s, {:.2} GB at most", their_memory / 1e9);
        println!("{kind}: {:.2} times TRL's speed in {:.2} of its memory", ours / theirs, memory / their_memory);
    }
    Ok(())
}

/// Median tokens per second and peak memory in bytes.
fn herd(model: &Path, data: &Path, output: &Path, kind: &str) -> anyhow::Result<(f64, f64)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--run").arg("--model").arg(model).arg("--data").arg(data).arg("--output").arg(output);
    command.args([
        "--dtype",
        "bf16",
        "--batch-tokens",
        "4096",
        "--micro-batch-tokens",
        "4096",
        "--checkpoint-minutes",
        "0",
    ]);
    command.args(["--max-steps", &STEPS.to_string()]);
    if kind == "lora" {
        command.args(["--lora-rank", "16"]);
    }
    let result = command.output()?;
    anyhow::ensure!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    let mut speeds: Vec<f64> =
        trainer::metrics::read(&output.join("metrics.jsonl"))?.iter().skip(1).map(|m| m.tokens_per_second).collect();
    speeds.sort_by(f64::total_cmp);
    let record: Value = serde_json::from_slice(&std::fs::read(output.join("run.json"))?)?;
    Ok((speeds[speeds.len() / 2], record["stage"]["figures"]["report"]["peak_memory"].as_f64().unwrap_or(f64::NAN)))
}
