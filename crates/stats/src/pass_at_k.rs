//! Unbiased estimate of pass@k (Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1).

use crate::interval::{Estimate, mean};

/// `1 - C(n - c, k) / C(n, k)`: the probability that at least one of `k` samples is right, if they are drawn from `n`
/// samples of which `c` are right.
///
/// `None` if fewer than `k` samples exist.
#[must_use]
pub fn pass_at_k(n: u64, c: u64, k: u64) -> Option<f64> {
    if k == 0 || k > n || c > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    Some(1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

/// pass@k over problems with `(samples, right samples)` each: the mean of the estimates, with its interval. Only
/// problems with at least `k` samples count; `None` if there are none.
#[must_use]
pub fn pass_at(problems: &[(u64, u64)], k: u64) -> Option<Estimate> {
    let values: Vec<f64> = problems.iter().filter_map(|&(n, right)| pass_at_k(n, right, k)).collect();
    (!values.is_empty()).then(|| mean(&values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_counting() {
        // By hand: of 5 samples 2 right, 3 drawn: all wrong in 1 of 10 draws.
        for (n, c, k, expected) in [(5, 2, 3, 0.9), (1, 1, 1, 1.0), (1, 0, 1, 0.0), (4, 1, 2, 0.5), (10, 3, 1, 0.3)] {
            assert!((pass_at_k(n, c, k).unwrap() - expected).abs() < 1e-12);
        }
        assert_eq!(pass_at_k(3, 3, 3), Some(1.0));
        assert_eq!(pass_at_k(2, 1, 3), None);
    }

    #[test]
    fn the_mean_over_problems_with_enough_samples() {
        // By hand: 1 - C(3,2)/C(4,2) = 1/2, and 1; the third problem has one sample only.
        let problems = [(4, 1), (4, 4), (1, 1)];
        let two = pass_at(&problems, 2).unwrap();
        assert!((two.value - 0.75).abs() < 1e-12);
        assert_eq!(two.items, 2);
        assert_eq!(pass_at(&problems, 1).unwrap().items, 3);
        assert!(pass_at(&problems, 5).is_none());
    }
}
