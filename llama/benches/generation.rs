//! Prefill and decoding of SmolLM2-135M-Instruct beside transformers, on the same machine in the same run.
//!
//!     cargo bench --profile dev -p llama --bench generation -- [PYTHON]
//!
//! PYTHON is an interpreter that has torch 2.11.0 and transformers; without it only herd's own figures are printed.

use std::process::Command;
use std::time::Instant;

use llama::{Engine, Llama, Next, Request, SamplingParams, locate};
use serde_json::Value;
use tch::{Device, Kind};

/// Tokens of the long prompt, tokens of the short one, tokens decoded.
const PREFILL: usize = 512;
const PROMPT: usize = 69;
const NEW: usize = 64;

fn main() -> anyhow::Result<()> {
    torch_ext::init();
    let folder = locate::locate("smollm2-135m-instruct")?;
    // cargo bench adds flags of its own.
    let python = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    println!("{} threads; tokens/s, best of 2", tch::get_num_threads());
    println!("| | herd | transformers | ratio |\n|---|---|---|---|");
    for (name, kind) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
        let model = Llama::load(&folder, Some(kind), Device::Cpu)?;
        let ours = [
            (format!("prefill of {PREFILL} tokens"), "prefill", PREFILL as f64 / seconds(&model, 1, PREFILL, 1)?),
            ("decoding, 1 sequence".to_owned(), "decode_1", decode(&model, 1)?),
            ("decoding, 16 sequences".to_owned(), "decode_16", decode(&model, 16)?),
        ];
        let peer = python.as_deref().map(|python| peer(python, &folder, name)).transpose()?;
        for (what, key, ours) in ours {
            let (theirs, ratio) = match &peer {
                Some(peer) => {
                    let theirs = peer[key].as_f64().unwrap_or(f64::NAN);
                    (format!("{theirs:.0}"), format!("{:.2}", ours / theirs))
                }
                None => ("-".into(), "-".into()),
            };
            println!("| {what}, {name} | {ours:.0} | {theirs} | {ratio} |");
        }
    }
    Ok(())
}

/// Tokens decoded in a second, the prompt's time taken off.
fn decode(model: &Llama, sequences: usize) -> anyhow::Result<f64> {
    let whole = seconds(model, sequences, PROMPT, NEW)?;
    let prompt = seconds(model, sequences, PROMPT, 1)?;
    Ok((sequences * (NEW - 1)) as f64 / (whole - prompt))
}

/// Seconds to continue one prompt `sequences` times by `new` tokens at temperature 0.8.
fn seconds(model: &Llama, sequences: usize, prompt: usize, new: usize) -> anyhow::Result<f64> {
    let sampling = SamplingParams { temperature: 0.8, ..SamplingParams::default() };
    let requests: Vec<Request> = (0..sequences)
        .map(|seed| Request {
            prompt: (0..prompt as i64).map(|place| 100 + place * 37 % 40000).collect(),
            sampling: sampling.clone(),
            seed: seed as u64,
            max_new_tokens: new,
        })
        .collect();
    let engine = Engine::new(model, sequences);
    let mut best = f64::INFINITY;
    for _ in 0..2 {
        let start = Instant::now();
        engine.generate(&requests, |_, _| Next::Continue)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// What transformers reaches: see `transformers.py` beside this file.
fn peer(python: &str, folder: &std::path::Path, dtype: &str) -> anyhow::Result<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/transformers_peer.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder)
        .args([dtype, &PREFILL.to_string(), &PROMPT.to_string(), &NEW.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "{python} {script} failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}
