//! Compares the memory estimate with the allocations that libtorch counts in a real step.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

mod common;

const FUSED: bool = true;

use std::hint::black_box;
use std::process::Command;

use common::{Fixed, example, how};
use llama::{Llama, LlamaConfig, LoraConfig, TargetModules};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use torch_ext::{Allocations, OpError};
use trainer::cost::Trained;
use trainer::memory::{Allowance, MemoryEstimate, MemoryInputs, held};
use trainer::{
    Extent, Named, Objective, Optimizer, OptimizerSettings, RngPosition, Schedule, ScheduleKind, forward_backward,
};

/// A case: kind of training and sizes.
#[derive(Debug, Clone, Copy)]
struct Case {
    kind: Kind,
    vocab: i64,
    /// Tokens per text, texts per micro-batch, micro-batches per step.
    text: usize,
    texts: usize,
    micro_batches: usize,
    recompute: usize,
    lora: bool,
    qk_norm: bool,
}

const CASE: Case = Case {
    kind: Kind::Float,
    vocab: 512,
    text: 1024,
    texts: 2,
    micro_batches: 1,
    recompute: 0,
    lora: false,
    qk_norm: false,
};

const LAYERS: usize = 4;

fn model(case: Case) -> (Llama, Named) {
    let architecture = if case.qk_norm { "Qwen3ForCausalLM" } else { "LlamaForCausalLM" };
    let raw = json!({"architectures": [architecture], "hidden_size": 96, "intermediate_size": 256, "head_dim": 32,
        "num_hidden_layers": LAYERS, "num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": case.vocab,
        "max_position_embeddings": case.text, "tie_word_embeddings": true});
    let config = LlamaConfig::from_json(raw.as_object().unwrap().clone()).unwrap();
    tch::manual_seed(5);
    let weight = |_: &str, shape: &[i64]| {
        Ok::<_, OpError>((Tensor::randn(shape, (Kind::Float, Device::Cpu)) * 0.1).to_kind(case.kind))
    };
    let mut model = Llama::build(config, weight).unwrap();
    if !case.lora {
        let named = model.named_parameters();
        return (model, named);
    }
    let lora: LoraConfig = serde_json::from_value(json!({
        "peft_type": "LORA", "r": 4, "lora_alpha": 8.0, "target_modules": "all-linear"
    }))
    .unwrap();
    assert!(matches!(lora.target_modules, TargetModules::Pattern(_)));
    let random = |_: &str, shape: [i64; 2], bound: f64| Ok(Tensor::randn(shape, (Kind::Float, Device::Cpu)) * bound);
    model.add_adapter(&lora, random).unwrap();
    let mut named = Vec::new();
    for (name, linear) in model.linears_mut() {
        let lora = linear.lora.as_ref().unwrap();
        named.push((format!("{name}.lora_A.weight"), lora.a.shallow_clone()));
        named.push((format!("{name}.lora_B.weight"), lora.b.shallow_clone()));
    }
    (model, named)
}

/// The estimate, and the measured peak of weights, optimizer and one step of the loop.
fn estimate_and_peak(case: Case) -> (MemoryEstimate, u64) {
    torch_ext::init();
    let (model, named) = model(case);
    let bytes =
        |named: &Named| named.iter().map(|(_, t)| t.numel() * t.kind().elt_size_in_bytes()).sum::<usize>() as u64;
    let weights: u64 = named.iter().map(|(_, tensor)| tensor.numel() as u64).sum();
    let trained = if case.lora { Trained::Adapter { weights } } else { Trained::Everything };
    let base = bytes(&model.named_parameters()) + if case.lora { bytes(&named) } else { 0 };
    let id = |n: usize, place: usize| ((n * 7 + place * 13) % case.vocab as usize) as i64;
    let text = |n: usize| example("text", &(0..case.text).map(|place| id(n, place)).collect::<Vec<_>>(), 1);
    let examples = (0..case.texts * case.micro_batches).map(text).collect();
    let objective = Fixed { examples, micro_batch: case.texts, steps: 1 };
    let settings = OptimizerSettings {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        decay_norms_and_biases: false,
        max_grad_norm: Some(1.0),
    };
    let kind = ScheduleKind::Constant;
    let schedule = Schedule { kind, peak: 1e-3, warmup_steps: 0, total_steps: 1, final_ratio: 0.0, decay_steps: 0 };
    let (done, taken) = Allocations::of(|| {
        let mut optimizer = Optimizer::new(named, &|_| Ok(None), settings, schedule)?;
        let batches = objective.batches(0);
        let normaliser = batches.iter().map(|batch| objective.normaliser(batch)).sum();
        for (number, batch) in (0..).zip(&batches) {
            let moment = RngPosition { seed: 0, step: 0, micro_batch: number };
            forward_backward(&objective, &model, batch, moment, normaliser, how(case.recompute))?;
            optimizer.gather()?;
        }
        anyhow::Ok(optimizer.step()?)
    })
    .unwrap();
    assert!(done.unwrap().grad_norm.is_finite());
    let tokens = (case.text * case.texts) as u64;
    let targets = ((case.text - 1) * case.texts) as u64;
    let estimate = MemoryEstimate::new(&MemoryInputs {
        config: model.config(),
        kind: case.kind,
        device: Device::Cpu,
        trained,
        dropout: false,
        average: false,
        extent: Extent { tokens, targets, several: case.micro_batches > 1, heads: 1, ..Extent::default() },
        recompute: case.recompute,
    });
    (estimate, base + taken.most)
}

#[track_caller]
fn near(case: Case) {
    let (estimate, peak) = estimate_and_peak(case);
    let ratio = estimate.total() as f64 / peak as f64;
    println!("{ratio:.3} of {:.1} MB {:?} {case:?}\n      {:?}", peak as f64 / 1e6, estimate.when, estimate.parts());
    assert!(
        (0.9..1.1).contains(&ratio),
        "{:.1} MB estimated, {peak} bytes at most: {case:?}",
        estimate.total() as f64 / 1e6
    );
}

#[test]
fn rows_of_2k_8k_and_32k_tokens() {
    for (texts, recomputed) in [(4, &[0, 1, 3, LAYERS][..]), (16, &[0, 3, LAYERS]), (64, &[0, LAYERS])] {
        for &recompute in recomputed {
            near(Case { text: 512, texts, recompute, ..CASE });
        }
    }
}

#[test]
fn bfloat16() {
    for (texts, recompute, micro_batches) in [(2, 0, 1), (2, LAYERS, 2), (8, 0, 1), (8, 2, 1)] {
        near(Case { kind: Kind::BFloat16, text: 512, texts: 2 * texts, recompute, micro_batches, ..CASE });
    }
}

#[test]
fn low_rank_updates_and_norms_of_heads() {
    for (texts, recompute) in [(2, 0), (8, 0), (8, LAYERS)] {
        near(Case { texts, recompute, lora: true, ..CASE });
        near(Case { texts, recompute, qk_norm: true, ..CASE });
    }
}

/// Runs a test of the allocator in its own process, because settings and memory are per process. Returns whether this is that
/// process.
fn in_its_own_process(test: &str) -> bool {
    const CHILD: &str = "TRAINER_MEMORY_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]).env(CHILD, "1");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn freed_memory_in_pieces_goes_back_to_the_system() {
    if !in_its_own_process("freed_memory_in_pieces_goes_back_to_the_system") {
        return;
    }
    trainer::keep_memory();
    let (mut large, mut small) = (Vec::new(), Vec::new());
    for _ in 0..256 {
        large.push(black_box(vec![1_u8; 1 << 20]));
        small.push(black_box(vec![1_u8; 64]));
    }
    let full = held().unwrap();
    drop(black_box(large));
    assert!(held().unwrap() + (32 << 20) > full, "the allocator does not keep what is freed");
    Allowance::new(Some(full)).keep();
    assert!(held().unwrap() + (32 << 20) > full, "less than the allowance is given back");
    Allowance::new(Some(full / 2)).keep();
    assert!(held().unwrap() + (192 << 20) < full, "{} of {full} bytes are still held", held().unwrap());
    assert_eq!(small.iter().map(Vec::len).sum::<usize>(), 256 * 64);
}

/// Steps whose rows have other lengths each time: what the process holds stays near the peak of the bytes in use, and freed tensors
/// are used again.
#[test]
fn tensors_of_other_sizes_in_each_step_hold_no_more_than_their_peak() {
    if !in_its_own_process("tensors_of_other_sizes_in_each_step_hold_no_more_than_their_peak") {
        return;
    }
    trainer::keep_memory();
    torch_ext::init();
    let ones = |numbers: i64| Tensor::ones([numbers], (Kind::Float, Device::Cpu));
    let (before, steps) = (held().unwrap(), 40);
    let mut kept = Vec::new();
    let ((), taken) = Allocations::of(|| {
        let mut draw = 1_u64;
        for _ in 0..steps {
            draw = draw.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let tokens = 1000 + (draw >> 33) as i64 % 1000;
            let layer = |_| [ones(tokens * 96), ones(tokens * 256), ones(tokens * 256), ones(tokens * 32)];
            let activations: Vec<_> = (0..40).map(layer).collect();
            // Something small that stays lies between them.
            kept.push(ones(20_000));
            drop(activations);
        }
    })
    .unwrap();
    let more = held().unwrap() - before;
    println!("{} MB in use at most, {} MB held", taken.most >> 20, more >> 20);
    assert!(more < taken.most / 8 * 9 + (128 << 20), "{more} bytes are held for {} in use at most", taken.most);
    assert!(more > taken.most / 2, "{more} bytes are held: freed tensors were given back");
    let held_full = held().unwrap();
    torch_ext::trim_tensors();
    assert!(held().unwrap() + taken.most / 2 < held_full, "{} of {held_full} bytes are still held", held().unwrap());
    assert_eq!(kept.len(), steps);
}

/// Few tokens: weights, their gradients and a large vocabulary dominate.
#[test]
fn weights_and_the_head() {
    for kind in [Kind::Float, Kind::BFloat16] {
        for (vocab, micro_batches) in [(512, 1), (512, 2), (30_000, 1), (30_000, 2)] {
            near(Case { kind, vocab, text: 64, texts: 1, micro_batches, ..CASE });
        }
    }
}
