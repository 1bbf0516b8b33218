//! pass@k, estimated without bias (Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1).

/// `1 - C(n - c, k) / C(n, k)`: the chance that of `k` samples drawn from `n`, of which `c` are right, one is right.
///
/// `None` when fewer than `k` samples were drawn.
pub fn pass_at_k(n: u64, c: u64, k: u64) -> Option<f64> {
    if k == 0 || k > n || c > n {
        return None;
    }
    if n - c < k {
        return Some(1.0);
    }
    Some(1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
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
}
