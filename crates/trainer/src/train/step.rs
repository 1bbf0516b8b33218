//! One optimizer step, executed by all processes of a run together.

use std::time::Instant;

use anyhow::{Context, ensure};
use tch::Tensor;
use torch_ext::catch;

use super::verify::{Corrupt, Finding};
use super::{Run, SKIPPED};
use crate::diagnose::names;
use crate::objective::{MetricSums, Objective};
use crate::watch::cost::step_flops;
use crate::watch::drift::Drift;
use crate::watch::metrics::StepMetrics;
use crate::watch::pace::{Change, RankTimes, SlowRank, median};

/// Number of steps between checks for a drift.
const LOOK: usize = 256;

impl<O: Objective> Run<'_, O> {
    /// Executes one optimizer step. `rate` is the peak rate of a matrix product in FLOP/s, for the MFU.
    pub(super) fn step(&mut self, rate: f64) -> anyhow::Result<StepMetrics> {
        let start = Instant::now();
        let waited = self.world.waited();
        let (objective, model) = (self.objective, self.model);
        let step = self.optimizer.steps();
        let built = self.ahead.as_mut().and_then(|ahead| ahead.take(step));
        let batches =
            built.unwrap_or_else(|| objective.load(step)).with_context(|| format!("the data of step {}", step + 1))?;
        let normaliser: f64 = batches.iter().map(|batch| objective.normaliser(batch)).sum();
        let all_ids = || batches.iter().flat_map(|batch| objective.example_ids(batch).to_vec()).collect::<Vec<_>>();
        ensure!(
            normaliser > 0.0,
            "step {} has no trainable token; its examples are {}: check their weights and masks",
            step + 1,
            names(&all_ids())
        );
        let processes = self.world.size();
        let (computed, grad_norm) = self.computed(&batches, normaliser)?;
        let (loss, mut tokens, mut trained_tokens) = (computed.loss(), 0, 0);
        let mut work = vec![0.0; processes];
        let mut sums = MetricSums::default();
        for (number, (batch, found)) in batches.iter().zip(&computed.found).enumerate() {
            found.add_to(&mut sums);
            let (all, trained) = objective.tokens(batch);
            tokens += all;
            trained_tokens += trained;
            let flops = step_flops(model.config(), objective.input(batch).layout, trained, self.settings.trained);
            if self.shares_rows() {
                work.iter_mut().for_each(|work| *work += flops / processes as f64);
            } else {
                work[number % processes] += flops;
            }
        }
        let mut metrics = sums.means();
        let spike = match self.settings.spike_guard {
            Some(_) => {
                // Only the first process has the metrics of earlier steps.
                let is_spike = self.spikes.as_mut().is_some_and(|spikes| spikes.is_spike(loss / normaliser, grad_norm));
                self.world.any("spike", u32::from(is_spike))? != 0
            }
            None => false,
        };
        if self.compares(step + 1) {
            self.verify(step + 1)?;
        }
        let report = if spike {
            metrics.insert(SKIPPED.into(), 1.0);
            self.optimizer.skip(grad_norm)
        } else {
            self.optimizer.apply(grad_norm, self.world)?
        };
        if let Some(average) = &mut self.average {
            catch(|| {
                average.update(step + 1, &self.optimizer.masters());
                anyhow::Ok(())
            })?;
        }
        self.keep_digests()?;
        let flops: f64 = work.iter().sum();
        let waited = (self.world.waited() - waited).as_secs_f64();
        let ranks = self.take_times(computed.seconds, waited / start.elapsed().as_secs_f64().max(1e-9), &work)?;
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
            ranks,
            metrics,
        })
    }

    /// Whether weights are compared before the step with this number (from 1) is applied.
    fn compares(&self, number: u64) -> bool {
        self.settings.check_weights.is_some_and(|every| number.is_multiple_of(every))
    }

    /// Stores digests of the written tensors if the next step compares them.
    pub(super) fn keep_digests(&mut self) -> anyhow::Result<()> {
        self.verifier.forget();
        if self.compares(self.optimizer.steps() + 1) {
            self.verifier.keep(&self.optimizer, self.average.as_ref(), self.model)?;
        }
        Ok(())
    }

    /// Fails if the weights before the step with this number are wrong.
    pub(super) fn verify(&mut self, number: u64) -> anyhow::Result<()> {
        self.pulse.at(self.optimizer.steps(), "check", None);
        let found = self.verifier.compare(self.world, &self.optimizer, self.average.as_ref(), self.model, number)?;
        found.map_or(Ok(()), |finding| Err(self.corrupt(finding)))
    }

    /// The error that ends this process; all others end with the same. The supervisor is informed, and may end the processes before they
    /// report it themselves.
    pub(super) fn corrupt(&self, Finding { ranks, what }: Finding) -> anyhow::Error {
        let corrupt = Corrupt { ranks, what, saved: self.saved };
        if self.world.is_first() {
            eprintln!("wrong numbers: {corrupt}");
        }
        let own = corrupt.ranks.contains(&self.world.rank());
        self.pulse.corrupt(self.optimizer.steps(), own, corrupt.saved);
        corrupt.into()
    }

    /// Exchanges the time that each process needed for its own micro-batches in a step and the share of the step that it waited; `work`
    /// has the operations of all processes.
    fn take_times(&mut self, seconds: f64, waited: f64, work: &[f64]) -> anyhow::Result<Option<RankTimes>> {
        let times = self.world.all_gather("times", &Tensor::from_slice(&[seconds, waited]))?;
        let times = Vec::<f64>::try_from(times.flatten(0, 1))?;
        let all: Vec<(f64, f64)> = times.chunks(2).zip(work).map(|(time, work)| (time[0], *work)).collect();
        // The unit of work is 10^12 operations.
        let pace = median(all.iter().filter(|(_, work)| *work > 0.0).map(|(s, work)| 1e12 * s / work).collect());
        self.series.extend(pace.map(|pace| (self.begin.elapsed().as_secs_f64(), pace)));
        if self.series.len().is_multiple_of(LOOK) {
            self.look_for_drift();
        }
        if self.world.is_alone() {
            return Ok(None);
        }
        self.paces.add(&all);
        match self.paces.change() {
            Some(Change::Slow(rank, percent)) => {
                let place = self.places.get(rank).cloned().unwrap_or_default();
                self.note(format!(
                    "rank {rank} ({place}) is slow: its own work takes {percent:.0}% longer than the others'"
                ));
                self.slow.push(SlowRank { rank, place, step: self.optimizer.steps(), percent });
                self.pulse.slow((rank == self.world.rank()).then_some(percent));
            }
            Some(Change::Gone(rank)) => {
                self.note(format!("rank {rank} is not slow any more"));
                self.pulse.slow(None);
            }
            None => {}
        }
        let waiting = times.chunks(2).map(|time| time[1]).sum::<f64>() / all.len() as f64;
        Ok(self.paces.slowest().map(|(slowest, behind)| RankTimes { slowest, behind, waiting }))
    }

    /// Reports when the run has become slower or faster by more than noise, and when that has ended.
    fn look_for_drift(&mut self) {
        let Some(drift) = Drift::of(&self.series) else { return };
        if drift.is_seen() != self.drifts {
            self.drifts = drift.is_seen();
            self.note(drift.text());
        }
    }
}
