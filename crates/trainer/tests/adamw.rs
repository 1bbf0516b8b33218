//! Compares eight AdamW steps with PyTorch: losses, gradient norms, final weights.

// Test helpers outside of test functions.
#![allow(clippy::unwrap_used)]

mod common;

/// Uses the same operators as transformers; `fused.rs` runs the same tests with the fused operators.
#[allow(dead_code)]
const FUSED: bool = false;

use common::fixtures::{fixture, ids, reference};
use common::{Fixed, example, how, load, relative};
use serde_json::Value;
use trainer::{Objective, Optimizer, OptimizerSettings, RngPosition, Schedule, ScheduleKind, forward_backward};

#[test]
fn the_trajectory_is_pytorchs() {
    let folder = fixture("tiny/llama-gqa");
    let file = folder.join("reference.safetensors");
    let rows: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("adamw_trajectory.json")).unwrap()).unwrap();
    let input = reference(&file, "input_ids");
    // In the reference the labels of the first 20 tokens are -100 (ignored).
    let examples = [0, 1].map(|row| example(&row.to_string(), &ids(&input.get(row)), 20)).to_vec();
    let objective = Fixed { examples, micro_batch: 2, steps: 8 };
    let model = load(&folder);
    let settings = OptimizerSettings {
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        decay_norms_and_biases: true,
        max_grad_norm: Some(1.0),
    };
    let kind = ScheduleKind::Cosine;
    let schedule = Schedule { kind, peak: 1e-3, warmup_steps: 2, total_steps: 8, final_ratio: 0.1, decay_steps: 0 };
    let mut optimizer = Optimizer::new(model.named_parameters(), &|_| Ok(None), settings, schedule).unwrap();
    assert_eq!(rows.len(), 8);
    for (step, row) in rows.iter().enumerate() {
        let batch = &objective.batches(step as u64)[0];
        let moment = RngPosition { seed: 0, step: step as u64, micro_batch: 0 };
        let sum = forward_backward(&objective, &model, batch, moment, batch.normaliser, how(0)).unwrap().0;
        optimizer.gather().unwrap();
        let report = optimizer.step().unwrap();
        let close = |found: f64, name: &str, tolerance: f64| {
            let expected = row[name].as_f64().unwrap();
            assert!((found / expected - 1.0).abs() < tolerance, "step {step}: {name} {found} instead of {expected}");
        };
        close(sum / batch.normaliser, "loss", 1e-5);
        close(report.grad_norm, "grad_norm", 1e-4);
        close(report.learning_rate, "lr", 1e-12);
    }
    for (name, weight) in model.named_parameters() {
        let error = relative(&weight, &reference(&folder.join("adamw_after_8.safetensors"), &name));
        assert!(error < 1e-5, "{name} is off by {error}");
    }
}
