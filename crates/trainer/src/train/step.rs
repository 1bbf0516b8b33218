//! One optimizer step, executed by all processes of a run together.

use std::time::Instant;

use anyhow::{Context, bail, ensure};
use llama::Operators;
use torch_ext::{OpError, catch};

use super::{Reduce, Run, SKIPPED};
use crate::diagnose::{first_non_finite, names};
use crate::objective::{Computation, MetricSums, Objective, RngPosition, forward_backward};
use crate::optim::optimizer::OptimizerError;
use crate::share::{Found, results};
use crate::watch::cost::step_flops;
use crate::watch::metrics::StepMetrics;

impl<O: Objective> Run<'_, O> {
    /// Executes one optimizer step. `rate` is the peak rate of a matrix product in FLOP/s, for the MFU.
    pub(super) fn step(&mut self, rate: f64) -> anyhow::Result<StepMetrics> {
        let start = Instant::now();
        let (objective, model) = (self.objective, self.model);
        let step = self.optimizer.steps();
        let batches = objective.load(step).with_context(|| format!("the data of step {}", step + 1))?;
        let normaliser: f64 = batches.iter().map(|batch| objective.normaliser(batch)).sum();
        let all_ids = || batches.iter().flat_map(|batch| objective.example_ids(batch).to_vec()).collect::<Vec<_>>();
        ensure!(
            normaliser > 0.0,
            "step {} has no trainable token; its examples are {}: check their weights and masks",
            step + 1,
            names(&all_ids())
        );
        let processes = self.world.size();
        let mut own = Vec::new();
        // In each round, every process handles at most one micro-batch.
        for first in (0..batches.len()).step_by(processes) {
            let index = first + self.world.rank();
            if let Some(batch) = batches.get(index) {
                self.pulse.at(step, "forward", Some(index));
                own.push(self.micro_batch(batch, index as u64, normaliser)?);
            }
            if processes > 1 {
                self.pulse.waits(step, "forward", "gradients");
            }
            match self.settings.reduce {
                Reduce::Exact => self.optimizer.gather_from(self.world, processes.min(batches.len() - first))?,
                Reduce::Fast => self.optimizer.gather()?,
            }
        }
        self.pulse.at(step, "optimizer", None);
        if self.settings.reduce == Reduce::Fast {
            self.optimizer.sum_over(self.world)?;
        }
        let (mut loss, mut flops, mut tokens, mut trained_tokens) = (0.0, 0.0, 0, 0);
        let mut sums = MetricSums::default();
        for (batch, found) in batches.iter().zip(results(self.world, "losses", own)?) {
            loss += found.sum();
            found.add_to(&mut sums);
            let (all, trained) = objective.tokens(batch);
            tokens += all;
            trained_tokens += trained;
            flops += step_flops(model.config(), objective.input(batch).layout, trained, self.settings.trained);
        }
        let refused = |error: OptimizerError| match error {
            OptimizerError::NonFinite(name) => anyhow::anyhow!(
                "the gradient of {name} is not finite at step {}; the examples are {}; the weights are as before the step",
                step + 1,
                names(&all_ids())
            ),
            other => other.into(),
        };
        let mut metrics = sums.means();
        let spike = match self.settings.spike_guard {
            Some(_) => {
                let grad_norm = self.optimizer.grad_norm(self.world).map_err(refused)?;
                // Only the first process has the metrics of earlier steps.
                let is_spike = self.spikes.as_mut().is_some_and(|spikes| spikes.is_spike(loss / normaliser, grad_norm));
                (self.world.any("spike", u32::from(is_spike))? != 0).then_some(grad_norm)
            }
            None => None,
        };
        let report = match spike {
            Some(grad_norm) => {
                metrics.insert(SKIPPED.into(), 1.0);
                self.optimizer.skip(grad_norm)
            }
            None => self.optimizer.step_with(self.world).map_err(refused)?,
        };
        if let Some(average) = &mut self.average {
            catch(|| {
                average.update(step + 1, &self.optimizer.masters());
                anyhow::Ok(())
            })?;
        }
        let seconds = start.elapsed().as_secs_f64();
        self.tokens += tokens;
        self.trained_tokens += trained_tokens;
        self.seconds += seconds;
        Ok(StepMetrics {
            step: step + 1,
            epoch: objective.epoch(step + 1),
            loss: loss / normaliser,
            learning_rate: report.learning_rate,
            grad_norm: report.grad_norm,
            tokens,
            trained_tokens,
            tokens_per_second: tokens as f64 / seconds,
            mfu: flops / seconds / (rate * processes as f64),
            seconds: self.seconds,
            eval_loss: None,
            metrics,
        })
    }

    /// Forward and backward pass of the micro-batch with this index in the step.
    fn micro_batch(&self, batch: &O::Batch, number: u64, normaliser: f64) -> anyhow::Result<Found> {
        let (objective, model, step) = (self.objective, self.model, self.optimizer.steps());
        let moment = RngPosition { seed: self.settings.seed, step, micro_batch: number };
        let (all, _) = objective.tokens(batch);
        let how = Computation { operators: Operators::Fused, recompute: self.settings.recompute };
        let (sum, more) = forward_backward(objective, model, batch, moment, normaliser, how)
            .map_err(advised)
            .with_context(|| format!("step {}, a micro-batch of {all} tokens", step + 1))?;
        if !sum.is_finite() {
            bail!(
                "the loss of step {} is not finite; the examples are {}; the first non-finite value is {}",
                step + 1,
                names(objective.example_ids(batch)),
                first_non_finite(objective, model, batch)
            );
        }
        Ok(Found::new(sum, &more))
    }
}

/// Adds advice to an out-of-memory error of a step.
pub(super) fn advised(error: anyhow::Error) -> anyhow::Error {
    let lacking = error.downcast_ref::<OpError>().is_some_and(OpError::is_out_of_memory);
    if lacking { error.context("make --micro-batch-tokens smaller or add --recompute") } else { error }
}
