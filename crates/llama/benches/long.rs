//! Benchmarks long rows with SmolLM2-135M-Instruct, in tokens/s: prefill, decoding of one sequence after a long prompt, and
//! training rows (forward and backward pass with recomputation, all tokens trained, without the optimizer step).
//!
//!     cargo bench --profile dev -p llama --bench long -- [f32|bf16] [prefill=TOKENS] [decode=TOKENS] [train=TEXT/ROW] [window=TOKENS]
//!
//! Each argument may be given several times; without any, the lengths of `WORK` are used. A window applies to all layers.

use std::time::Instant;

use llama::attention::{Packed, packed_positions};
use llama::{Engine, Llama, LlamaConfig, Next, Pass, Recompute, Request, SamplingParams, locate};
use tch::{Device, Kind, Tensor};

const WORK: [&str; 7] = [
    "prefill=512",
    "prefill=3961",
    "prefill=8111",
    "decode=3961",
    "train=200/3700",
    "train=3700/3700",
    "train=8111/8111",
];

/// Number of generated tokens of a decode measurement.
const NEW: usize = 256;

fn main() -> anyhow::Result<()> {
    torch_ext::init();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let kind = if arguments.iter().any(|argument| argument == "bf16") { Kind::BFloat16 } else { Kind::Float };
    let window = arguments.iter().find_map(|argument| argument.strip_prefix("window=")?.parse::<i64>().ok());
    let mut work: Vec<&str> = arguments.iter().map(String::as_str).filter(|argument| argument.contains('=')).collect();
    work.retain(|argument| !argument.starts_with("window="));
    if work.is_empty() {
        work = WORK.to_vec();
    }
    let model = model(kind, window)?;
    println!(
        "{} threads, kernels {}, {kind:?}, window {window:?}",
        tch::get_num_threads(),
        torch_ext::decoder::Decoder::level()
    );
    for item in work {
        let (what, length) = item.split_once('=').unwrap_or((item, ""));
        let (text, row) = length.split_once('/').unwrap_or((length, length));
        let (text, row): (usize, usize) = (text.parse()?, row.parse()?);
        let rate = match what {
            "prefill" => text as f64 / generation(&model, text, 1)?,
            "decode" => {
                let (long, short) = (generation(&model, text, NEW)?, generation(&model, text, 1)?);
                (NEW - 1) as f64 / (long - short)
            }
            "train" => row as f64 / training(&model, text, row)?,
            other => anyhow::bail!("{other} is none of prefill, decode and train"),
        };
        println!("{item}: {rate:.1} tokens/s, {:.2} GB at most so far", peak());
    }
    Ok(())
}

/// SmolLM2 with a context of 131,072 positions and, if given, a sliding window in all layers.
fn model(kind: Kind, window: Option<i64>) -> anyhow::Result<Llama> {
    let folder = locate::locate("smollm2-135m-instruct")?;
    let loaded = Llama::load(&folder, Some(kind), Device::Cpu)?;
    let mut raw = loaded.config().to_json(kind)?;
    raw["max_position_embeddings"] = 131_072.into();
    if let Some(window) = window {
        raw["architectures"] = serde_json::json!(["MistralForCausalLM"]);
        raw["sliding_window"] = window.into();
    }
    let config = LlamaConfig::from_json(raw.as_object().cloned().unwrap_or_default())?;
    let weights: std::collections::HashMap<String, Tensor> = loaded.named_parameters().into_iter().collect();
    Llama::build(config, |name, _| {
        weights.get(name).map(Tensor::shallow_clone).ok_or_else(|| anyhow::anyhow!("no {name}"))
    })
}

/// Seconds for a prompt of `prompt` tokens and `new` generated tokens: the minimum of two runs.
fn generation(model: &Llama, prompt: usize, new: usize) -> anyhow::Result<f64> {
    let mut engine = Engine::with_options(
        model,
        llama::EngineOptions { slots: 1, cache_tokens: Some(prompt + new + 64), ..Default::default() },
    )?;
    let mut best = f64::INFINITY;
    for repeat in 0..2 {
        // Use a new prompt each time, so that it is not found in the cache.
        let ids: Vec<i64> = (0..prompt as i64).map(|place| 100 + (place * 37 + repeat * 1009) % 40000).collect();
        let sampling = SamplingParams { temperature: 0.8, ..SamplingParams::default() };
        let request = Request { prompt: ids, sampling, seed: 1, max_new_tokens: new, top_logprobs: 0 };
        let start = Instant::now();
        engine.generate(&[request], |_, _| Next::Continue)?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Seconds of a forward and backward pass over a row of `row` tokens in texts of `text` tokens: the minimum of two runs.
fn training(model: &Llama, text: usize, row: usize) -> anyhow::Result<f64> {
    let documents: Vec<i64> = (0..row).step_by(text).map(|start| text.min(row - start) as i64).collect();
    let documents = [documents];
    let ids: Vec<i64> = (0..row as i64).map(|place| 100 + (place * 37) % 40000).collect();
    let ids = Tensor::from_slice(&ids).unsqueeze(0);
    let positions = packed_positions(&documents, row as i64);
    for (_, parameter) in model.named_parameters() {
        let _ = parameter.set_requires_grad(true);
    }
    let mut best = f64::INFINITY;
    for _ in 0..2 {
        let start = Instant::now();
        let mut attend = Packed { documents: &documents };
        let pass = Recompute::forward(model, model.embed(&ids)?, &positions, &mut attend, Pass::fused())?;
        let _loss = pass.backward(&mut attend, |hidden| {
            let flat = hidden.squeeze_dim(0);
            model.head().cross_entropy_sum(&flat, &ids.squeeze_dim(0), None)
        })?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    for (_, parameter) in model.named_parameters() {
        torch_ext::take_grad(&parameter)?;
        let _ = parameter.set_requires_grad(false);
    }
    Ok(best)
}

/// Peak memory of this process so far, in GB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse::<f64>().unwrap_or_default() / 1e6
}
