//! The order of the examples over a run: a pure function of the seed, the lengths and the weights. The order does not depend on
//! the thread count or on restarts, so the step number alone is the data position of a run.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Size of one optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepSize {
    /// Number of examples: each epoch is split into equal steps of at most this many.
    Examples(usize),
    /// Approximate number of tokens: each epoch is split into equal steps of at most this many, to within one example.
    Tokens(usize),
}

/// One data set of a mix: the lengths of its examples and their weight in an epoch.
#[derive(Debug, Clone)]
pub struct Source {
    /// Length of each example in tokens.
    pub lengths: Vec<usize>,
    /// How often an epoch contains each example: 2 is each example twice, 0.5 a random half of them, 1.5 each once and a random
    /// half twice.
    pub weight: f64,
}

/// An example: the index of its source, and its index in that source.
pub type Pick = (usize, usize);

/// The examples of all optimizer steps of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The examples of each step.
    pub steps: Vec<Vec<Pick>>,
    /// For each epoch, the index of the first step after it.
    pub epoch_ends: Vec<usize>,
}

impl Plan {
    /// Plans `epochs` epochs over `sources`, or as many epochs as `max_steps` needs if that is given.
    #[must_use]
    pub fn new(sources: &[Source], epochs: u64, max_steps: Option<usize>, size: StepSize, seed: u64) -> Self {
        let mut plan = Self { steps: Vec::new(), epoch_ends: Vec::new() };
        for epoch in 0.. {
            let enough = max_steps.map_or(epoch >= epochs, |max| plan.steps.len() >= max);
            let order = if enough { Vec::new() } else { epoch_order(sources, epoch, seed) };
            if order.is_empty() {
                break;
            }
            plan.steps.extend(cut(&order, sources, size));
            plan.epoch_ends.push(plan.steps.len());
        }
        if let Some(max) = max_steps {
            plan.steps.truncate(max);
            if let Some(end) = plan.epoch_ends.last_mut() {
                *end = (*end).min(max);
            }
        }
        plan
    }

    /// Number of epochs completed after `step` steps, with its fraction.
    #[must_use]
    pub fn epoch_at(&self, step: usize) -> f64 {
        let done = self.epoch_ends.partition_point(|&end| end <= step);
        let start = if done == 0 { 0 } else { self.epoch_ends[done - 1] };
        let share = self.epoch_ends.get(done).map_or(0.0, |&end| (step - start) as f64 / (end - start) as f64);
        done as f64 + share
    }
}

/// A random number generator for one purpose and one epoch (`number`), independent of all others.
pub(crate) fn generator(seed: u64, purpose: &str, number: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&number.to_le_bytes());
    for (slot, byte) in key[16..].iter_mut().zip(purpose.bytes()) {
        *slot = byte;
    }
    ChaCha8Rng::from_seed(key)
}

/// Removes a random share of the examples from all sources and returns it as held-out data, one list for each source. `belongs`
/// returns a group key, such as the prompt: all examples with the same key, from all sources, land on the same side. At least
/// one group is held out from each source that has two or more groups.
pub fn hold_out<T, K: Eq + Hash + Clone>(
    sources: &mut [Vec<T>],
    belongs: impl Fn(&T) -> K,
    fraction: f64,
    seed: u64,
) -> Vec<Vec<T>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut out: HashSet<K> = HashSet::new();
    for examples in sources.iter() {
        let mut sizes: HashMap<K, usize> = HashMap::new();
        let mut keys = Vec::new();
        for key in examples.iter().map(&belongs) {
            let size = sizes.entry(key.clone()).or_default();
            if *size == 0 {
                keys.push(key);
            }
            *size += 1;
        }
        keys.shuffle(&mut rng);
        let most = ((fraction * examples.len() as f64).round() as usize).max(1);
        let mut held: usize = keys.iter().filter(|key| out.contains(key)).map(|key| sizes[key]).sum();
        // The keys are in random order; the last one is never held out.
        for key in keys.iter().take(keys.len().saturating_sub(1)) {
            if held + sizes[key] <= most.max(sizes[key]) && out.insert(key.clone()) {
                held += sizes[key];
            }
        }
    }
    let part = |examples: &mut Vec<T>| {
        let all = std::mem::take(examples);
        let (held, kept) = all.into_iter().partition(|example| out.contains(&belongs(example)));
        *examples = kept;
        held
    };
    sources.iter_mut().map(part).collect()
}

fn epoch_order(sources: &[Source], epoch: u64, seed: u64) -> Vec<Pick> {
    let mut rng = generator(seed, "order", epoch);
    let mut order = Vec::new();
    for (source, Source { lengths, weight }) in sources.iter().enumerate() {
        let count = lengths.len();
        for _ in 0..weight.trunc() as usize {
            order.extend((0..count).map(|example| (source, example)));
        }
        let rest = (weight.fract() * count as f64).round() as usize;
        let mut examples: Vec<usize> = (0..count).collect();
        let (some, _) = examples.partial_shuffle(&mut rng, rest);
        order.extend(some.iter().map(|&example| (source, example)));
    }
    order.shuffle(&mut rng);
    order
}

fn cut(order: &[Pick], sources: &[Source], size: StepSize) -> Vec<Vec<Pick>> {
    let budget = match size {
        StepSize::Examples(count) => {
            let shares = order.len().div_ceil(count.max(1));
            let border = |share: usize| share * order.len() / shares;
            return (0..shares).map(|share| order[border(share)..border(share + 1)].to_vec()).collect();
        }
        StepSize::Tokens(budget) => budget.max(1),
    };
    let length = |&(source, example): &Pick| sources[source].lengths[example];
    let total: usize = order.iter().map(length).sum();
    let shares = total.div_ceil(budget).max(1);
    let mut steps = Vec::with_capacity(shares);
    let (mut step, mut seen) = (Vec::new(), 0);
    for pick in order {
        step.push(*pick);
        seen += length(pick);
        // A step ends with the example that reaches its share of the tokens.
        if seen * shares >= (steps.len() + 1) * total {
            steps.push(std::mem::take(&mut step));
        }
    }
    if !step.is_empty() {
        steps.push(step);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> Vec<Source> {
        vec![
            Source { lengths: (0..40).map(|i| 50 + i * 7 % 90).collect(), weight: 1.0 },
            Source { lengths: vec![30; 10], weight: 2.0 },
            Source { lengths: vec![80; 20], weight: 0.25 },
            Source { lengths: vec![60; 4], weight: 1.5 },
        ]
    }

    #[test]
    fn weights_repeat_and_downsample() {
        let plan = Plan::new(&sources(), 3, None, StepSize::Examples(8), 1);
        let mut quarters = Vec::new();
        let mut start = 0;
        for &end in &plan.epoch_ends {
            let mut picks: Vec<Pick> = plan.steps[start..end].concat();
            picks.sort_unstable();
            let count = |source: usize| picks.iter().filter(|pick| pick.0 == source).count();
            assert_eq!([count(0), count(1), count(2), count(3)], [40, 20, 5, 6]);
            assert!((0..10).all(|i| picks.iter().filter(|&&pick| pick == (1, i)).count() == 2));
            quarters.push(picks.iter().filter(|pick| pick.0 == 2).copied().collect::<Vec<_>>());
            start = end;
        }
        assert_ne!(quarters[0], quarters[1], "another random quarter in each epoch");
    }

    #[test]
    fn the_seed_decides() {
        let plan = |seed| Plan::new(&sources(), 2, None, StepSize::Tokens(500), seed);
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn token_budgets_make_even_steps() {
        let plan = Plan::new(&sources(), 1, None, StepSize::Tokens(500), 9);
        let sources = sources();
        let tokens = |step: &Vec<Pick>| step.iter().map(|&(s, e)| sources[s].lengths[e]).sum::<usize>();
        let sums: Vec<usize> = plan.steps.iter().map(tokens).collect();
        let total: usize = sums.iter().sum();
        assert_eq!(sums.len(), total.div_ceil(500));
        let even = total / sums.len();
        assert!(sums.iter().all(|&sum| sum.abs_diff(even) <= 140), "{sums:?}");
    }

    #[test]
    fn the_rest_of_an_epoch_is_shared_over_its_steps() {
        let sizes = |examples: usize, size: usize| {
            let sources = [Source { lengths: vec![9; examples], weight: 1.0 }];
            let plan = Plan::new(&sources, 1, None, StepSize::Examples(size), 3);
            let mut all: Vec<usize> = plan.steps.concat().into_iter().map(|(_, example)| example).collect();
            all.sort_unstable();
            assert_eq!(all, (0..examples).collect::<Vec<_>>());
            plan.steps.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(sizes(65, 64), [32, 33]);
        assert_eq!(sizes(64, 64), [64]);
        assert_eq!(sizes(10, 4), [3, 3, 4]);
        assert_eq!(sizes(3, 64), [3]);
    }

    #[test]
    fn max_steps_goes_over_epochs_or_cuts_them() {
        let plan = Plan::new(&sources(), 1, Some(25), StepSize::Examples(8), 1);
        assert_eq!((plan.steps.len(), plan.epoch_ends.clone()), (25, vec![9, 18, 25]));
        assert_eq!(plan.epoch_at(0), 0.0);
        assert_eq!(plan.epoch_at(9), 1.0);
        assert!((plan.epoch_at(12) - 1.333).abs() < 1e-3);
        assert_eq!(Plan::new(&[], 1, Some(3), StepSize::Examples(8), 1).steps.len(), 0);
    }

    #[test]
    fn held_out_examples_are_not_trained() {
        let mut sources = vec![(0..50).collect::<Vec<_>>(), (50..53).collect(), vec![53]];
        let held = hold_out(&mut sources, |&example| example, 0.1, 3);
        assert_eq!([held[0].len(), held[1].len(), held[2].len()], [5, 1, 0]);
        let mut all: Vec<i32> = sources.iter().chain(&held).flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..54).collect::<Vec<_>>());
    }

    #[test]
    fn what_belongs_together_is_held_out_together() {
        let prompt = |example: &i32| example % 10;
        let mut sources = vec![(0..60).collect::<Vec<_>>(), (100..110).collect()];
        let held = hold_out(&mut sources, prompt, 0.2, 3);
        assert_eq!([held[0].len(), held[1].len()], [12, 2]);
        let prompts = |lists: &[Vec<i32>]| lists.iter().flatten().map(prompt).collect::<HashSet<_>>();
        assert!(prompts(&sources).is_disjoint(&prompts(&held)));
        // A source with a single prompt is never held out, however large it is.
        let mut alone = vec![vec![10, 20, 30]];
        assert!(hold_out(&mut alone, prompt, 0.5, 3)[0].is_empty());
    }
}
