//! Heartbeats to `herd launch`, if it started this process.

use std::cell::Cell;
use std::time::Duration;

use anyhow::Context;
use launch::heartbeat::{Pulse, Recorder};
use launch::supervisor::Beat;

/// The time after which the supervisor certainly knows of wrong numbers; the process waits for it before it ends.
const HEARD: Duration = Duration::from_millis(300);

/// Reports the state of this process to its supervisor.
pub(crate) struct Heart {
    pulse: Option<Pulse>,
    saved: Cell<Option<u64>>,
    slow: Cell<Option<u32>>,
}

impl Heart {
    pub fn new() -> anyhow::Result<Self> {
        let recorder: Recorder = Box::new(|| distributed::flight_recorder().unwrap_or_default().into_bytes());
        let pulse = Pulse::from_env(Some(recorder)).context("the pipe for heartbeats")?;
        Ok(Self { pulse, saved: Cell::new(None), slow: Cell::new(None) })
    }

    fn tell(&self, beat: Beat) {
        if let Some(pulse) = &self.pulse {
            pulse.at(Beat { saved: self.saved.get(), slow: self.slow.get(), ..beat });
        }
    }

    /// Reports a phase of the step after `steps` completed steps.
    pub fn at(&self, steps: u64, phase: &'static str, micro_batch: Option<usize>) {
        let micro_batch = micro_batch.and_then(|number| u32::try_from(number).ok());
        self.tell(Beat { micro_batch, ..Beat::new(steps + 1, phase) });
    }

    /// Reports that this process waits for other processes in a phase. The process that reports no waiting is the one to
    /// examine.
    pub fn waits(&self, steps: u64, phase: &'static str, what: &'static str) {
        self.tell(Beat { waiting: Some(what.into()), ..Beat::new(steps + 1, phase) });
    }

    /// Records the step of the newest complete checkpoint, for the next reports.
    pub fn saved(&self, step: u64) {
        self.saved.set(Some(step));
    }

    /// Reports that this process is slower than the others by so many percent; `None` if it no longer is.
    pub fn slow(&self, percent: Option<f64>) {
        self.slow.set(percent.map(|percent| percent.round() as u32));
    }

    /// Reports that the processes found wrong numbers after `steps` steps; `own` means in this process. The checkpoint of step `saved` is
    /// the newest without them. The supervisor knows of it when this returns.
    pub fn corrupt(&self, steps: u64, own: bool, saved: u64) {
        if self.pulse.is_none() {
            return;
        }
        if own {
            self.tell(Beat { corrupt: Some(saved), ..Beat::new(steps + 1, "check") });
        }
        std::thread::sleep(HEARD);
    }
}
