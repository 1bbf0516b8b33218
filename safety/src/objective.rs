//! The loss of a guard: cross-entropy on its answers, with the policy once in each row.

use std::collections::BTreeMap;
use std::sync::Arc;

use guard_model::Prompts;
use llama::attention::{Layout, PromptGroup};
use llama::{Head, Llama};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safety_text::policy::Applies;
use tch::{Device, Kind, Tensor};
use trainer::stage::sources::Examples;
use trainer::{Ahead, Evaluation, Input, Loss, Metric, Objective, World, evaluate, placed};

use crate::data::{Text, Variant};

/// Texts with the policies under which they are shown.
#[derive(Clone)]
pub struct GuardObjective {
    /// The texts.
    pub examples: Arc<Examples<Text>>,
    /// The policy itself, followed by its variants.
    pub variants: Arc<Vec<Variant>>,
    /// Encodes prompts and answers.
    pub prompts: Prompts,
    /// The ids of each category's code.
    pub codes: BTreeMap<String, Vec<u32>>,
    /// Maximum number of tokens of a row, unless a single text is longer.
    pub row_tokens: usize,
    /// Seed of the choice of variants.
    pub seed: u64,
    /// The device of the computation.
    pub device: Device,
}

/// A policy followed by texts.
pub struct Batch {
    input_ids: Tensor,
    groups: Vec<Vec<PromptGroup>>,
    /// The positions that predict the tokens of the answers, these tokens, and their loss weights.
    places: Tensor,
    targets: Tensor,
    weights: Tensor,
    /// The indices in `places` of the first token of each answer.
    firsts: Tensor,
    normaliser: f64,
    tokens: u64,
    trained: u64,
    ids: Vec<String>,
}

impl GuardObjective {
    /// The right answer to a text under a variant of the policy: a text that violates none of the shown categories is safe.
    fn answer(&self, text: &Text, variant: &Variant) -> Vec<u32> {
        let shown: Vec<&[u32]> = variant
            .categories
            .iter()
            .filter(|id| text.categories.contains(id))
            .filter_map(|id| self.codes.get(id).map(Vec::as_slice))
            .collect();
        let is_unsafe = text.is_unsafe && (text.categories.is_empty() || !shown.is_empty());
        self.prompts.answer(is_unsafe, &shown)
    }

    /// The texts of a step in rows: every other text under the policy itself, the rest under the step's variant. An unsafe text of an
    /// unknown category is only shown under the whole policy.
    fn rows(&self, texts: &[&Text], variant: usize) -> Vec<Batch> {
        let mut by_prefix: BTreeMap<(usize, Applies), Vec<&Text>> = BTreeMap::new();
        for (at, text) in texts.iter().enumerate() {
            let is_unknown = text.is_unsafe && text.categories.is_empty();
            let variant = if is_unknown || at % 2 == 0 { 0 } else { variant };
            by_prefix.entry((variant, text.side)).or_default().push(text);
        }
        let mut batches = Vec::new();
        for ((variant, side), texts) in by_prefix {
            let variant = &self.variants[variant];
            let prefix = &variant.prefix[&side];
            let mut row: Vec<(&Text, Vec<u32>)> = Vec::new();
            let mut tokens = prefix.len();
            for text in texts {
                let answer = self.answer(text, variant);
                let own = text.ids.len() + answer.len() - 1;
                if !row.is_empty() && tokens + own > self.row_tokens {
                    batches.push(Batch::new(prefix, &std::mem::take(&mut row), self.device));
                    tokens = prefix.len();
                }
                tokens += own;
                row.push((text, answer));
            }
            batches.push(Batch::new(prefix, &row, self.device));
        }
        batches
    }
}

impl Batch {
    fn new(prefix: &[u32], texts: &[(&Text, Vec<u32>)], device: Device) -> Self {
        let mut ids: Vec<i64> = prefix.iter().map(|&id| i64::from(id)).collect();
        let (mut places, mut targets, mut weights, mut firsts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut responses, mut normaliser) = (Vec::new(), 0.0);
        for (text, answer) in texts {
            let start = ids.len() + text.ids.len() - 1;
            firsts.push(places.len() as i64);
            for (at, &id) in answer.iter().enumerate() {
                places.push((start + at) as i64);
                targets.push(i64::from(id));
                // The verdict has the same weight as all later tokens together.
                weights.push(if at == 0 { 1.0 } else { 1.0 / (answer.len() - 1) as f32 });
            }
            normaliser += if answer.len() > 1 { 2.0 } else { 1.0 };
            // The last token is not an input, because it predicts nothing.
            let own = text.ids.iter().chain(&answer[..answer.len() - 1]);
            responses.push((text.ids.len() + answer.len() - 1) as i64);
            ids.extend(own.map(|&id| i64::from(id)));
        }
        Self {
            tokens: ids.len() as u64,
            trained: places.len() as u64,
            input_ids: placed(Tensor::from_slice(&ids).unsqueeze(0), device),
            groups: vec![vec![PromptGroup { prompt: prefix.len() as i64, responses }]],
            places: placed(Tensor::from_slice(&places), device),
            targets: placed(Tensor::from_slice(&targets), device),
            weights: placed(Tensor::from_slice(&weights), device),
            firsts: placed(Tensor::from_slice(&firsts), device),
            normaliser,
            ids: texts.iter().map(|(text, _)| text.id.clone()).collect(),
        }
    }
}

impl Objective for GuardObjective {
    type Batch = Batch;

    fn steps(&self) -> u64 {
        self.examples.steps()
    }

    fn epoch(&self, steps: u64) -> f64 {
        self.examples.epoch(steps)
    }

    fn batches(&self, step: u64) -> Vec<Batch> {
        let picks = &self.examples.plan.steps[step as usize];
        let texts: Vec<&Text> = picks.iter().map(|&(source, example)| &self.examples.train[source][example]).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(step);
        let variant = if self.variants.len() > 1 { random.random_range(1..self.variants.len()) } else { 0 };
        self.rows(&texts, variant)
    }

    fn ahead(&self, from: u64) -> anyhow::Result<Option<Ahead<Batch>>> {
        let own = self.clone();
        Ahead::start(from..self.steps(), move |step| Ok(own.batches(step))).map(Some)
    }

    fn normaliser(&self, batch: &Batch) -> f64 {
        batch.normaliser
    }

    fn tokens(&self, batch: &Batch) -> (u64, u64) {
        (batch.tokens, batch.trained)
    }

    fn example_ids<'a>(&self, batch: &'a Batch) -> &'a [String] {
        &batch.ids
    }

    fn input<'a>(&self, batch: &'a Batch) -> Input<'a> {
        Input { input_ids: &batch.input_ids, layout: Layout::SharedPrompt(&batch.groups) }
    }

    fn loss(&self, hidden: &Tensor, head: Head, batch: &Batch) -> anyhow::Result<Loss> {
        let picked = hidden.squeeze_dim(0).index_select(0, &batch.places);
        let sum = head.cross_entropy_sum(&picked, &batch.targets, Some(&batch.weights))?;
        // The mean probability of the right verdict.
        let probabilities = tch::no_grad(|| {
            let firsts = (picked.index_select(0, &batch.firsts), batch.targets.index_select(0, &batch.firsts));
            head.cross_entropy(&firsts.0, &firsts.1).map(|nll| (-nll).exp())
        })?;
        let right = probabilities.sum(Kind::Double);
        let metric = Metric { name: "verdict_probability", sum: right.into(), weight: batch.ids.len() as f64 };
        Ok(Loss { sum, metrics: vec![metric] })
    }

    fn evaluate(&self, model: &Llama, world: &World) -> anyhow::Result<Option<Evaluation>> {
        let held_out: Vec<&Text> = self.examples.held_out.iter().collect();
        if held_out.is_empty() {
            return Ok(None);
        }
        evaluate(self, model, world, self.rows(&held_out, 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_policy_once_and_predicts_the_answers() {
        torch_ext::init();
        let text = |ids: &[u32]| Text {
            id: "x".into(),
            side: Applies::Prompt,
            ids: ids.to_vec(),
            is_unsafe: false,
            categories: Vec::new(),
        };
        let (one, other) = (text(&[3, 4]), text(&[8]));
        let batch = Batch::new(&[1, 2], &[(&one, vec![5, 6, 7]), (&other, vec![9])], Device::Cpu);
        let numbers = |tensor: &Tensor| Vec::<i64>::try_from(tensor.flatten(0, -1)).unwrap();
        // The policy, the first text with its answer except for the last token, the second text.
        assert_eq!(numbers(&batch.input_ids), [1, 2, 3, 4, 5, 6, 8]);
        assert_eq!(batch.groups, [vec![PromptGroup { prompt: 2, responses: vec![4, 1] }]]);
        // Each token of an answer is predicted at the position of the previous token.
        assert_eq!((numbers(&batch.places), numbers(&batch.targets)), (vec![3, 4, 5, 6], vec![5, 6, 7, 9]));
        assert_eq!((numbers(&batch.firsts), batch.normaliser), (vec![0, 3], 3.0));
        assert_eq!(Vec::<f32>::try_from(&batch.weights).unwrap(), [1.0, 0.5, 0.5, 1.0]);
    }
}
