//! Heartbeats to `herd launch`, if that started this process.

use std::cell::Cell;

use anyhow::Context;
use launch::heartbeat::{Pulse, Recorder};
use launch::supervisor::Beat;

/// Where this process is, for its supervisor.
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

    /// In a phase of the step after so many.
    pub fn at(&self, steps: u64, phase: &'static str, micro_batch: Option<usize>) {
        if let Some(pulse) = &self.pulse {
            let micro_batch = micro_batch.and_then(|number| u32::try_from(number).ok());
            pulse.at(Beat { micro_batch, saved: self.saved.get(), ..Beat::new(steps + 1, phase) });
        }
    }

    /// Waits for other processes in a phase of the step after so many: whoever does not is the one to look at.
    pub fn waits(&self, steps: u64, phase: &'static str, what: &'static str) {
        if let Some(pulse) = &self.pulse {
            pulse.at(Beat { waiting: Some(what.into()), saved: self.saved.get(), ..Beat::new(steps + 1, phase) });
        }
    }

    /// The newest checkpoint is whole.
    pub fn saved(&self, step: u64) {
        self.saved.set(Some(step));
    }
}
