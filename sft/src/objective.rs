//! The loss of supervised fine-tuning: cross-entropy on trained tokens (the Llama 3 paper, section 4.1.3).

use std::sync::Arc;

use llama::{Head, Llama};
use tch::{Device, Tensor};
use torch_ext::Generator;
use trainer::context::Share;
use trainer::stage::sources::Examples;
use trainer::{Ahead, Evaluation, Example, Extent, Input, Loss, Objective, PackedBatch, RngPosition, World, evaluate};

/// Examples with the loss of supervised fine-tuning.
pub struct SftObjective {
    /// The examples.
    pub examples: Arc<Examples<Example>>,
    /// Strength of NEFTune's noise.
    pub neftune_alpha: f64,
    /// The device of the computation.
    pub device: Device,
}

impl SftObjective {
    fn pack(&self, rows: Vec<Vec<&Example>>) -> Vec<PackedBatch> {
        pack(rows, self.device)
    }
}

fn pack(rows: Vec<Vec<&Example>>, device: Device) -> Vec<PackedBatch> {
    rows.into_iter().map(|row| PackedBatch::new(&row, device)).collect()
}

impl Objective for SftObjective {
    type Batch = PackedBatch;

    fn steps(&self) -> u64 {
        self.examples.steps()
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.examples.epoch(steps)
    }

    fn batches(&self, step: u64) -> Vec<PackedBatch> {
        self.pack(self.examples.rows(step))
    }

    fn ahead(&self, from: u64) -> anyhow::Result<Option<Ahead<PackedBatch>>> {
        let (examples, device) = (self.examples.clone(), self.device);
        Ahead::start(from..self.steps(), move |step| Ok(pack(examples.rows(step), device))).map(Some)
    }

    fn normaliser(&self, batch: &PackedBatch) -> f64 {
        batch.normaliser
    }

    fn tokens(&self, batch: &PackedBatch) -> (u64, u64) {
        (batch.tokens as u64, batch.trained_tokens as u64)
    }

    fn extent(&self) -> Option<Extent> {
        Some(self.examples.extent(Example::trained_tokens))
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

    fn share(&self, batch: &PackedBatch, share: &Share) -> anyhow::Result<PackedBatch> {
        anyhow::ensure!(
            self.neftune_alpha == 0.0,
            "--neftune-alpha with --context-parallel: the noise would be that of other tokens; leave one of them out"
        );
        Ok(batch.share(share))
    }

    fn perturb(&self, embedded: Tensor, batch: &PackedBatch, moment: RngPosition) -> anyhow::Result<Tensor> {
        if self.neftune_alpha == 0.0 {
            return Ok(embedded);
        }
        let seed = moment.seed_for("noise");
        let noise = neftune_noise(&embedded, &batch.documents[0], self.neftune_alpha, seed)?;
        Ok(embedded + noise)
    }

    fn evaluate(&self, model: &Llama, world: &World) -> anyhow::Result<Option<Evaluation>> {
        evaluate(self, model, world, self.pack(self.examples.held_out_rows()))
    }
}

/// NEFTune (Jain et al. 2023, algorithm 1): adds uniform noise in `±alpha / sqrt(length · width)` to the embeddings
/// of each document.
fn neftune_noise(embedded: &Tensor, documents: &[i64], alpha: f64, seed: u64) -> anyhow::Result<Tensor> {
    let width = embedded.size()[2];
    let bounds: Vec<f32> = documents
        .iter()
        .flat_map(|&length| {
            let bound = alpha / ((length * width) as f64).sqrt();
            std::iter::repeat_n(bound as f32, length as usize)
        })
        .collect();
    let bounds = Tensor::from_slice(&bounds).to_device(embedded.device()).reshape([1, -1, 1]);
    let uniform = Generator::new(embedded.device(), seed)?.uniform(&embedded.size())? * 2.0 - 1.0;
    Ok((uniform * bounds).to_kind(embedded.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn noise_stays_in_its_bounds_and_fills_them() {
        torch_ext::init();
        let embedded = Tensor::zeros([1, 40, 16], (Kind::Float, Device::Cpu));
        let noise = neftune_noise(&embedded, &[10, 30], 5.0, 1).unwrap();
        for (start, length) in [(0, 10), (10, 30)] {
            let bound = 5.0 / ((length * 16) as f64).sqrt();
            let part = noise.narrow(1, start, length);
            let (low, high) = (part.min().double_value(&[]), part.max().double_value(&[]));
            assert!((-bound..-0.9 * bound).contains(&low), "{low} {bound}");
            assert!((0.9 * bound..=bound).contains(&high), "{high} {bound}");
        }
    }
}
