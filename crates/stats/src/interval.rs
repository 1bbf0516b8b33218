//! 95% intervals, by the same rules for every command.
//!
//! Input: `n` items, each with a numerator `x_i` and a positive denominator `y_i` (an answer is `(1, 1)` or `(0, 1)`; an item
//! with 3 instructions, 2 of them followed, is `(2, 3)`). The figure is `r = sum x_i / sum y_i`.
//!
//! - **Shares** (`0 <= x_i <= y_i` for every item): Wilson's score interval (Wilson 1927, "Probable Inference, the Law of
//!   Succession, and Statistical Inference"):
//!
//!   ```text
//!   (r + z^2 / 2m  +-  z sqrt(r (1 - r) / m + z^2 / 4m^2)) / (1 + z^2 / m),   z = 1.959964
//!   ```
//!
//! If every item is right or wrong, `m = n`. If items are averages (several samples, several instructions), `m` is
//! the effective number of items `r (1 - r) / v`, with `v` the variance below (Dean & Pagano 2015, "Evaluating
//! Confidence Interval Methods for Binomial Proportions in Clustered Surveys": the Wilson interval with the effective
//! sample size). If `v` is zero or unknown, `m = n`, since items that agree by chance do not prove certainty.
//! - **Unbounded means** (negative log-likelihoods): `r +- z sqrt(v)`.
//!
//! `v` is the variance of a ratio (Cochran 1977, "Sampling Techniques", section 2.11):
//! `n / (n - 1) * sum (x_i - r y_i)^2 / (sum y_i)^2`.
//!
//! Items are assumed to be independent. The Llama 3 paper's `p +- 1.96 sqrt(p (1 - p) / n)` (section 5.1.1) agrees
//! with Wilson's interval in the middle of the range. Near 0 and 1, where small models score, it is too narrow, and
//! for `p = 0` it is empty.

use serde::{Deserialize, Serialize};

/// The normal quantile of a two-sided 95% interval.
pub const Z: f64 = 1.959_963_984_540_054;

/// The formula of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Wilson's score interval, with the effective number of items if the items are averages.
    Wilson,
    /// `r +- z sqrt(v)`. Summaries of earlier versions called it `items`.
    #[serde(alias = "items")]
    Normal,
}

/// A figure with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean. Records of earlier versions called it `mean`, and `items` `count`.
    #[serde(alias = "mean")]
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// The number of items.
    #[serde(alias = "count")]
    pub items: usize,
    /// The formula of the interval.
    #[serde(default = "wilson_by_default")]
    pub interval: Method,
}

fn wilson_by_default() -> Method {
    Method::Wilson
}

impl Estimate {
    /// The figure as text: `12.3% [10.1, 14.9]`.
    #[must_use]
    pub fn percent(&self) -> String {
        format!("{:.1}% [{:.1}, {:.1}]", 100.0 * self.value, 100.0 * self.low, 100.0 * self.high)
    }
}

/// A share, with Wilson's interval: items `(x, y)` with `0 <= x <= y`, `y > 0`.
///
/// Without items, the value is 0 and the interval is 0 to 1.
///
/// ```
/// // Four problems with 4 samples each, of which 0, 2, 2 and 4 are right.
/// let e = stats::share(&[(0.0, 4.0), (2.0, 4.0), (2.0, 4.0), (4.0, 4.0)]);
/// assert_eq!((e.value, e.items), (0.5, 4));
/// ```
#[must_use]
pub fn share(items: &[(f64, f64)]) -> Estimate {
    let n = items.len();
    if n == 0 {
        return Estimate { value: 0.0, low: 0.0, high: 1.0, items: 0, interval: Method::Wilson };
    }
    let (value, variance) = ratio_and_variance(items);
    let right_or_wrong = items.iter().all(|&(x, y)| y == 1.0 && (x == 0.0 || x == 1.0));
    let spread_is_known = !right_or_wrong && variance.is_some_and(|v| v > 0.0);
    let m = variance.filter(|_| spread_is_known).map_or(n as f64, |v| value * (1.0 - value) / v);
    wilson(value, m, n)
}

/// An unbounded mean, with the normal interval: items `(x, y)` with any `x`, `y > 0`. With fewer than two items the
/// variance is unknown, and both ends of the interval equal the value.
#[must_use]
pub fn ratio(items: &[(f64, f64)]) -> Estimate {
    let (value, variance) = ratio_and_variance(items);
    let half = Z * variance.unwrap_or(0.0).sqrt();
    Estimate { value, low: value - half, high: value + half, items: items.len(), interval: Method::Normal }
}

/// `sum x / sum y`, and its variance if there are at least two items.
fn ratio_and_variance(items: &[(f64, f64)]) -> (f64, Option<f64>) {
    let n = items.len() as f64;
    let total: f64 = items.iter().map(|(_, y)| y).sum();
    let value = items.iter().map(|(x, _)| x).sum::<f64>() / total;
    let squares: f64 = items.iter().map(|(x, y)| (x - value * y).powi(2)).sum();
    (value, (items.len() > 1).then(|| n / (n - 1.0) * squares / (total * total)))
}

/// The mean of values between 0 and 1, with Wilson's interval: [`share`] with all denominators 1.
#[must_use]
pub fn mean(values: &[f64]) -> Estimate {
    let items: Vec<(f64, f64)> = values.iter().map(|&x| (x, 1.0)).collect();
    share(&items)
}

/// The share of `right` among `n` answers.
///
/// ```
/// let e = stats::proportion(50, 100);
/// assert!((e.low - 0.4038).abs() < 1e-4 && (e.high - 0.5962).abs() < 1e-4);
/// ```
#[must_use]
pub fn proportion(right: usize, n: usize) -> Estimate {
    if n == 0 {
        return share(&[]);
    }
    wilson(right as f64 / n as f64, n as f64, n)
}

/// Wilson's interval of the share `p` with `m` effective items.
fn wilson(p: f64, m: f64, items: usize) -> Estimate {
    let z2 = Z * Z;
    let centre = (p + z2 / (2.0 * m)) / (1.0 + z2 / m);
    let half = (z2 * (p * (1.0 - p) / m + z2 / (4.0 * m * m))).max(0.0).sqrt() / (1.0 + z2 / m);
    // At 0 and 1, this end is exact except for rounding.
    let low = if p == 0.0 { 0.0 } else { (centre - half).max(0.0) };
    let high = if p == 1.0 { 1.0 } else { (centre + half).min(1.0) };
    Estimate { value: p, low, high, items, interval: Method::Wilson }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(e: &Estimate, low: f64, high: f64, tolerance: f64) {
        assert!((e.low - low).abs() < tolerance && (e.high - high).abs() < tolerance, "{e:?}: not {low} to {high}");
    }

    #[test]
    fn wilson_as_scipy_has_it() {
        // scipy.stats.binomtest(right, n).proportion_ci(method="wilson")
        for (right, n, low, high) in [
            (3, 40, 0.025836025775, 0.198642335243),
            (0, 20, 0.000000000000, 0.161125158053),
            (20, 20, 0.838874841947, 1.000000000000),
            (20, 200, 0.065670448669, 0.149405812433),
            (660, 1319, 0.473433850019, 0.527322098469),
            (1, 7, 0.025679624345, 0.513127829274),
        ] {
            close(&proportion(right, n), low, high, 1e-9);
            let answers: Vec<f64> = (0..n).map(|i| f64::from(u8::from(i < right))).collect();
            assert_eq!(mean(&answers), proportion(right, n));
        }
    }

    #[test]
    fn wilson_as_published() {
        // Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, method 3.
        for (right, n, low, high) in [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)] {
            close(&proportion(right, n), low, high, 1e-4);
        }
    }

    #[test]
    fn the_papers_interval_is_met_in_the_middle() {
        // GSM8K, 1319 items at 50%: the paper's +- 1.96 sqrt(0.25 / 1319) = 2.70%.
        close(&proportion(660, 1319), 0.5004 - 0.0270, 0.5004 + 0.0270, 1e-4);
    }

    #[test]
    fn averages_within_items_have_an_effective_number() {
        // Mean 0.5, v = 4/3 * 0.5 / 16 = 1/24: m = 0.25 * 24 = 6, whose Wilson interval is that of 3 of 6.
        let e = share(&[(0.0, 1.0), (0.5, 1.0), (0.5, 1.0), (1.0, 1.0)]);
        let six = proportion(3, 6);
        close(&e, six.low, six.high, 1e-12);
        assert_eq!((e.value, e.items, e.interval), (0.5, 4, Method::Wilson));
        // Twice the instructions with the same answers do not change the interval.
        let twice = share(&[(0.0, 2.0), (1.0, 2.0), (1.0, 2.0), (2.0, 2.0)]);
        close(&twice, e.low, e.high, 1e-12);
        // Equal items have no variance: the interval is that of the same number of right-or-wrong answers.
        let alike = mean(&[0.5; 20]);
        close(&alike, proportion(10, 20).low, proportion(10, 20).high, 1e-12);
        // A single average gives a wide interval.
        close(&mean(&[0.5]), 0.0546, 0.9454, 1e-4);
    }

    #[test]
    fn an_interval_covers_the_truth_in_about_95_of_100_sets() {
        use rand::{RngExt as _, SeedableRng as _};
        // 60 problems, each with its own chance of success (mean 0.08) and 4 samples: averages near an end.
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(17);
        let sets = 4000;
        let mut covered = 0;
        for _ in 0..sets {
            let values: Vec<f64> = (0..60)
                .map(|_| {
                    let chance = 0.16 * rng.random::<f64>();
                    (0..4).filter(|_| rng.random::<f64>() < chance).count() as f64 / 4.0
                })
                .collect();
            let e = mean(&values);
            covered += usize::from(e.low <= 0.08 && 0.08 <= e.high);
        }
        let share = covered as f64 / sets as f64;
        assert!((0.93..0.97).contains(&share), "{share}");
    }

    #[test]
    fn means_without_bounds_are_normal() {
        // Mean 2, squares 1 + 0 + 1: v = 3/2 * 2 / 9 = 1/3.
        let e = ratio(&[(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]);
        assert_eq!(e.interval, Method::Normal);
        let half = 1.959_964 * (1.0_f64 / 3.0).sqrt();
        close(&e, 2.0 - half, 2.0 + half, 1e-6);
        // A log-likelihood below 1 is not a share.
        assert_eq!(ratio(&[(0.2, 1.0), (0.4, 1.0)]).interval, Method::Normal);
    }

    #[test]
    fn nothing_is_known_of_no_items() {
        for e in [share(&[]), proportion(0, 0), mean(&[])] {
            assert_eq!((e.value, e.low, e.high, e.items), (0.0, 0.0, 1.0, 0));
        }
    }

    #[test]
    fn summaries_of_earlier_versions_are_read() {
        for (name, method) in [("wilson", Method::Wilson), ("normal", Method::Normal), ("items", Method::Normal)] {
            let text = format!(r#"{{"value": 0.5, "low": 0.4, "high": 0.6, "items": 9, "interval": "{name}"}}"#);
            let e: Estimate = serde_json::from_str(&text).unwrap();
            assert_eq!((e.interval, e.items), (method, 9));
        }
        let e: Estimate = serde_json::from_str(r#"{"mean": 0.5, "low": 0.4, "high": 0.6, "count": 9}"#).unwrap();
        assert_eq!((e.value, e.interval, e.items), (0.5, Method::Wilson, 9));
    }
}
