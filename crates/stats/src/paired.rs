//! Paired tests: two models on the same items.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// McNemar's exact test, two-sided. The two models differ on `b + c` items, `b` in favour of one and `c` in favour of
/// the other. The result is the probability of a split at least as uneven as this one if neither model were better
/// (binomial with probability 1/2).
///
/// ```
/// // Of 10 items on which they differ, one model has 9 right: 2 (1 + 10) / 2^10.
/// assert!((stats::paired::mcnemar(9, 1) - 22.0 / 1024.0).abs() < 1e-12);
/// ```
#[must_use]
pub fn mcnemar(b: usize, c: usize) -> f64 {
    let (n, k) = (b + c, b.min(c));
    // log C(n, i) - n log 2, summed from i = 0.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut tail = log_term.exp();
    for i in 1..=k {
        log_term += ((n - i + 1) as f64 / i as f64).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}

/// The 95% interval of a mean difference, by the bootstrap over items (percentiles of `resamples` seeded draws).
#[must_use]
pub fn bootstrap(differences: &[f64], resamples: usize, seed: u64) -> (f64, f64) {
    let n = differences.len();
    if n == 0 {
        return (f64::NAN, f64::NAN);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> =
        (0..resamples).map(|_| (0..n).map(|_| differences[rng.random_range(0..n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let at = |q: f64| means[((q * resamples as f64) as usize).min(resamples - 1)];
    (at(0.025), at(0.975))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_by_hand() {
        assert_eq!(mcnemar(0, 0), 1.0);
        assert_eq!(mcnemar(5, 5), 1.0);
        assert!((mcnemar(0, 5) - 2.0 / 32.0).abs() < 1e-12);
        assert!((mcnemar(6, 1) - 2.0 * 8.0 / 128.0).abs() < 1e-12);
        // scipy.stats.binomtest(200, 450).pvalue = 0.0207918
        assert!((mcnemar(200, 250) - 0.020_791_8).abs() < 1e-7, "{}", mcnemar(200, 250));
    }

    #[test]
    fn bootstrap_covers_what_the_normal_interval_does() {
        // 300 items, 45 gained and 15 lost: mean 0.1, standard error sqrt((60/300 - 0.01) / 300) = 0.02517.
        let mut differences = vec![0.0; 240];
        differences.extend([1.0; 45]);
        differences.extend([-1.0; 15]);
        let (low, high) = bootstrap(&differences, 10_000, 0);
        assert!(
            (low - (0.1 - 1.96 * 0.02517)).abs() < 0.006 && (high - (0.1 + 1.96 * 0.02517)).abs() < 0.006,
            "{low} {high}"
        );
        assert_eq!(bootstrap(&differences, 1000, 7), bootstrap(&differences, 1000, 7));
    }
}
