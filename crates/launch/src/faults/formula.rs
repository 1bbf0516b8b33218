//! Formulas for comparison with the simulation.

use super::mix::{Mix, Shows};
use super::practice::Practice;

/// Young's interval between checkpoints (J. W. Young, CACM 17(9), 1974): `sqrt(2 d M)`, where a checkpoint stops training for `d` seconds
/// and failures are `M` seconds apart.
#[must_use]
pub fn young(stop: f64, between_failures: f64) -> f64 {
    (2.0 * stop * between_failures).sqrt()
}

/// The effective share of the time, to first order:
///
/// `1 / (1 + d/T + ((T + d)/2 + w + D + R)/M + (R + d + w)/P)`
///
/// Here `d` is the stop for a checkpoint, `T` the interval, `w` the background write after it, `D` the mean time until a failure is
/// detected and all ranks have ended, `R` the restart, `M` the time between failures and `P` the time between planned interruptions.
/// Failures during a restart, and checkpoints lost to silent corruption, are higher-order effects.
#[must_use]
pub fn effective(gpus: u32, mix: &Mix, practice: &Practice, noticed: impl Fn(Shows) -> f64) -> f64 {
    let all = mix.failures();
    let noticing: f64 =
        if all > 0.0 { Shows::ALL.into_iter().map(|shows| mix.count(shows) / all * noticed(shows)).sum() } else { 0.0 };
    let (stop, write, interval) = (practice.stop, practice.write.min(practice.interval), practice.interval);
    let failure = (interval + stop) / 2.0 + write + noticing + practice.restart;
    let over = stop / interval
        + failure / mix.between_failures(gpus)
        + (practice.restart + stop + write) / mix.between_planned(gpus);
    1.0 / (1.0 + over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn youngs_interval() {
        // A stop of 2 s and a failure every 3.093 h give 211 s.
        assert!((young(2.0, 3.0931 * 3600.0) - 211.05).abs() < 0.05);
        assert!((young(60.0, 3.0931 * 3600.0) - 1156.0).abs() < 0.5);
    }
}
