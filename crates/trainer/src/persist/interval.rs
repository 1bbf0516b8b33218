//! Checkpoint interval: a fixed time, or Young's optimal interval.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Mean time between failures of one GPU in hours: 419 failures in 54 days on 16,384 GPUs (the Llama 3 paper, section 3.3.4).
const GPU_HOURS: f64 = 54.0 * 24.0 * 16_384.0 / 419.0;
/// Upper bound on the mean time between failures in hours. It is an assumption: machines are also restarted, reclaimed and
/// switched off.
const HOURS: f64 = 24.0;

/// Minutes between checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Interval {
    /// The interval of Young's formula, from the measured cost of a checkpoint.
    Auto,
    /// A fixed number of minutes; 0 for no checkpoints by time.
    Minutes(f64),
}

/// An [`Interval`] in a configuration file: `10.0` or `"auto"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
}

impl From<Interval> for Written {
    fn from(interval: Interval) -> Self {
        match interval {
            Interval::Auto => Self::Text("auto".into()),
            Interval::Minutes(minutes) => Self::Number(minutes),
        }
    }
}

impl TryFrom<Written> for Interval {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Number(minutes) => Ok(Self::Minutes(minutes)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Minutes).map_err(|_| format!("{text:?} is neither a number of minutes nor auto"))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Minutes(minutes) => write!(f, "{minutes:?}"),
        }
    }
}

impl Interval {
    /// Seconds from one checkpoint to the next, for a run of `processes` processes whose last checkpoint stopped training for
    /// `pause` seconds; `None` if no checkpoints are made by time.
    ///
    /// Young (1974): `sqrt(2 · pause · M)`, where `M` is the mean time between failures: that of one GPU in the Llama 3 paper
    /// divided by the number of processes, at most one day.
    #[must_use]
    pub fn seconds(self, pause: f64, processes: usize) -> Option<f64> {
        match self {
            Self::Minutes(minutes) => (minutes > 0.0).then_some(60.0 * minutes),
            Self::Auto => {
                let between = 3600.0 * (GPU_HOURS / processes as f64).min(HOURS);
                Some((2.0 * pause * between).sqrt().max(10.0))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_number_or_auto() {
        for (interval, json) in [(Interval::Minutes(10.0), "10.0"), (Interval::Auto, "\"auto\"")] {
            assert_eq!(serde_json::to_string(&interval).unwrap(), json);
            assert_eq!(serde_json::from_str::<Interval>(json).unwrap(), interval);
            assert_eq!(interval.to_string().parse(), Ok(interval));
        }
        assert_eq!(serde_json::from_str::<Interval>("5").unwrap(), Interval::Minutes(5.0));
        let error = serde_json::from_str::<Interval>("\"often\"").unwrap_err().to_string();
        assert!(error.contains("\"often\" is neither a number of minutes nor auto"), "{error}");
    }

    #[test]
    fn young_s_formula() {
        let auto = |pause, processes| Interval::Auto.seconds(pause, processes).unwrap();
        // sqrt(2 · 2 s · 3.09 h) at 16,384 GPUs.
        assert!((auto(2.0, 16_384) - 211.0).abs() < 1.0, "{}", auto(2.0, 16_384));
        // With few processes the mean time between failures is one day.
        assert!((auto(0.5, 1) - 86_400.0_f64.sqrt()).abs() < 1e-9);
        assert_eq!(auto(0.0, 8), 10.0);
        assert_eq!(Interval::Minutes(0.0).seconds(1.0, 1), None);
        assert_eq!(Interval::Minutes(2.0).seconds(1.0, 1), Some(120.0));
    }
}
