//! Shares with intervals, and pass@k over problems.

use codeexec::pass_at_k::pass_at_k;
use serde::{Deserialize, Serialize};

/// A mean between 0 and 1 with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The mean.
    pub mean: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// What it is the mean of.
    pub count: usize,
}

impl Share {
    /// The mean of independent values in `[0, 1]` with Wilson's score interval at 95% (Wilson 1927). For values other
    /// than 0 and 1 the interval is wider than it need be: their variance is at most that of a coin with the same mean.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let count = values.len();
        let n = count.max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        let z2 = 1.959_964_f64.powi(2);
        let centre = (mean + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = (z2 * (mean * (1.0 - mean) / n + z2 / (4.0 * n * n))).max(0.0).sqrt() / (1.0 + z2 / n);
        Self { mean, low: (centre - half).max(0.0), high: (centre + half).min(1.0), count }
    }

    /// `12.3% [10.1, 14.9]`
    #[must_use]
    pub fn percent(&self) -> String {
        format!("{:.1}% [{:.1}, {:.1}]", 100.0 * self.mean, 100.0 * self.low, 100.0 * self.high)
    }
}

/// pass@k over problems with `(samples, right ones)` each: the mean of the unbiased estimates (Chen et al. 2021,
/// section 2.1) of the problems that have at least `k` samples, with its interval; none where there is no such problem.
#[must_use]
pub fn pass_at(problems: &[(u64, u64)], k: u64) -> Option<Share> {
    let values: Vec<f64> = problems.iter().filter_map(|&(n, right)| pass_at_k(n, right, k)).collect();
    (!values.is_empty()).then(|| Share::of(&values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_as_published() {
        // Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, method 3.
        for (right, n, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)] {
            let values: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i < right))).collect();
            let share = Share::of(&values);
            assert!((share.low - low).abs() < 1e-4 && (share.high - high).abs() < 1e-4, "{share:?}");
        }
    }

    #[test]
    fn pass_at_k_is_the_mean_over_problems_with_enough_samples() {
        // By hand: 1 - C(3,2)/C(4,2) = 1/2, and 1; the third problem has one sample only.
        let problems = [(4, 1), (4, 4), (1, 1)];
        let share = pass_at(&problems, 2).unwrap();
        assert!((share.mean - 0.75).abs() < 1e-12);
        assert_eq!(share.count, 2);
        assert_eq!(pass_at(&problems, 1).unwrap().count, 3);
        assert!(pass_at(&problems, 5).is_none());
    }
}
