//! Heartbeats to `herd launch`, if it started this process.

use std::cell::Cell;

use anyhow::Context;
use launch::heartbeat::{Pulse, Recorder};
use launch::supervisor::Beat;

/// Reports the state of this process to its supervisor.
pub(crate) struct Heart {
    pulse: Option<Pulse>,
    saved: Cell<Option<u64>>,
}

impl Heart {
    pub fn new() -> anyhow::Result<Self> {
        let recorder: Recorder = Box::new(|| distributed::flight_recorder().unwrap_or_default().into_bytes());
        let pulse = Pulse::from_env(Some(recorder)).context("the pipe for heartbeats")?;
        Ok(Self { pulse, saved: Cell::new(None) })
    }

    /// Reports a phase of the step after `steps` completed steps.
    pub fn at(&self, steps: u64, phase: &'static str, micro_batch: Option<usize>) {
        if let Some(pulse) = &self.pulse {
            let micro_batch = micro_batch.and_then(|number| u32::try_from(number).ok());
            pulse.at(Beat { micro_batch, saved: self.saved.get(), ..Beat::new(steps + 1, phase) });
        }
    }

    /// Reports that this process waits for other processes in a phase. The process that reports no waiting is the one to
    /// examine.
    pub fn waits(&self, steps: u64, phase: &'static str, what: &'static str) {
        if let Some(pulse) = &self.pulse {
            pulse.at(Beat { waiting: Some(what.into()), saved: self.saved.get(), ..Beat::new(steps + 1, phase) });
        }
    }

    /// Records the step of the newest complete checkpoint, for the next reports.
    pub fn saved(&self, step: u64) {
        self.saved.set(Some(step));
    }
}
