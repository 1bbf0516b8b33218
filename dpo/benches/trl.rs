//! Pairs per second and peak memory, compared with TRL's DPOTrainer in the same run: SmolLM2-135M, 4 pairs of GSM8K
//! answers per step, bfloat16 compute with float32 master weights, full fine-tuning.
//!
//! `HERD_PEER_PYTHON=/path/to/python cargo bench --profile dev -p dpo --bench trl`. That Python needs torch 2.11.0,
//! transformers 5.23 and trl 1.16. Without it, only this project is measured. Both compute the reference either in
//! each step (`live`, TRL's default) or before the first step (`cached`, this project's default; not included in the
//! time). Each step is timed; the first is left out, and the median is reported.

use std::path::Path;
use std::process::Command;

use clap::Parser;
use serde_json::{Value, json};

const STEPS: usize = 6;
const PAIRS: usize = 4;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: dpo::command::Args,
}

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    torch_ext::init();
    // One run per process, so that each has its own peak memory.
    if let Some(at) = words.iter().position(|word| word == "--run") {
        trainer::keep_memory();
        let flags = std::iter::once("dpo".to_owned()).chain(words[at + 1..].iter().cloned());
        return dpo::command::run(&Cli::parse_from(flags).args).map(|_| ());
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
    let data = dir.path().join("pairs.jsonl");
    let rows: Vec<Value> = dataset::jsonl::read_all(&gsm8k)?;
    // The answer of another problem serves as a wrong one.
    let pairs = (0..STEPS * PAIRS).map(|n| {
        let turn = |role: &str, text: &Value| json!([{"role": role, "content": text}]);
        json!({
            "id": n.to_string(),
            "prompt": turn("user", &rows[n]["question"]),
            "chosen": turn("assistant", &rows[n]["answer"]),
            "rejected": turn("assistant", &rows[n + STEPS * PAIRS]["answer"])
        })
    });
    dataset::jsonl::write_all(&data, pairs)?;
    let variants: &[(&str, &str)] = &[
        ("cached", ""),
        ("cached, prompts apart", "--share-prompt never"),
        ("live", "--live-reference"),
        ("cached, LoRA 16", "--lora-rank 16"),
    ];
    let mut ours = Vec::new();
    for (number, (name, flags)) in variants.iter().enumerate() {
        let (speed, memory) = herd(&model, &data, &dir.path().join(number.to_string()), flags)?;
        println!("herd, {name}: {speed:.2} pairs/s, {:.2} GB at most", memory / 1e9);
        ours.push((speed, memory));
    }
    let Some(python) = std::env::var_os("HERD_PEER_PYTHON") else { return Ok(()) };
    for (name, at) in [("live", 2), ("cached", 0)] {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/trl_peer.py");
        let mut command = Command::new(&python);
        command.arg(script).arg(&model).arg(&data).args([STEPS.to_string(), PAIRS.to_string(), name.into()]);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let Some(record) = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok()) else {
            anyhow::bail!("the peer failed: {}", String::from_utf8_lossy(&output.stderr));
        };
        let number = |name: &str| record[name].as_f64().unwrap_or(f64::NAN);
        let (speed, memory) = (number("pairs_per_second"), number("peak_memory"));
        println!("TRL, {name}: {speed:.2} pairs/s, {:.2} GB at most", memory / 1e9);
        println!(
            "herd {name} has {:.2} times TRL's speed in {:.2} of its memory",
            ours[at].0 / speed,
            ours[at].1 / memory
        );
    }
    Ok(())
}

/// Median pairs per second and peak memory in bytes.
fn herd(model: &Path, data: &Path, output: &Path, flags: &str) -> anyhow::Result<(f64, f64)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--run").arg("--model").arg(model).arg("--data").arg(data).arg("--output").arg(output);
    command.args(["--dtype", "bf16", "--checkpoint-minutes", "0", "--batch-size", &PAIRS.to_string()]);
    command.args(flags.split_whitespace());
    let result = command.output()?;
    anyhow::ensure!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    let mut speeds: Vec<f64> = trainer::metrics::read(&output.join("metrics.jsonl"))?
        .iter()
        .skip(1)
        .map(|m| PAIRS as f64 * m.tokens_per_second / m.tokens as f64)
        .collect();
    speeds.sort_by(f64::total_cmp);
    let record: Value = serde_json::from_slice(&std::fs::read(output.join("run.json"))?)?;
    Ok((speeds[speeds.len() / 2], record["stage"]["figures"]["report"]["peak_memory"].as_f64().unwrap_or(f64::NAN)))
}
