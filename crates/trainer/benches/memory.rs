//! Compares the memory estimate with the measured peak of one step of full fine-tuning: one row, all tokens trained, one
//! process for each case.
//!
//!     cargo bench --profile dev -p trainer --bench memory -- [small|smollm2:TOKENS[:RECOMPUTED LAYERS[:TOKENS OF A TEXT]]] ...
//!
//! `small` is 4 layers of 256 with a vocabulary of 2,048; `smollm2` SmolLM2-135M-Instruct. float32.

use std::process::Command;

use anyhow::Context;
use llama::attention::Layout;
use llama::{Head, Llama, LlamaConfig, Operators, locate};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use torch_ext::OpError;
use trainer::cost::Trained;
use trainer::memory::{MemoryEstimate, MemoryInputs, held, peak};
use trainer::{
    Computation, Example, Extent, Input, Loss, Objective, Optimizer, OptimizerSettings, PackedBatch, RngPosition,
    Schedule, ScheduleKind, forward_backward,
};

const CASES: [&str; 9] = [
    "small:2048",
    "small:8192",
    "small:32768:0:4096",
    "small:32768:4:4096",
    "small:32768:2:4096",
    "smollm2:2048",
    "smollm2:8192:30:1024",
    "smollm2:4096:0:512",
    "smollm2:8192:15:1024",
];

/// One optimizer step over one row.
struct OneRow(Vec<Example>);

impl Objective for OneRow {
    type Batch = PackedBatch;

    fn steps(&self) -> u64 {
        1
    }

    fn epoch(&self, steps: u64) -> f64 {
        steps as f64
    }

    fn batches(&self, _: u64) -> Vec<PackedBatch> {
        vec![PackedBatch::new(&self.0.iter().collect::<Vec<_>>(), Device::Cpu)]
    }

    fn normaliser(&self, batch: &PackedBatch) -> f64 {
        batch.normaliser
    }

    fn tokens(&self, batch: &PackedBatch) -> (u64, u64) {
        (batch.tokens as u64, batch.trained_tokens as u64)
    }

    fn example_ids<'a>(&self, batch: &'a PackedBatch) -> &'a [String] {
        &batch.example_ids
    }

    fn input<'a>(&self, batch: &'a PackedBatch) -> Input<'a> {
        Input { input_ids: &batch.input_ids, layout: Layout::Packed(&batch.documents) }
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &PackedBatch) -> anyhow::Result<Loss> {
        Ok(batch.cross_entropy_sum(hidden, head)?.into())
    }
}

fn main() -> anyhow::Result<()> {
    let mut cases: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let Some(case) = std::env::var_os("HERD_MEMORY_CASE") {
        return one(&case.to_string_lossy());
    }
    if cases.is_empty() {
        cases = CASES.map(str::to_owned).to_vec();
    }
    println!("case | estimated GB | measured GB | ratio");
    for case in cases {
        let mut child = Command::new(std::env::current_exe()?);
        anyhow::ensure!(child.env("HERD_MEMORY_CASE", &case).status()?.success(), "{case} failed");
    }
    Ok(())
}

fn small() -> anyhow::Result<Llama> {
    let raw = json!({"architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 768,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 2048,
        "max_position_embeddings": 131_072, "tie_word_embeddings": true});
    let config = LlamaConfig::from_json(raw.as_object().cloned().unwrap_or_default())?;
    let weight = |_: &str, shape: &[i64]| Ok::<_, OpError>(Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.02);
    Ok(Llama::build(config, weight)?)
}

fn one(case: &str) -> anyhow::Result<()> {
    trainer::keep_memory();
    torch_ext::init();
    let (name, numbers) = case.split_once(':').context("NAME:TOKENS")?;
    let numbers: Vec<usize> = numbers.split(':').map(str::parse).collect::<Result<_, _>>()?;
    let (tokens, recompute) = (numbers[0], numbers.get(1).copied().unwrap_or(0));
    let text = numbers.get(2).copied().unwrap_or(tokens);
    let model = match name {
        "small" => small()?,
        _ => Llama::load(&locate::locate("smollm2-135m-instruct")?, Some(Kind::Float), Device::Cpu)?,
    };
    let vocab = model.config().vocab_size as usize;
    let example = |n: usize| Example {
        id: format!("text {n}"),
        ids: (0..text).map(|place| ((n * 7919 + place * 37) % vocab) as u32).collect(),
        trained: vec![true; text],
        weight: 1.0,
    };
    let objective = OneRow((0..tokens / text).map(example).collect());
    let extent = Extent { targets: tokens as u64, ..Extent::of([vec![(tokens, tokens)]]) };
    let estimate = MemoryEstimate::new(&MemoryInputs {
        config: model.config(),
        kind: Kind::Float,
        device: Device::Cpu,
        trained: Trained::Everything,
        dropout: false,
        average: false,
        extent,
        recompute,
    });
    let estimate = estimate.with_program(held().unwrap_or(0).saturating_sub(estimate.weights));
    let settings = OptimizerSettings {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        decay_norms_and_biases: false,
        max_grad_norm: Some(1.0),
    };
    let kind = ScheduleKind::Constant;
    let schedule = Schedule { kind, peak: 1e-4, warmup_steps: 0, total_steps: 2, final_ratio: 0.0, decay_steps: 0 };
    let mut optimizer = Optimizer::new(model.named_parameters(), &|_| Ok(None), settings, schedule)?;
    for step in 0..2 {
        for batch in objective.batches(step) {
            let moment = RngPosition { seed: 0, step, micro_batch: 0 };
            let how = Computation { operators: Operators::Fused, recompute };
            forward_backward(&objective, &model, &batch, moment, batch.normaliser, how)?;
            optimizer.gather()?;
        }
        optimizer.step()?;
    }
    let (estimated, measured) = (estimate.total() as f64 / 1e9, peak().unwrap_or(0) as f64 / 1e9);
    println!("{case} | {estimated:.2} | {measured:.2} | {:.2}", estimated / measured);
    for (part, bytes) in estimate.parts().into_iter().filter(|(_, bytes)| *bytes > 0) {
        println!("    {part} {:.2}", bytes as f64 / 1e9);
    }
    Ok(())
}
