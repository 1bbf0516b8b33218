//! Measures prefill and sampling of SmolLM2-135M-Instruct in tokens per second, beside transformers and the limits of the machine
//! (matrix products, memory bandwidth).
//!
//!     cargo bench --profile dev -p llama --bench generation -- [PYTHON] [f32|bf16]
//!
//! PYTHON is an interpreter that has torch 2.11.0 and transformers; without it only herd's own figures are printed.

use std::process::Command;
use std::time::Instant;

use llama::{Engine, Llama, Next, Request, SamplingParams, locate};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Tokens of the long prompt.
const PREFILL: usize = 512;
/// Tokens of the short prompt.
const PROMPT: usize = 69;
/// Tokens sampled after the short prompt.
const NEW: usize = 128;
/// Sequences of the batch.
const SAMPLES: usize = 16;
/// Runs of each measurement; the fastest counts.
const REPEATS: usize = 3;

fn main() -> anyhow::Result<()> {
    torch_ext::init();
    let folder = locate::locate("smollm2-135m-instruct")?;
    // cargo bench adds its own flags.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_type = |argument: &&String| ["f32", "bf16"].contains(&argument.as_str());
    let python = arguments.iter().find(|argument| !is_type(argument));
    let only = arguments.iter().find(is_type);
    let bandwidth = bandwidth();
    println!("{} threads, kernels {}; best of {REPEATS}", tch::get_num_threads(), torch_ext::decoder::Decoder::level());
    println!("| tokens/s | herd | transformers | ratio |\n|---|---|---|---|");
    let mut limits = Vec::new();
    for (name, kind) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let model = Llama::load(&folder, Some(kind), Device::Cpu)?;
        let long = seconds(&model, 1, PREFILL, 1)?;
        let one = seconds(&model, 1, PROMPT, NEW)?;
        let many = seconds(&model, SAMPLES, PROMPT, NEW)?;
        let prompt = seconds(&model, SAMPLES, PROMPT, 1)?;
        let ours = [
            (format!("prompt of {PREFILL}"), "prefill", PREFILL as f64 / long),
            (format!("1 sample of {NEW}"), "one", NEW as f64 / one),
            (format!("{SAMPLES} samples of {NEW}"), "many", (SAMPLES * NEW) as f64 / many),
        ];
        let peer = python.map(|python| peer(python, &folder, name)).transpose()?;
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
        limits.push(limit(&model, name, (many - prompt) / (NEW - 1) as f64, bandwidth));
    }
    limits.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// A line that compares the time of a decode step of the batch (`step`, seconds) with the limits of the machine.
fn limit(model: &Llama, name: &str, step: f64, bandwidth: f64) -> String {
    let config = model.config();
    let table = config.vocab_size * config.hidden_size;
    // A step reads only a few rows of the embedding table. A tied table is still read whole, as the output head.
    let untied = if config.tie_word_embeddings { 0 } else { table };
    let weights = (model.parameter_count() - untied) as f64;
    let rate = matrix_rate(model.kind());
    let (products, read) =
        (2.0 * weights * SAMPLES as f64 / rate, weights * model.kind().elt_size_in_bytes() as f64 / bandwidth);
    format!(
        "{name}: a step of {SAMPLES} rows takes {:.2} ms. Its products at this machine's {:.0} GFLOP/s: {:.2} ms; its weights at \
         {:.0} GB/s: {:.2} ms. The larger is {:.0}% of the step.",
        step * 1e3,
        rate / 1e9,
        products * 1e3,
        bandwidth / 1e9,
        read * 1e3,
        100.0 * products.max(read) / step
    )
}

/// Rate of libtorch's product of two 2048 x 2048 matrices in FLOP/s.
fn matrix_rate(kind: Kind) -> f64 {
    let size = 2048;
    let a = Tensor::randn([size, size], (Kind::Float, Device::Cpu)).to_kind(kind);
    let time = best(|| drop(torch_ext::linear(&a, &a, None)));
    2.0 * (size as f64).powi(3) / time
}

/// Rate at which a large tensor is read, in bytes per second.
fn bandwidth() -> f64 {
    let bytes = 1_i64 << 29;
    let tensor = Tensor::ones([bytes / 4], (Kind::Float, Device::Cpu));
    bytes as f64 / best(|| drop(tensor.sum(Kind::Float)))
}

fn best(mut body: impl FnMut()) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        body();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// Seconds to continue one prompt `samples` times by `new` tokens at temperature 0.8, including the prefill of the prompt.
fn seconds(model: &Llama, samples: usize, prompt: usize, new: usize) -> anyhow::Result<f64> {
    let sampling = SamplingParams { temperature: 0.8, ..SamplingParams::default() };
    let mut engine = Engine::new(model, samples)?;
    let mut best = f64::INFINITY;
    for repeat in 0..REPEATS as i64 {
        // Use a new prompt each time, so that it is not found in the cache.
        let ids: Vec<i64> = (0..prompt as i64).map(|place| 100 + (place * 37 + repeat * 1009) % 40000).collect();
        let request = |seed| Request {
            prompt: ids.clone(),
            sampling: sampling.clone(),
            seed,
            max_new_tokens: new,
            top_logprobs: 0,
        };
        let requests: Vec<Request> = (0..samples as u64).map(request).collect();
        let start = Instant::now();
        engine.generate(&requests, |_, _| Next::Continue)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Tokens per second of transformers, from `transformers_peer.py` beside this file.
fn peer(python: &str, folder: &std::path::Path, dtype: &str) -> anyhow::Result<Value> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/transformers_peer.py");
    let sizes = [PREFILL, PROMPT, NEW, SAMPLES].map(|size| size.to_string());
    let output = Command::new(python)
        .arg(script)
        .arg(folder)
        .arg(dtype)
        .args(sizes)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "{python} {script} failed");
    Ok(serde_json::from_slice(&output.stdout)?)
}
