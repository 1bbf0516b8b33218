//! The loss of supervised fine-tuning: cross-entropy on trained tokens (the Llama 3 paper, section 4.1.3).

use llama::Llama;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tch::{Device, Tensor};
use trainer::{Evaluation, Example, Input, Moment, Objective, PackedBatch, Plan, best_fit_decreasing, forward};

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
        Input { input_ids: &batch.input_ids, documents: &batch.documents }
    }

    fn loss(&self, hidden: &Tensor, head: &Tensor, batch: &PackedBatch) -> anyhow::Result<Tensor> {
        Ok(batch.cross_entropy_sum(hidden, head)?)
    }

    fn perturb(&self, embedded: Tensor, batch: &PackedBatch, _: Moment) -> Tensor {
        if self.neftune_alpha == 0.0 {
            return embedded;
        }
        let noise = neftune_noise(&embedded, &batch.documents[0], self.neftune_alpha);
        embedded + noise
    }

    fn evaluate(&self, model: &Llama) -> anyhow::Result<Option<Evaluation>> {
        if self.held_out.is_empty() {
            return Ok(None);
        }
        let (mut sum, mut weight, mut tokens) = (0.0, 0.0, 0);
        for batch in self.pack(&self.held_out.iter().collect::<Vec<_>>()) {
            sum += forward(self, model, &batch)?;
            weight += batch.normaliser;
            tokens += batch.trained_tokens as u64;
        }
        Ok(Some(Evaluation { loss: sum / weight, tokens }))
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

/// Takes a random share of the examples of all sources away, to hold them out. At least one is taken where there is one.
pub fn hold_out(sources: &mut [Vec<Example>], fraction: f64, seed: u64) -> Vec<Vec<Example>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut held_out = Vec::with_capacity(sources.len());
    for examples in sources.iter_mut() {
        let count = ((fraction * examples.len() as f64).round() as usize).max(1).min(examples.len().saturating_sub(1));
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.shuffle(&mut rng);
        let mut out = vec![false; examples.len()];
        order[..count].iter().for_each(|&index| out[index] = true);
        let all = std::mem::take(examples);
        let (held, kept): (Vec<_>, Vec<_>) = all.into_iter().zip(out).partition(|(_, out)| *out);
        *examples = kept.into_iter().map(|(example, _)| example).collect();
        held_out.push(held.into_iter().map(|(example, _)| example).collect());
    }
    held_out
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

    #[test]
    fn held_out_examples_are_not_trained() {
        let example =
            |n: usize| Example { id: n.to_string(), ids: vec![1, 2], trained: vec![false, true], weight: 1.0 };
        let mut sources = vec![(0..50).map(example).collect::<Vec<_>>(), (50..53).map(example).collect()];
        let held = hold_out(&mut sources, 0.1, 3);
        assert_eq!((held[0].len(), held[1].len(), sources[0].len(), sources[1].len()), (5, 1, 45, 2));
        let mut all: Vec<usize> =
            sources.iter().chain(&held).flatten().map(|example| example.id.parse().unwrap()).collect();
        all.sort_unstable();
        assert_eq!(all, (0..53).collect::<Vec<_>>());
    }
}
