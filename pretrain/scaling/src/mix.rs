//! Models the loss as a function of the shares of data sources, `L_i(r) = c_i + exp(k_i + t_i . r)` (Ye et al. 2024, "Data Mixing Laws"),
//! and finds the shares with the lowest loss. Small models of one size and length are trained on different mixes, as in RegMix (Liu et
//! al. 2024); the ranking of mixes carries over to larger models.

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::linear::{least_squares, mean};
use crate::optimise::minimise;
use crate::simplex;

/// Maximum number of L-BFGS steps for one law.
const STEPS: u64 = 3000;
/// Weight of a penalty on `t`, per run. The shares add up to 1, so a constant can move between `t` and `k`; the penalty makes the
/// solution unique.
const PULL: f64 = 1e-7;

/// The law of one validation set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// The validation set.
    pub target: String,
    /// The irreducible loss.
    pub c: f64,
    /// Logarithm of the reducible loss without the influence of any source.
    pub k: f64,
    /// The effect of each source's share on the logarithm of the reducible loss.
    pub t: Vec<f64>,
}

impl Law {
    /// Fits `losses` of runs with `shares` `[runs, sources]`.
    ///
    /// # Errors
    /// When the number of runs does not exceed the number of coefficients, or when a loss is not a positive number.
    pub fn fit(target: &str, shares: &Array2<f64>, losses: &[f64]) -> Result<Self, String> {
        let (runs, sources) = shares.dim();
        if runs < sources + 3 {
            return Err(format!(
                "{target}: {runs} runs cannot tell {} numbers apart ({sources} sources and two more); train at least {}",
                sources + 2,
                sources + 3
            ));
        }
        if let Some(run) = losses.iter().position(|loss| !(loss.is_finite() && *loss > 0.0)) {
            return Err(format!(
                "{target}: the loss of run {} is {}; it must be a number above 0",
                run + 1,
                losses[run]
            ));
        }
        let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
        // For a given c the logarithm of the law is linear in k and t; this gives a start for each of several c.
        let design =
            Array2::from_shape_fn(
                (runs, sources + 1),
                |(run, column)| {
                    if column == 0 { 1.0 } else { shares[[run, column - 1]] }
                },
            );
        let objective = |at: &[f64]| {
            let (c, rest) = (at[0], &at[1..]);
            let mut gradient = vec![0.0; at.len()];
            let mut sum = 0.0;
            for (row, loss) in design.rows().into_iter().zip(losses) {
                let grown = row.iter().zip(rest).map(|(x, w)| x * w).sum::<f64>().exp();
                let difference = c + grown - loss;
                sum += 0.5 * difference * difference;
                gradient[0] += difference;
                for (slope, x) in gradient[1..].iter_mut().zip(row) {
                    *slope += difference * grown * x;
                }
            }
            let scale = 1.0 / runs as f64;
            sum = sum * scale + 0.5 * PULL * rest.iter().map(|w| w * w).sum::<f64>();
            gradient.iter_mut().for_each(|slope| *slope *= scale);
            gradient[1..].iter_mut().zip(rest).for_each(|(slope, w)| *slope += PULL * w);
            (sum, gradient)
        };
        let mut found = Vec::new();
        for floor in [0.2, 0.6, 0.9] {
            let c = floor * lowest;
            let logs: Array1<f64> = losses.iter().map(|loss| (loss - c).ln()).collect();
            let Some(line) = least_squares(&design, &logs, PULL * runs as f64) else { continue };
            let start: Vec<f64> = std::iter::once(c).chain(line).collect();
            found.extend(minimise(objective, &start, STEPS));
        }
        let best = found.into_iter().min_by(|a, b| a.value.total_cmp(&b.value));
        let best = best.ok_or_else(|| format!("{target}: no start of the search leads anywhere"))?;
        Ok(Self { target: target.to_owned(), c: best.at[0], k: best.at[1], t: best.at[2..].to_vec() })
    }

    /// The loss that the law predicts for a mix.
    #[must_use]
    pub fn loss(&self, shares: &[f64]) -> f64 {
        self.c + self.rest(shares)
    }

    fn rest(&self, shares: &[f64]) -> f64 {
        (self.k + self.t.iter().zip(shares).map(|(t, r)| t * r).sum::<f64>()).exp()
    }
}

/// The mix with the lowest weighted loss; each share is at most its limit. The sum of the laws is convex in the shares, so the minimum is
/// unique; [`simplex::Shares::gap`] bounds the remaining improvement. `None` if the limits add up to less than 1.
#[must_use]
pub fn best(laws: &[(f64, &Law)], limits: &[f64]) -> Option<simplex::Shares> {
    let all: f64 = laws.iter().map(|(weight, _)| weight).sum();
    let function = |shares: &[f64]| {
        let (mut value, mut gradient) = (0.0, vec![0.0; shares.len()]);
        for (weight, law) in laws {
            let rest = law.rest(shares);
            value += weight / all * (law.c + rest);
            gradient.iter_mut().zip(&law.t).for_each(|(slope, t)| *slope += weight / all * rest * t);
        }
        (value, gradient)
    };
    simplex::minimise(function, limits, 20_000)
}

/// Spearman's rank correlation, with mean ranks for ties; `None` for fewer than two values or for constant ones.
#[must_use]
pub fn rank_correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let ranks = |values: &[f64]| {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|x, y| values[*x].total_cmp(&values[*y]));
        let mut ranks = vec![0.0; values.len()];
        for tie in order.chunk_by(|x, y| values[*x] == values[*y]) {
            let before = order.iter().position(|at| *at == tie[0]).unwrap_or_default();
            tie.iter().for_each(|at| ranks[*at] = before as f64 + 0.5 * (tie.len() - 1) as f64);
        }
        ranks
    };
    if a.len() < 2 {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let (mean_a, mean_b) = (mean(a.iter().copied()), mean(b.iter().copied()));
    let product =
        |x: &[f64], mx: f64, y: &[f64], my: f64| x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>();
    let scale = (product(&a, mean_a, &a, mean_a) * product(&b, mean_b, &b, mean_b)).sqrt();
    (scale > 0.0).then(|| product(&a, mean_a, &b, mean_b) / scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};

    #[test]
    fn a_planted_law_comes_back() {
        let truth = Law { target: "a".into(), c: 2.0, k: 0.5, t: vec![-2.0, -0.5, 0.1] };
        let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let mut mixes = || {
            let parts: [f64; 3] = std::array::from_fn(|_| -f64::ln(generator.random_range(0.0001..1.0)));
            parts.map(|part| part / parts.iter().sum::<f64>())
        };
        let rows: Vec<[f64; 3]> = (0..60).map(|_| mixes()).collect();
        let shares = Array2::from_shape_fn((60, 3), |(run, source)| rows[run][source]);
        let losses: Vec<f64> = rows.iter().map(|row| truth.loss(row)).collect();
        let law = Law::fit("a", &shares, &losses).unwrap();
        // A constant can move between k and t; the losses do not change.
        let worst = (0..40).map(|_| mixes()).map(|mix| (law.loss(&mix) - truth.loss(&mix)).abs()).fold(0.0, f64::max);
        assert!(worst < 2e-3, "{worst} {law:?}");
        let best = best(&[(1.0, &law)], &[0.7, 1.0, 1.0]).unwrap();
        assert!((best.shares[0] - 0.7).abs() < 1e-6 && (best.shares[1] - 0.3).abs() < 1e-6, "{best:?}");
        let error = Law::fit("a", &shares.slice(ndarray::s![..5, ..]).to_owned(), &losses[..5]).unwrap_err();
        assert!(error.contains("5 runs cannot tell 5 numbers apart"), "{error}");
    }

    #[test]
    fn ranks_share_ties() {
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[10.0, 100.0, 1000.0]), Some(1.0));
        assert_eq!(rank_correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), Some(-1.0));
        // Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5).
        let found = rank_correlation(&[1.0, 2.0, 2.0, 5.0], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((found - 4.5 / 22.5_f64.sqrt()).abs() < 1e-12);
        assert_eq!(rank_correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}
