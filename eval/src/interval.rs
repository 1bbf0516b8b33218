//! 95% intervals.
//!
//! For right-or-wrong items the paper's interval is `p +- 1.96 sqrt(p (1 - p) / n)` (section 5.1.1). Near 0 and 1 it is too
//! narrow, empty even for `p = 0`, so with fewer than ten right or ten wrong items Wilson's is taken. Columns that are
//! averages within an item (several samples, several instructions) take the spread between items.

use serde::{Deserialize, Serialize};

/// The normal quantile of a 95% interval.
pub const Z: f64 = 1.96;

/// How an interval was worked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// `p +- 1.96 sqrt(p (1 - p) / n)`.
    Normal,
    /// Wilson's score interval (1927).
    Wilson,
    /// From the spread between items (the ratio estimator's standard error).
    Items,
}

/// A figure with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
    /// Items that it rests on.
    pub items: usize,
    /// How the interval was worked out.
    pub interval: Method,
}

/// The share of `right` among `n` items.
///
/// ```
/// let estimate = eval::interval::proportion(50, 100);
/// assert!((estimate.low - 0.402).abs() < 1e-9 && (estimate.high - 0.598).abs() < 1e-9);
/// ```
#[must_use]
pub fn proportion(right: usize, n: usize) -> Estimate {
    let (p, items) = (right as f64 / n as f64, n as f64);
    if right.min(n - right) < 10 {
        let (centre, spread) =
            (p + Z * Z / (2.0 * items), (p * (1.0 - p) / items + Z * Z / (4.0 * items * items)).sqrt());
        let scale = 1.0 + Z * Z / items;
        let (low, high) = ((centre - Z * spread) / scale, (centre + Z * spread) / scale);
        let (low, high) = (if right == 0 { 0.0 } else { low }, if right == n { 1.0 } else { high });
        return Estimate { value: p, low, high, items: n, interval: Method::Wilson };
    }
    let half = Z * (p * (1.0 - p) / items).sqrt();
    Estimate { value: p, low: p - half, high: p + half, items: n, interval: Method::Normal }
}

/// The ratio of sums over items, each with a numerator and a positive denominator.
///
/// The variance is the ratio estimator's: `n / (n - 1) * sum (x_i - r y_i)^2 / (sum y_i)^2`.
#[must_use]
pub fn ratio(items: &[(f64, f64)]) -> Estimate {
    let n = items.len();
    let whole: f64 = items.iter().map(|(_, y)| y).sum();
    let value = items.iter().map(|(x, _)| x).sum::<f64>() / whole;
    let squares: f64 = items.iter().map(|(x, y)| (x - value * y).powi(2)).sum();
    let variance = if n > 1 { n as f64 / (n as f64 - 1.0) * squares / (whole * whole) } else { f64::NAN };
    let half = Z * variance.sqrt();
    let half = if half.is_finite() { half } else { 0.0 };
    Estimate { value, low: value - half, high: value + half, items: n, interval: Method::Items }
}

/// The estimate that fits: a proportion where every item is simply right or wrong.
#[must_use]
pub fn estimate(items: &[(f64, f64)]) -> Estimate {
    let is_proportion = items.iter().all(|&(x, y)| y == 1.0 && (x == 0.0 || x == 1.0));
    if is_proportion {
        return proportion(items.iter().filter(|(x, _)| *x == 1.0).count(), items.len());
    }
    ratio(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_near_the_ends() {
        // scipy.stats.binomtest(3, 40).proportion_ci(method="wilson"): 0.025836 to 0.198642; of (0, 20): 0 to 0.161125.
        let e = proportion(3, 40);
        assert_eq!(e.interval, Method::Wilson);
        assert!((e.low - 0.025836).abs() < 1e-5 && (e.high - 0.198642).abs() < 1e-5, "{e:?}");
        let e = proportion(0, 20);
        assert!(e.low == 0.0 && (e.high - 0.161125).abs() < 1e-5, "{e:?}");
        let e = proportion(20, 20);
        assert!(e.high == 1.0 && (e.low - 0.838875).abs() < 1e-5, "{e:?}");
    }

    #[test]
    fn the_papers_interval_in_the_middle() {
        // GSM8K, 1319 items at 50%: +- 1.96 sqrt(0.25 / 1319) = 2.70%.
        let e = proportion(660, 1319);
        assert_eq!(e.interval, Method::Normal);
        assert!((e.high - e.value - 0.02698).abs() < 1e-4, "{e:?}");
    }

    #[test]
    fn a_ratio_of_equal_weights_is_the_mean() {
        // Mean 0.5, sample variance 1/6 over 4 items: half width 1.96 sqrt(1/24).
        let e = ratio(&[(0.0, 1.0), (0.5, 1.0), (0.5, 1.0), (1.0, 1.0)]);
        assert!((e.value - 0.5).abs() < 1e-12 && (e.high - 0.5 - 1.96 * (1.0f64 / 24.0).sqrt()).abs() < 1e-12);
        // Twice the instructions, the same answers: the interval does not shrink.
        let twice = ratio(&[(0.0, 2.0), (1.0, 2.0), (1.0, 2.0), (2.0, 2.0)]);
        assert!((twice.high - e.high).abs() < 1e-12);
        assert_eq!(estimate(&[(1.0, 1.0); 30]).interval, Method::Wilson);
    }
}
