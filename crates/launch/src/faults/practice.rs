//! Operating practice of a run: how it saves, detects failures and restarts.

use std::time::Duration;

use serde::Serialize;

use super::mix::Shows;
use crate::supervisor::{Limits, Settings};

/// The operating practice of a run. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Practice {
    /// The name for tables.
    pub name: String,
    /// Time between two checkpoints.
    pub interval: f64,
    /// Time for which a checkpoint stops training.
    pub stop: f64,
    /// Time to write a checkpoint in the background after the stop; it is usable only after that.
    pub write: f64,
    /// Time from the start of the processes to the first step.
    pub restart: f64,
    /// Time until the end of a process is detected; none: only the time-out of the waiting ranks detects it.
    pub exit_seen: Option<f64>,
    /// One stall limit for all phases; none: limits are learned by phase.
    pub fixed_limit: Option<f64>,
    /// Time until a slow device is identified.
    pub slow_seen: f64,
    /// Time until wrong numbers are detected.
    pub corrupt_seen: f64,
}

impl Practice {
    /// The assumed practice of peers: a checkpoint every half hour that stops training for `stop` seconds, a fixed time-out of ten
    /// minutes, a restart of twenty minutes. `herd plan faults` prints these figures as assumed, and has a flag for each.
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

    /// The supervisor's settings for this practice. `step` is in seconds.
    #[must_use]
    pub fn settings(&self, step: f64) -> Settings {
        let mut settings = Settings { restart_slow: true, ..Settings::default() };
        settings.stop_grace = Duration::from_secs_f64(4.0 * step + 2.0 * (self.stop + self.write) + 60.0);
        if let Some(fixed) = self.fixed_limit.map(Duration::from_secs_f64) {
            settings.limits = Limits { fixed: Some(fixed), silence: fixed, ..Limits::default() };
            // A time-out ends the processes without flight recorders.
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
            // The limit counts from the start of the interrupted step: on average half a step before the failure.
            (step * f64::from(settings.limits.factor)).max(floor) - step / 2.0
        });
        match shows {
            Shows::Crash => self.exit_seen.map_or(stall, |seen| seen + settings.failure_grace.as_secs_f64()),
            Shows::Hang => stall + settings.dump.as_secs_f64(),
            Shows::Stopped => (settings.limits.stopped + settings.dump).as_secs_f64(),
            // Until it is detected, a slow device does half of the work; it saves before it is replaced.
            Shows::Slow => self.slow_seen / 2.0,
            Shows::Silent => self.corrupt_seen,
        }
    }
}
