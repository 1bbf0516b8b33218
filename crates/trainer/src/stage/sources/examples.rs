//! The examples in the order of a plan, packed into rows.

use crate::{Extent, Pick, Plan, best_fit_decreasing};

/// The examples of a run, from which an objective makes its micro-batches.
pub struct Examples<E> {
    /// Training examples, one list for each file of `--data`.
    pub train: Vec<Vec<E>>,
    /// Evaluation examples.
    pub held_out: Vec<E>,
    /// The examples of each step.
    pub plan: Plan,
    /// Number of tokens in a row, of each example of `train` and of `held_out`.
    lengths: (Vec<Vec<usize>>, Vec<usize>),
    /// Maximal tokens of a row.
    capacity: usize,
}

impl<E> Examples<E> {
    /// Collects the examples. `tokens` returns the number of tokens of an example in a row of at most `micro_batch_tokens`.
    #[must_use]
    pub fn new(
        train: Vec<Vec<E>>,
        held_out: Vec<E>,
        plan: Plan,
        tokens: impl Fn(&E) -> usize,
        micro_batch_tokens: usize,
    ) -> Self {
        let of = |examples: &Vec<E>| examples.iter().map(&tokens).collect::<Vec<_>>();
        let lengths = (train.iter().map(of).collect(), of(&held_out));
        Self { train, held_out, plan, lengths, capacity: micro_batch_tokens }
    }

    /// Number of optimizer steps of the whole run.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.plan.steps.len() as u64
    }

    /// Number of epochs completed after `steps` steps, with its fraction.
    #[must_use]
    pub fn epoch(&self, steps: u64) -> f64 {
        self.plan.epoch_at(steps as usize)
    }

    /// The examples of a step, packed into rows of at most `--micro-batch-tokens` tokens.
    #[must_use]
    pub fn rows(&self, step: u64) -> Vec<Vec<&E>> {
        let example = |&(source, example): &Pick| &self.train[source][example];
        self.picks(step).iter().map(|row| row.iter().map(example).collect()).collect()
    }

    /// Like [`Examples::rows`], as (source, index) pairs.
    fn picks(&self, step: u64) -> Vec<Vec<Pick>> {
        let picks = &self.plan.steps[step as usize];
        let lengths: Vec<usize> = picks.iter().map(|&(source, example)| self.lengths.0[source][example]).collect();
        let bins = best_fit_decreasing(&lengths, self.capacity).into_iter();
        bins.map(|bin| bin.into_iter().map(|place| picks[place]).collect()).collect()
    }

    /// Upper bounds on the size of micro-batches. `targets` returns the number of targets of an example.
    #[must_use]
    pub fn extent(&self, targets: impl Fn(&E) -> usize) -> Extent {
        let row = |row: Vec<Pick>| {
            row.into_iter().fold((0, 0), |(tokens, all), (source, example)| {
                (tokens + self.lengths.0[source][example], all + targets(&self.train[source][example]))
            })
        };
        Extent::of((0..self.steps()).map(|step| self.picks(step).into_iter().map(row).collect()))
    }

    /// The held-out examples, packed into rows of at most `--micro-batch-tokens` tokens.
    #[must_use]
    pub fn held_out_rows(&self) -> Vec<Vec<&E>> {
        let bins = best_fit_decreasing(&self.lengths.1, self.capacity).into_iter();
        bins.map(|bin| bin.into_iter().map(|place| &self.held_out[place]).collect()).collect()
    }

    /// Number of rows of the whole run.
    pub(super) fn micro_batches(&self) -> usize {
        (0..self.steps()).map(|step| self.picks(step).len()).sum()
    }

    /// Replaces each example by a part of it. The token counts stay the same.
    #[must_use]
    pub fn map<T>(self, part: impl Fn(E) -> T) -> Examples<T> {
        Examples {
            train: self.train.into_iter().map(|file| file.into_iter().map(&part).collect()).collect(),
            held_out: self.held_out.into_iter().map(&part).collect(),
            plan: self.plan,
            lengths: self.lengths,
            capacity: self.capacity,
        }
    }
}
