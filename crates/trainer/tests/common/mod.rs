//! A simple objective over given examples.

#![allow(dead_code)]

use llama::{Head, Operators};
use tch::{Device, Tensor};
use trainer::{Computation, Example, Input, Loss, Objective, PackedBatch};

#[path = "../../../llama/tests/common/mod.rs"]
pub mod fixtures;

/// Loads a model of the fixtures.
pub fn load(folder: &std::path::Path) -> llama::Llama {
    fixtures::load(folder)
}

/// The operators that the test program selects; `recompute` layers are recomputed.
pub fn how(recompute: usize) -> Computation {
    Computation { operators: if crate::FUSED { Operators::Fused } else { Operators::Plain }, recompute }
}

/// Cross-entropy over fixed examples. Each step has all examples, in micro-batches of `micro_batch` examples.
pub struct Fixed {
    pub examples: Vec<Example>,
    pub micro_batch: usize,
    pub steps: u64,
}

impl Objective for Fixed {
    type Batch = PackedBatch;

    fn steps(&self) -> u64 {
        self.steps
    }

    fn epoch(&self, steps: u64) -> f64 {
        steps as f64
    }

    fn batches(&self, _: u64) -> Vec<PackedBatch> {
        let examples: Vec<&Example> = self.examples.iter().collect();
        examples.chunks(self.micro_batch).map(|some| PackedBatch::new(some, Device::Cpu)).collect()
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
        Input { input_ids: &batch.input_ids, layout: batch.layout() }
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &PackedBatch) -> anyhow::Result<Loss> {
        Ok(batch.cross_entropy_sum(hidden, head)?.into())
    }
}

/// An example whose tokens from index `prompt` on are trained.
pub fn example(id: &str, ids: &[i64], prompt: usize) -> Example {
    Example {
        id: id.into(),
        ids: ids.iter().map(|&id| id as u32).collect(),
        trained: (0..ids.len()).map(|place| place >= prompt).collect(),
        weight: 1.0,
    }
}

/// Eight examples of different lengths for a vocabulary of 320.
pub fn eight() -> Vec<Example> {
    let id = |a: usize, b: usize| (3 + (a * 7919 + b * 104_729 + a * b * 31) % 317) as i64;
    (0..8)
        .map(|n| {
            let ids: Vec<i64> = (0..12 + 5 * n).map(|place| id(n, place)).collect();
            example(&format!("example-{n}"), &ids, 3 + 2 * n)
        })
        .collect()
}

/// |a - b| / |b|
pub fn relative(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (a.to_kind(tch::Kind::Double), b.to_kind(tch::Kind::Double));
    f64::try_from((&a - &b).norm() / b.norm()).unwrap()
}
