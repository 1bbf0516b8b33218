//! The loss of a stage: cross-entropy of every token of its documents, with full or skipped positions.

use std::sync::Arc;

use anyhow::Context as _;
use clap::ValueEnum;
use llama::Head;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use trainer::{Ahead, Example, Extent, Input, Loss, Objective, PackedBatch, Plan, best_fit_decreasing};

/// The positions of the tokens of an example.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Consecutive positions from 0; examples are as long as the stage's length
    #[default]
    Full,
    /// Shorter examples whose positions skip once, somewhere up to the stage's length (`PoSE`, Zhu et al. 2024)
    Skip,
}

/// The documents of a stage.
#[derive(Clone)]
pub struct StageObjective {
    /// Examples by source: long, short.
    pub sources: Arc<Vec<Vec<Example>>>,
    /// The order in which examples are seen.
    pub plan: Arc<Plan>,
    /// Tokens of a micro-batch.
    pub micro_batch_tokens: usize,
    /// The length up to which positions skip; none with full positions.
    pub skip_to: Option<usize>,
    /// Seeds the skips.
    pub seed: u64,
    /// The device that computes the loss.
    pub device: Device,
}

impl StageObjective {
    /// The examples of a step in rows, each with its index in the step.
    fn rows(&self, step: u64) -> Vec<Vec<(usize, &Example)>> {
        let Some(picks) = self.plan.steps.get(step as usize) else { return Vec::new() };
        let examples: Vec<&Example> = picks.iter().map(|&(source, example)| &self.sources[source][example]).collect();
        let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
        let rows = best_fit_decreasing(&lengths, self.micro_batch_tokens);
        rows.into_iter().map(|row| row.into_iter().map(|place| (place, examples[place])).collect()).collect()
    }

    fn batch(&self, step: u64, row: &[(usize, &Example)]) -> anyhow::Result<PackedBatch> {
        let examples: Vec<&Example> = row.iter().map(|(_, example)| *example).collect();
        let batch = PackedBatch::new(&examples, self.device);
        let Some(length) = self.skip_to else { return Ok(batch) };
        let positions: Vec<Vec<i64>> = row
            .iter()
            .map(|(place, example)| skipped(example.ids.len(), length, self.seed, (step << 24) | *place as u64))
            .collect();
        batch.at(&positions.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    /// Number of micro-batches of the whole run.
    #[must_use]
    pub fn micro_batches(&self) -> usize {
        (0..self.plan.steps.len() as u64).map(|step| self.rows(step).len()).sum()
    }
}

/// The positions of `tokens` tokens in a context of `length`: two chunks, the first from 0 on, the second after a gap. The place and the
/// length of the gap are uniform (`PoSE`, section 3.2, with two chunks). A function of the seed and the number of the example.
#[must_use]
pub fn skipped(tokens: usize, length: usize, seed: u64, number: u64) -> Vec<i64> {
    if tokens < 2 || tokens >= length {
        return (0..tokens as i64).collect();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(number);
    let first = rng.random_range(1..tokens) as i64;
    let gap = rng.random_range(0..=length - tokens) as i64;
    (0..tokens as i64).map(|at| if at < first { at } else { at + gap }).collect()
}

impl Objective for StageObjective {
    type Batch = PackedBatch;

    fn steps(&self) -> u64 {
        self.plan.steps.len() as u64
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.plan.epoch_at(steps as usize)
    }

    fn batches(&self, step: u64) -> Vec<PackedBatch> {
        self.load(step).unwrap_or_default()
    }

    fn load(&self, step: u64) -> anyhow::Result<Vec<PackedBatch>> {
        let rows = self.rows(step);
        rows.iter().map(|row| self.batch(step, row).with_context(|| format!("step {step}"))).collect()
    }

    fn ahead(&self, from: u64) -> anyhow::Result<Option<Ahead<PackedBatch>>> {
        let own = self.clone();
        Ahead::start(from..self.steps(), move |step| own.load(step)).map(Some)
    }

    fn normaliser(&self, batch: &PackedBatch) -> f64 {
        batch.normaliser
    }

    fn tokens(&self, batch: &PackedBatch) -> (u64, u64) {
        (batch.tokens as u64, batch.trained_tokens as u64)
    }

    fn extent(&self) -> Option<Extent> {
        let of_row = |row: &Vec<(usize, &Example)>| {
            let tokens = row.iter().map(|(_, example)| example.ids.len()).sum();
            (tokens, row.iter().map(|(_, example)| example.trained_tokens()).sum())
        };
        Some(Extent::of((0..self.steps()).map(|step| self.rows(step).iter().map(of_row).collect())))
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

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::{Source, StepSize};

    #[test]
    fn positions_skip_once_and_reach_the_whole_context() {
        let (mut furthest, mut gaps) = (0, 0);
        for number in 0..400 {
            let positions = skipped(16, 100, 3, number);
            assert!(positions.len() == 16 && positions[0] == 0 && positions.is_sorted_by(|a, b| a < b));
            let jumps = positions.windows(2).filter(|pair| pair[1] - pair[0] > 1).count();
            assert!(jumps <= 1);
            gaps += jumps;
            furthest = furthest.max(positions[15]);
        }
        assert_eq!((furthest, gaps > 350), (99, true));
        assert_eq!(skipped(16, 100, 3, 7), skipped(16, 100, 3, 7));
        assert_ne!(skipped(16, 100, 3, 7), skipped(16, 100, 3, 8));
        assert_eq!(skipped(5, 5, 3, 7), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn every_example_is_in_a_row_whatever_the_micro_batch() {
        torch_ext::init();
        let example = |id: usize, length: usize| Example {
            id: id.to_string(),
            ids: (0..length as u32).collect(),
            trained: vec![true; length],
            weight: 1.0,
        };
        let sources: Vec<Vec<Example>> =
            vec![(0..6).map(|at| example(at, 8)).collect(), (6..10).map(|at| example(at, 3)).collect()];
        let lengths = |examples: &Vec<Example>| examples.iter().map(|example| example.ids.len()).collect();
        let of = |weight, at: usize| Source { lengths: lengths(&sources[at]), weight };
        let plan = Plan::new(&[of(1.0, 0), of(1.0, 1)], 1, None, StepSize::Tokens(30), 1);
        let objective = |micro_batch_tokens| StageObjective {
            sources: sources.clone().into(),
            plan: plan.clone().into(),
            micro_batch_tokens,
            skip_to: Some(64),
            seed: 5,
            device: Device::Cpu,
        };
        let seen = |micro| {
            let objective = objective(micro);
            let mut all = Vec::new();
            for step in 0..objective.steps() {
                for batch in objective.load(step).unwrap() {
                    let positions = batch.positions.clone().unwrap().concat();
                    let mut at = 0;
                    for (id, length) in batch.example_ids.iter().zip(&batch.documents[0]) {
                        let end = at + *length as usize;
                        all.push((step, id.clone(), positions[at..end].to_vec()));
                        at = end;
                    }
                }
            }
            all.sort();
            all
        };
        let small = seen(8);
        assert_eq!(small.len(), 10);
        // Positions belong to the example, not to the row that it is packed into.
        assert_eq!(small, seen(30));
    }
}
