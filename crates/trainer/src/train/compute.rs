//! Computes the gradient of a step: divides micro-batches among the processes, and repeats suspicious computations to check them.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::Context;
use llama::Operators;
use tch::Tensor;
use torch_ext::{OpError, catch};

use super::verify::{list, unrepeated};
use super::{Reduce, Run};
use crate::context::Share;
use crate::diagnose::{first_non_finite, names};
use crate::objective::{Computation, Objective, RngPosition, forward_backward_in};
use crate::optim::digest::digests;
use crate::optim::optimizer::OptimizerError;
use crate::reading::{Pending, read};
use crate::share::{Found, results, sums};

/// Number of past steps with whose gradient norms a step is compared.
const WINDOW: usize = 32;
/// Minimum number of past steps for a comparison.
const ENOUGH: usize = 8;
/// A norm is suspicious if it exceeds the largest past norm by this factor.
const FAR: f64 = 10.0;

/// The results of a step's micro-batches, before the weights change.
pub(super) struct Computed {
    /// The results of each micro-batch.
    pub found: Vec<Found>,
    /// The norm of the gradient, or the name of the first tensor whose gradient is not finite.
    norm: Result<f64, String>,
    /// Seconds that this process spent on its own micro-batches.
    pub seconds: f64,
}

impl Computed {
    /// The loss of all micro-batches.
    pub fn loss(&self) -> f64 {
        self.found.iter().fold(0.0, |loss, found| loss + found.sum())
    }

    /// The bits of the norm, for comparison.
    fn norm_bits(&self) -> Option<u64> {
        self.norm.as_ref().ok().map(|norm| norm.to_bits())
    }
}

/// The gradient norms of the last steps since the run was last started.
#[derive(Default)]
pub(super) struct Norms(VecDeque<f64>);

impl Norms {
    /// The largest of the last norms, if `norm` is far above it.
    fn below(&self, norm: f64) -> Option<f64> {
        let largest = self.0.iter().copied().fold(0.0, f64::max);
        (self.0.len() >= ENOUGH && norm > FAR * largest).then_some(largest)
    }

    pub fn push(&mut self, norm: f64) {
        self.0.push_back(norm);
        if self.0.len() > WINDOW {
            self.0.pop_front();
        }
    }
}

/// Counts of steps that were computed twice since the run was last started.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ComputedAgain {
    /// Number of steps that looked wrong: a value that is not finite, or a gradient norm far above the previous ones.
    pub steps: u64,
    /// Number of these whose second computation gave other numbers.
    pub different: u64,
}

impl<O: Objective> Run<'_, O> {
    /// Computes the gradient and the losses of the step's micro-batches. A step that looks wrong is computed a second time: a transient
    /// device fault then does not reach the weights, and a problem of the data or the configuration gives the same numbers again.
    pub(super) fn computed(&mut self, batches: &[O::Batch], normaliser: f64) -> anyhow::Result<(Computed, f64)> {
        let number = self.optimizer.steps() + 1;
        let replay = self.settings.check_gradients.is_some_and(|every| number.is_multiple_of(every));
        let mut computed = self.gathered(batches, normaliser, replay)?;
        if let Some(reason) = self.suspicion(&computed) {
            // Wrong weights would give the same wrong numbers again.
            if self.settings.check_weights.is_some() {
                self.verify(number)?;
            }
            self.optimizer.clear();
            let second = self.gathered(batches, normaliser, false)?;
            let text = self.second(&computed, &second);
            self.note(format!("step {number}: {reason}; computed again: {text}"));
            computed = second;
        }
        match &computed.norm {
            Ok(norm) if computed.loss().is_finite() => {
                let norm = *norm;
                self.norms.push(norm);
                Ok((computed, norm))
            }
            _ => Err(self.refused(batches, &computed)),
        }
    }

    fn suspicion(&self, computed: &Computed) -> Option<String> {
        match &computed.norm {
            _ if !computed.loss().is_finite() => Some("the loss is not finite".into()),
            Err(name) => Some(format!("the gradient of {name} is not finite")),
            Ok(norm) => self.norms.below(*norm).map(|largest| {
                format!(
                    "the gradient norm is {norm:.4}, after at most {largest:.4} in the last {} steps",
                    self.norms.0.len()
                )
            }),
        }
    }

    /// Compares the second computation with the first.
    fn second(&mut self, first: &Computed, second: &Computed) -> String {
        self.again.steps += 1;
        if first.found == second.found && first.norm_bits() == second.norm_bits() {
            return "the same numbers, so the data or the run cause them".into();
        }
        self.again.different += 1;
        let pairs = first.found.iter().zip(&second.found).enumerate();
        let rank = |(at, (a, b)): (usize, (&Found, &Found))| (a != b).then_some(at % self.world.size());
        // If all processes share a row, the differing ranks cannot be determined.
        let mut ranks: Vec<usize> = pairs.filter_map(rank).filter(|_| !self.shares_rows()).collect();
        ranks.sort_unstable();
        ranks.dedup();
        let norm = second.norm.as_ref().map_or("not finite".to_owned(), |norm| format!("{norm:.4}"));
        let place = if ranks.is_empty() {
            "the losses are equal".to_owned()
        } else {
            format!("the losses of {}", list(&ranks))
        };
        let whose = if ranks.is_empty() { "" } else { " differ" };
        format!("other numbers (gradient norm {norm}; {place}{whose}), which are taken: a fault of a device")
    }

    /// The error for a step with numbers that are not finite.
    fn refused(&self, batches: &[O::Batch], computed: &Computed) -> anyhow::Error {
        let step = self.optimizer.steps() + 1;
        if let Some(at) = computed.found.iter().position(|found| !found.sum().is_finite()) {
            let examples = names(self.objective.example_ids(&batches[at]));
            let mut text = format!("the loss of step {step} is not finite; the examples are {examples}");
            if at % self.world.size() == self.world.rank() {
                let first = first_non_finite(self.objective, self.model, &batches[at]);
                text += &format!("; the first non-finite value is {first}");
            }
            return anyhow::anyhow!(text);
        }
        let ids: Vec<String> = batches.iter().flat_map(|batch| self.objective.example_ids(batch).to_vec()).collect();
        let what = match &computed.norm {
            Err(name) => format!("the gradient of {name}"),
            Ok(_) => "the sum of the losses".to_owned(),
        };
        anyhow::anyhow!(
            "{what} is not finite at step {step}; the examples are {}; the weights are as before the step",
            names(&ids)
        )
    }

    /// Whether the processes divide the tokens of each row instead of the micro-batches.
    pub(super) fn shares_rows(&self) -> bool {
        self.settings.context_parallel && !self.world.is_alone()
    }

    /// Computes the losses of all micro-batches and gathers their gradients.
    fn gathered(&mut self, batches: &[O::Batch], normaliser: f64, replay: bool) -> anyhow::Result<Computed> {
        let (pending, mut seconds) = match self.shares_rows() {
            true => self.in_shares(batches, normaliser)?,
            false => self.in_rounds(batches, normaliser, replay)?,
        };
        let world = self.world;
        self.pulse.at(self.optimizer.steps(), "optimizer", None);
        if self.settings.reduce == Reduce::Fast {
            self.optimizer.sum_over(world)?;
        }
        // The host waits for the device once a step, here.
        let start = Instant::now();
        let norms = self.optimizer.norms();
        let (own, norms) = catch(|| read(pending, norms.as_ref()))?;
        seconds += start.elapsed().as_secs_f64();
        own.iter().for_each(|(_, metrics)| self.objective.seen(metrics));
        let found: Vec<Found> = own.iter().map(|(sum, metrics)| Found::new(*sum, metrics)).collect();
        let found = match self.shares_rows() {
            true => sums(world, "losses", &found)?,
            false => results(world, "losses", found)?,
        };
        let norm = match self.optimizer.grad_norm_of(norms, world) {
            Ok(norm) => Ok(norm),
            Err(OptimizerError::NonFinite(name)) => Err(name),
            Err(other) => return Err(other.into()),
        };
        Ok(Computed { found, norm, seconds })
    }

    /// Computes every micro-batch on all processes, each with its share of the tokens.
    fn in_shares(&mut self, batches: &[O::Batch], normaliser: f64) -> anyhow::Result<(Vec<Pending>, f64)> {
        let (world, step) = (self.world, self.optimizer.steps());
        let (mut own, mut seconds) = (Vec::new(), 0.0);
        for (index, batch) in batches.iter().enumerate() {
            self.pulse.at(step, "forward", Some(index));
            let share = Share::new(world, self.objective.input(batch).input_ids.size()[1])?;
            let part = self.objective.share(batch, &share)?;
            let (start, waited) = (Instant::now(), world.waited());
            own.push(self.micro_batch(&part, index as u64, normaliser)?);
            seconds += (start.elapsed() - (world.waited() - waited)).as_secs_f64();
            self.pulse.waits(step, "forward", "gradients");
            match self.settings.reduce {
                Reduce::Exact => self.optimizer.gather_from(world, world.size())?,
                Reduce::Fast => self.optimizer.gather()?,
            }
        }
        Ok((own, seconds))
    }

    /// Assigns the micro-batches to the processes in rounds.
    fn in_rounds(
        &mut self,
        batches: &[O::Batch],
        normaliser: f64,
        replay: bool,
    ) -> anyhow::Result<(Vec<Pending>, f64)> {
        let (world, step) = (self.world, self.optimizer.steps());
        let processes = world.size();
        let (mut own, mut seconds, mut digest) = (Vec::new(), 0.0, 0);
        // Each round has one micro-batch for each process.
        for first in (0..batches.len()).step_by(processes) {
            let index = first + world.rank();
            if let Some(batch) = batches.get(index) {
                self.pulse.at(step, "forward", Some(index));
                let start = Instant::now();
                own.push(self.micro_batch(batch, index as u64, normaliser)?);
                seconds += start.elapsed().as_secs_f64();
                if replay && first == 0 {
                    digest = self.gradient_digest()?;
                }
            }
            if processes > 1 {
                self.pulse.waits(step, "forward", "gradients");
            }
            match self.settings.reduce {
                Reduce::Exact => self.optimizer.gather_from(world, processes.min(batches.len() - first))?,
                Reduce::Fast => self.optimizer.gather()?,
            }
        }
        if replay {
            self.replay(batches, normaliser, digest)?;
        }
        Ok((own, seconds))
    }

    /// A digest of the gradients that are not yet gathered.
    fn gradient_digest(&self) -> anyhow::Result<i64> {
        let waiting = self.optimizer.waiting();
        let each = digests(&waiting)?;
        let all = digests([&Tensor::from_slice(&each)])?;
        Ok(all.first().copied().unwrap_or_default())
    }

    /// Recomputes the neighbour's first micro-batch and compares the gradient's bits; `digest` is that of this process's own gradient.
    fn replay(&mut self, batches: &[O::Batch], normaliser: f64, digest: i64) -> anyhow::Result<()> {
        let (world, step) = (self.world, self.optimizer.steps());
        let present = world.size().min(batches.len());
        let mut row = [digest, 0];
        if world.rank() < present {
            let neighbour = (world.rank() + 1) % present;
            self.pulse.at(step, "check", Some(neighbour));
            self.micro_batch(&batches[neighbour], neighbour as u64, normaliser)?;
            row[1] = self.gradient_digest()?;
            self.optimizer.discard()?;
        }
        let rows = world.all_gather("digests of gradients", &Tensor::from_slice(&row))?;
        let rows = Vec::<i64>::try_from(rows.flatten(0, 1))?;
        let rows: Vec<[i64; 2]> = rows.chunks(2).take(present).map(|row| [row[0], row[1]]).collect();
        unrepeated(&rows, step + 1).map_or(Ok(()), |finding| Err(self.corrupt(finding)))
    }

    /// The forward and backward pass of the micro-batch with this index in the step.
    fn micro_batch(&self, batch: &O::Batch, number: u64, normaliser: f64) -> anyhow::Result<Pending> {
        let (objective, model, step) = (self.objective, self.model, self.optimizer.steps());
        let moment = RngPosition { seed: self.settings.seed, step, micro_batch: number };
        let (all, _) = objective.tokens(batch);
        let how = Computation { operators: Operators::Fused, recompute: self.settings.recompute };
        let shared = self.shares_rows().then_some(self.world);
        forward_backward_in(objective, model, batch, moment, normaliser, how, shared)
            .map_err(advised)
            .with_context(|| format!("step {}, a micro-batch of {all} tokens", step + 1))
    }
}

/// Adds advice to an out-of-memory error of a step.
pub(super) fn advised(error: anyhow::Error) -> anyhow::Error {
    let lacking = error.downcast_ref::<OpError>().is_some_and(OpError::is_out_of_memory);
    if lacking { error.context("make --micro-batch-tokens smaller or add --recompute") } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_norm_far_above_all_before_looks_wrong() {
        let mut norms = Norms::default();
        for step in 0..7 {
            norms.push(1.0 + f64::from(step) / 10.0);
            assert_eq!(norms.below(1e9), None, "after {step} steps");
        }
        norms.push(2.0);
        assert_eq!((norms.below(19.0), norms.below(21.0)), (None, Some(2.0)));
        (0..WINDOW).for_each(|_| norms.push(0.5));
        assert_eq!(norms.below(5.5), Some(0.5));
    }
}
