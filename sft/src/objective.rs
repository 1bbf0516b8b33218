//! The loss of supervised fine-tuning: cross-entropy on trained tokens (the Llama 3 paper, section 4.1.3).

use llama::Llama;
use llama::attention::Layout;
use tch::{Device, Tensor};
use trainer::{Evaluation, Example, Input, Loss, Moment, Objective, PackedBatch, Plan, best_fit_decreasing, evaluate};

/// Examples in the order of a plan.
pub struct SftObjective {
    /// The examples of each source.
    pub sources: Vec<Vec<Example>>,
    /// Held-out examples.
    pub held_out: Vec<Example>,
    /// Which examples each step has.
    pub plan: Plan,
    /// Tokens that pass through the model at a time.
    pub micro_batch_tokens: usize,
    /// Strength of NEFTune's noise.
    pub neftune_alpha: f64,
    /// Where to compute.
    pub device: Device,
}

impl SftObjective {
    /// Examples packed into rows of at most `micro_batch_tokens` tokens.
    fn pack(&self, examples: &[&Example]) -> Vec<PackedBatch> {
        let lengths: Vec<usize> = examples.iter().map(|example| example.ids.len()).collect();
        best_fit_decreasing(&lengths, self.micro_batch_tokens)
            .into_iter()
            .map(|bin| {
                let row: Vec<&Example> = bin.into_iter().map(|index| examples[index]).collect();
                PackedBatch::new(&row, self.device)
            })
            .collect()
    }

    /// Micro-batches in the whole run.
    #[must_use]
    pub fn micro_batches(&self) -> usize {
        let bins = |step: &Vec<(usize, usize)>| {
            let lengths: Vec<usize> = step.iter().map(|&(s, e)| self.sources[s][e].ids.len()).collect();
            best_fit_decreasing(&lengths, self.micro_batch_tokens).len()
        };
        self.plan.steps.iter().map(bins).sum()
    }
}

impl Objective for SftObjective {
    type Batch = PackedBatch;

    fn steps(&self) -> u64 {
        self.plan.steps.len() as u64
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.plan.epoch_at(steps as usize)
    }

    fn batches(&self, step: u64) -> Vec<PackedBatch> {
        let picks = &self.plan.steps[step as usize];
        let examples: Vec<&Example> = picks.iter().map(|&(source, example)| &self.sources[source][example]).collect();
        self.pack(&examples)
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

    fn loss(&self, hidden: &Tensor, head: &Tensor, batch: &PackedBatch) -> anyhow::Result<Loss> {
        Ok(batch.cross_entropy_sum(hidden, head)?.into())
    }

    fn perturb(&self, embedded: Tensor, batch: &PackedBatch, _: Moment) -> Tensor {
        if self.neftune_alpha == 0.0 {
            return embedded;
        }
        let noise = neftune_noise(&embedded, &batch.documents[0], self.neftune_alpha);
        embedded + noise
    }

    fn evaluate(&self, model: &Llama) -> anyhow::Result<Option<Evaluation>> {
        evaluate(self, model, self.pack(&self.held_out.iter().collect::<Vec<_>>()))
    }
}

/// NEFTune (Jain et al. 2023, algorithm 1): uniform noise in `±alpha / sqrt(length · width)` for each document. Draws from
/// libtorch's generator, which the training loop seeds for each micro-batch.
fn neftune_noise(embedded: &Tensor, documents: &[i64], alpha: f64) -> Tensor {
    let width = embedded.size()[2];
    let bounds: Vec<f32> = documents
        .iter()
        .flat_map(|&length| {
            let bound = alpha / ((length * width) as f64).sqrt();
            std::iter::repeat_n(bound as f32, length as usize)
        })
        .collect();
    let bounds = Tensor::from_slice(&bounds).to_device(embedded.device()).reshape([1, -1, 1]);
    let uniform = embedded.detach().to_kind(tch::Kind::Float).rand_like() * 2.0 - 1.0;
    (uniform * bounds).to_kind(embedded.kind())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn noise_stays_in_its_bounds_and_fills_them() {
        torch_ext::init();
        tch::manual_seed(1);
        let embedded = Tensor::zeros([1, 40, 16], (Kind::Float, Device::Cpu));
        let noise = neftune_noise(&embedded, &[10, 30], 5.0);
        for (start, length) in [(0, 10), (10, 30)] {
            let bound = 5.0 / ((length * 16) as f64).sqrt();
            let part = noise.narrow(1, start, length);
            let (low, high) = (part.min().double_value(&[]), part.max().double_value(&[]));
            assert!((-bound..-0.9 * bound).contains(&low), "{low} {bound}");
            assert!((0.9 * bound..=bound).contains(&high), "{high} {bound}");
        }
    }
}
