//! The parametric law `L(N, D) = E + A / N^alpha + B / D^beta` (Hoffmann et al. 2022, section 3.3). It is fitted as in Besiroglu et al.
//! 2024 ("Chinchilla Scaling: A replication attempt"): Huber loss of the difference of log losses, minimised by L-BFGS from a grid of
//! starts.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Interval, draw, resample};
use crate::isoflop::Run;
use crate::linear::mean;
use crate::optimise::{Minimum, huber, minimise};

/// The threshold of the Huber loss between square and linear, in differences of log losses.
pub const DELTA: f64 = 1e-3;
/// Maximum number of L-BFGS steps from one start.
const STEPS: u64 = 2000;

/// The law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// Loss of an infinite model on infinite data.
    pub e: f64,
    /// Scale of the term that falls with the number of parameters.
    pub a: f64,
    /// Scale of the term that falls with the number of tokens.
    pub b: f64,
    /// Exponent of the number of parameters.
    pub alpha: f64,
    /// Exponent of the number of tokens.
    pub beta: f64,
}

/// The optimal model for a budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Optimum {
    /// Number of parameters.
    pub params: f64,
    /// Number of tokens.
    pub tokens: f64,
    /// The loss that the law predicts.
    pub loss: f64,
}

impl Law {
    /// The loss of `params` parameters trained on `tokens` tokens.
    #[must_use]
    pub fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e + self.a / params.powf(self.alpha) + self.b / tokens.powf(self.beta)
    }

    /// The size and the number of tokens with the lowest loss under `flops = 6 N D` (Hoffmann et al. 2022, equation 4).
    #[must_use]
    pub fn optimum(&self, flops: f64) -> Optimum {
        let g = (self.alpha * self.a / (self.beta * self.b)).powf(1.0 / (self.alpha + self.beta));
        let params = g * (flops / 6.0).powf(self.beta / (self.alpha + self.beta));
        let tokens = flops / 6.0 / params;
        Optimum { params, tokens, loss: self.loss(params, tokens) }
    }
}

/// The fit to a set of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The law.
    pub law: Law,
    /// Number of fitted runs.
    pub runs: usize,
    /// The sum of the Huber losses of the differences of log losses, with `delta` [`DELTA`].
    pub objective: f64,
    /// Number of starts of the search.
    pub starts: usize,
    /// Number of starts that ended within 0.1% of the best.
    pub agreeing: usize,
    /// The laws fitted to resampled runs.
    pub samples: Vec<Law>,
}

/// The law's coordinates in the search: logarithms, with sizes relative to the runs' geometric means, so that the scales and exponents of
/// the terms are nearly independent.
struct Centred {
    params: f64,
    tokens: f64,
}

impl Centred {
    fn law(&self, at: &[f64]) -> Law {
        let [a, b, e, alpha, beta] = [at[0], at[1], at[2], at[3], at[4]];
        Law { e: e.exp(), a: (a + alpha * self.params).exp(), b: (b + beta * self.tokens).exp(), alpha, beta }
    }

    fn descend(&self, runs: &[Run], start: &[f64]) -> Option<Minimum> {
        let points: Vec<[f64; 3]> = runs
            .iter()
            .map(|run| [run.params.ln() - self.params, run.tokens.ln() - self.tokens, run.loss.ln()])
            .collect();
        let objective = |at: &[f64]| {
            let (mut sum, mut gradient) = (0.0, vec![0.0; 5]);
            for [params, tokens, loss] in &points {
                let terms = [at[0] - at[3] * params, at[1] - at[4] * tokens, at[2]];
                let most = terms[0].max(terms[1]).max(terms[2]);
                let parts = terms.map(|term| (term - most).exp());
                let all: f64 = parts.iter().sum();
                let (value, slope) = huber((most + all.ln() - loss) / DELTA);
                sum += value;
                let [a, b, e] = parts.map(|part| slope * part / all / DELTA);
                for (gradient, part) in gradient.iter_mut().zip([a, b, e, -a * params, -b * tokens]) {
                    *gradient += part;
                }
            }
            (sum, gradient)
        };
        minimise(objective, start, STEPS)
    }
}

impl Fit {
    /// Fits runs of different sizes and lengths; `samples` resamples of the runs give the intervals.
    ///
    /// # Errors
    /// When the runs are too few to determine five numbers, or when no start converges.
    pub fn new(runs: &[Run], samples: usize, seed: u64) -> Result<Self, String> {
        let different = |value: fn(&Run) -> f64| {
            let mut values: Vec<f64> = runs.iter().map(value).collect();
            values.sort_by(f64::total_cmp);
            values.dedup();
            values.len()
        };
        let (sizes, lengths) = (different(|run| run.params), different(|run| run.tokens));
        if runs.len() < 8 || sizes < 3 || lengths < 3 {
            return Err(format!(
                "{} runs of {sizes} sizes and {lengths} lengths cannot tell the law's five numbers apart; train at least 8, of 3 \
                 sizes and 3 lengths",
                runs.len()
            ));
        }
        let centre = |value: fn(&Run) -> f64| mean(runs.iter().map(|run| value(run).ln()));
        let centred = Centred { params: centre(|run| run.params), tokens: centre(|run| run.tokens) };
        let lowest = runs.iter().map(|run| run.loss).fold(f64::INFINITY, f64::min);
        let average = mean(runs.iter().map(|run| run.loss));
        let mut starts = Vec::new();
        for floor in [0.3, 0.6, 0.9] {
            for share in [0.2, 0.5, 0.8] {
                for alpha in [0.1, 0.3, 0.6, 1.0] {
                    for beta in [0.1, 0.3, 0.6, 1.0] {
                        let rest = average - floor * lowest;
                        let start =
                            [(share * rest).ln(), ((1.0 - share) * rest).ln(), (floor * lowest).ln(), alpha, beta];
                        starts.push(start);
                    }
                }
            }
        }
        let found: Vec<Minimum> = starts.par_iter().filter_map(|start| centred.descend(runs, start)).collect();
        let best = found.iter().min_by(|a, b| a.value.total_cmp(&b.value));
        let best = best.ok_or("the losses have to be numbers above 0")?;
        let agreeing = found.iter().filter(|other| other.value <= best.value * 1.001).count();
        let samples = resample(samples, seed, |generator| {
            Some(centred.law(&centred.descend(&draw(runs, generator), &best.at)?.at))
        });
        Ok(Self {
            law: centred.law(&best.at),
            runs: runs.len(),
            objective: best.value * DELTA * DELTA,
            starts: starts.len(),
            agreeing,
            samples,
        })
    }

    /// The interval of a number that is computed from the law.
    #[must_use]
    pub fn interval(&self, of: impl Fn(&Law) -> f64) -> Option<Interval> {
        Interval::of(self.samples.iter().map(of))
    }
}

/// Removes the `count` runs with the highest losses, as Besiroglu et al. 2024 do with five of Chinchilla's runs.
#[must_use]
pub fn without_highest(runs: &[Run], count: usize) -> Vec<Run> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by(|a, b| runs[*b].loss.total_cmp(&runs[*a].loss));
    let dropped = &order[..count.min(order.len())];
    (0..runs.len()).filter(|at| !dropped.contains(at)).map(|at| runs[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: Law = Law { e: 1.7, a: 300.0, b: 900.0, alpha: 0.33, beta: 0.3 };

    fn runs() -> Vec<Run> {
        let mut runs = Vec::new();
        for params in [1e7, 4e7, 1.6e8, 6.4e8] {
            for ratio in [5.0, 20.0, 80.0, 320.0] {
                let tokens = params * ratio;
                runs.push(Run { flops: 6.0 * params * tokens, params, tokens, loss: TRUTH.loss(params, tokens) });
            }
        }
        runs
    }

    #[test]
    fn exact_losses_give_the_exact_law() {
        let fit = Fit::new(&runs(), 0, 0).unwrap();
        for (found, expected) in [
            (fit.law.e, TRUTH.e),
            (fit.law.a, TRUTH.a),
            (fit.law.b, TRUTH.b),
            (fit.law.alpha, TRUTH.alpha),
            (fit.law.beta, TRUTH.beta),
        ] {
            assert!((found / expected - 1.0).abs() < 1e-3, "{fit:?}");
        }
    }

    #[test]
    fn one_wild_run_changes_little() {
        let mut runs = runs();
        runs[5].loss *= 1.5;
        let law = Fit::new(&runs, 0, 0).unwrap().law;
        assert!((law.e / TRUTH.e - 1.0).abs() < 0.05 && (law.alpha - TRUTH.alpha).abs() < 0.05, "{law:?}");
    }

    #[test]
    fn the_highest_losses_are_left_out() {
        let runs = runs();
        let kept = without_highest(&runs, 3);
        let highest = kept.iter().map(|run| run.loss).fold(0.0, f64::max);
        assert_eq!((kept.len(), runs.iter().filter(|run| run.loss > highest).count()), (13, 3));
    }

    /// On both sides of the optimum, the same compute gives a higher loss.
    #[test]
    fn the_optimum_is_one() {
        let best = TRUTH.optimum(1e21);
        assert!((6.0 * best.params * best.tokens / 1e21 - 1.0).abs() < 1e-12);
        for factor in [0.8, 1.25] {
            assert!(TRUTH.loss(best.params * factor, best.tokens / factor) > best.loss);
        }
    }

    #[test]
    fn too_few_runs_are_refused() {
        let error = Fit::new(&runs()[..4], 0, 0).unwrap_err();
        assert!(error.starts_with("4 runs of 1 sizes and 4 lengths cannot tell"), "{error}");
    }
}
