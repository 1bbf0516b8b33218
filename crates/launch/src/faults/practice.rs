//! How a run is looked after: how it saves, how failures are noticed, how it starts again.

use std::time::Duration;

use serde::Serialize;

use super::mix::Shows;
use crate::supervisor::{Limits, Settings};

/// How a run is looked after. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Practice {
    /// What it is called.
    pub name: String,
    /// Between two checkpoints.
    pub interval: f64,
    /// A checkpoint stops training for this long.
    pub stop: f64,
    /// After the stop it is written in the background for this long; before, it does not count.
    pub write: f64,
    /// From the start of the processes to the first step.
    pub restart: f64,
    /// After this the end of a process is noticed; none: only by the time-out of those that wait for it.
    pub exit_seen: Option<f64>,
    /// One limit for everything; none: learned by phase.
    pub fixed_limit: Option<f64>,
    /// After this a slow device is named.
    pub slow_seen: f64,
    /// After this wrong numbers are noticed.
    pub corrupt_seen: f64,
}

impl Practice {
    /// The assumed practice of peers: a checkpoint each half hour that stops training for `stop` seconds, a fixed time-out of ten
    /// minutes, a restart of twenty. `herd plan faults` prints these figures as assumed, and has a flag for each.
    #[must_use]
    pub fn assumed_peers(stop: f64) -> Self {
        Self {
            name: "assumed peers".into(),
            interval: 1800.0,
            stop,
            write: 0.0,
            restart: 1200.0,
            exit_seen: None,
            fixed_limit: Some(600.0),
            slow_seen: 3600.0,
            corrupt_seen: 3600.0,
        }
    }

    /// The supervisor's settings for it. `step` is in seconds.
    #[must_use]
    pub fn settings(&self, step: f64) -> Settings {
        let mut settings = Settings { restart_slow: true, ..Settings::default() };
        settings.stop_grace = Duration::from_secs_f64(4.0 * step + 2.0 * (self.stop + self.write) + 60.0);
        if let Some(fixed) = self.fixed_limit.map(Duration::from_secs_f64) {
            settings.limits = Limits { fixed: Some(fixed), silence: fixed, ..Limits::default() };
            // A time-out ends the processes without asking for anything.
            settings.dump = Duration::ZERO;
        }
        settings
    }

    /// Mean seconds from a failure to the end of all ranks, for the formula.
    #[must_use]
    pub fn noticed(&self, shows: Shows, step: f64) -> f64 {
        let settings = self.settings(step);
        let stall = self.fixed_limit.unwrap_or_else(|| {
            let floor = settings.limits.floor.as_secs_f64();
            // The limit runs from the start of the step that the rank stays in: half a step before the failure.
            (step * f64::from(settings.limits.factor)).max(floor) - step / 2.0
        });
        match shows {
            Shows::Crash => self.exit_seen.map_or(stall, |seen| seen + settings.failure_grace.as_secs_f64()),
            Shows::Hang => stall + settings.dump.as_secs_f64(),
            Shows::Stopped => (settings.limits.stopped + settings.dump).as_secs_f64(),
            // A slow device does half of the work meanwhile, and saves before it is replaced.
            Shows::Slow => self.slow_seen / 2.0,
            Shows::Silent => self.corrupt_seen,
        }
    }
}
