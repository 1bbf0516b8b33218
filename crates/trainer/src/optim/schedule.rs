//! Learning-rate schedules.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The shape of the schedule after the linear warm-up.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Half a cosine down to `final_ratio` (the Llama 3 paper, section 3.4.1)
    Cosine,
    /// A straight line down to `final_ratio`
    Linear,
    /// The peak until the end
    Constant,
    /// Warm-up, stable, decay: the peak, then a straight line down to `final_ratio` over the last `decay_steps`
    Wsd,
}

/// A learning-rate schedule over the steps of a run. Steps count from 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Shape of the schedule after the warm-up.
    pub kind: ScheduleKind,
    /// The highest learning rate.
    pub peak: f64,
    /// Number of steps of linear warm-up; step `s` of them has learning rate `peak (s + 1) / warmup_steps`.
    pub warmup_steps: u64,
    /// Number of steps of the whole run.
    pub total_steps: u64,
    /// The learning rate at the end, as a share of the peak.
    pub final_ratio: f64,
    /// Number of steps of the decay of [`ScheduleKind::Wsd`].
    pub decay_steps: u64,
}

impl Schedule {
    /// The learning rate of a step.
    #[must_use]
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let progress = |start: u64| {
            let length = self.total_steps.saturating_sub(start).max(1);
            (step.saturating_sub(start) as f64 / length as f64).min(1.0)
        };
        let remaining = match self.kind {
            ScheduleKind::Constant => return self.peak,
            ScheduleKind::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress(self.warmup_steps)).cos()),
            ScheduleKind::Linear => 1.0 - progress(self.warmup_steps),
            ScheduleKind::Wsd => {
                1.0 - progress(self.total_steps.saturating_sub(self.decay_steps).max(self.warmup_steps))
            }
        };
        self.peak * (self.final_ratio + (1.0 - self.final_ratio) * remaining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule { kind, peak: 2.0, warmup_steps: 4, total_steps: 24, final_ratio: 0.1, decay_steps: 10 }
    }

    #[test]
    fn warm_up_is_a_line_to_the_peak() {
        for kind in [ScheduleKind::Cosine, ScheduleKind::Linear, ScheduleKind::Constant, ScheduleKind::Wsd] {
            let rates: Vec<f64> = (0..5).map(|step| schedule(kind).learning_rate(step)).collect();
            assert_eq!(rates, [0.5, 1.0, 1.5, 2.0, 2.0], "{kind:?}");
        }
    }

    #[test]
    fn what_follows() {
        let rate = |kind, step| schedule(kind).learning_rate(step);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(rate(ScheduleKind::Cosine, 14), 2.0 * 0.55);
        close(rate(ScheduleKind::Cosine, 24), 0.2);
        close(rate(ScheduleKind::Linear, 14), 2.0 * 0.55);
        close(rate(ScheduleKind::Linear, 9), 2.0 * (0.1 + 0.9 * 0.75));
        close(rate(ScheduleKind::Constant, 23), 2.0);
        close(rate(ScheduleKind::Wsd, 14), 2.0);
        close(rate(ScheduleKind::Wsd, 19), 2.0 * 0.55);
        close(rate(ScheduleKind::Wsd, 1000), 0.2);
    }

    #[test]
    fn no_warm_up_and_a_run_that_is_all_warm_up() {
        let all = Schedule { warmup_steps: 0, total_steps: 1, ..schedule(ScheduleKind::Cosine) };
        assert_eq!(all.learning_rate(0), 2.0);
        let all = Schedule { warmup_steps: 3, total_steps: 3, ..schedule(ScheduleKind::Linear) };
        assert_eq!(all.learning_rate(2), 2.0);
    }
}
