//! IsoFLOP parabolas: the best model size for each compute budget, and its growth with the budget.
//!
//! At each budget, the loss over `log N` is close to a parabola near its minimum. The minima over the budgets follow power laws `N*(C)`
//! and `D*(C)`. Sources: Hoffmann et al. 2022 (approach 2) and the Llama 3 paper (section 3.2.1).

use rand::RngExt as _;
use serde::{Deserialize, Serialize};

use crate::bootstrap::{Interval, resample};
use crate::linear::polynomial;
use crate::power_law::PowerLaw;

/// Minimum number of sizes for a budget: a parabola through three points has no residual to estimate its error.
pub const FEWEST: usize = 4;

/// A finished training run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Training compute, in floating-point operations.
    pub flops: f64,
    /// Number of parameters.
    pub params: f64,
    /// Number of training tokens.
    pub tokens: f64,
    /// Held-out loss, in nats per token.
    pub loss: f64,
}

/// The parabola of one budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Parabola {
    /// The budget.
    pub flops: f64,
    /// Number of runs of the budget.
    pub runs: usize,
    /// Number of runs that the parabola is fitted to.
    pub used: usize,
    /// The model size with the lowest loss.
    pub params: f64,
    /// Training tokens of a model of this size at this budget, interpolated between the runs.
    pub tokens: f64,
    /// The loss at this size.
    pub loss: f64,
    /// `loss(N) = loss + curvature * ln(N / params)^2`.
    pub curvature: f64,
}

/// The reason why a budget has no minimum.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// There are too few different sizes.
    #[error("it has {0} different sizes, and {fewest} are needed: train more", fewest = FEWEST)]
    Few(usize),
    /// The best run is the smallest or largest.
    #[error(
        "its lowest loss is that of the {which} model ({params:.4e} parameters), so the minimum lies outside: train {other} models"
    )]
    Edge {
        /// "smallest" or "largest".
        which: &'static str,
        /// The size of that model.
        params: f64,
        /// "smaller" or "larger".
        other: &'static str,
    },
    /// The parabola has no minimum.
    #[error("its losses do not curve upwards around the lowest one: repeat its runs, or train sizes further apart")]
    Flat,
    /// The parabola's minimum lies outside the runs.
    #[error("its parabola has its minimum at {params:.4e} parameters, outside of its runs: train sizes around that")]
    Outside {
        /// The size at which the minimum would be.
        params: f64,
    },
}

/// The points of a budget that its parabola is fitted to: `ln N` relative to the best size, and losses.
struct Points {
    runs: Vec<Run>,
    best: usize,
    used: Vec<usize>,
}

impl Points {
    /// `window` is the maximum loss of a point above the lowest loss, in nats; the nearest [`FEWEST`] points are always used.
    fn new(runs: &[Run], window: f64) -> Result<Self, Refusal> {
        let mut runs = runs.to_vec();
        runs.sort_by(|a, b| a.params.total_cmp(&b.params));
        let mut sizes: Vec<f64> = runs.iter().map(|run| run.params).collect();
        sizes.dedup();
        if sizes.len() < FEWEST {
            return Err(Refusal::Few(sizes.len()));
        }
        let best = (0..runs.len()).min_by(|a, b| runs[*a].loss.total_cmp(&runs[*b].loss)).unwrap_or_default();
        let (lowest, params) = (runs[best].loss, runs[best].params);
        for (edge, which, other) in [(sizes[0], "smallest", "smaller"), (sizes[sizes.len() - 1], "largest", "larger")] {
            if params == edge {
                return Err(Refusal::Edge { which, params, other });
            }
        }
        let far = |at: usize| (runs[at].params / params).ln().abs();
        let mut near: Vec<usize> = (0..runs.len()).collect();
        near.sort_by(|a, b| far(*a).total_cmp(&far(*b)));
        let mut used: Vec<usize> = near
            .iter()
            .enumerate()
            .filter(|(rank, at)| *rank < FEWEST || runs[**at].loss <= lowest + window)
            .map(|(_, at)| *at)
            .collect();
        used.sort_unstable();
        Ok(Self { runs, best, used })
    }

    fn x(&self, at: usize) -> f64 {
        (self.runs[at].params / self.runs[self.best].params).ln()
    }

    fn fit(&self, losses: &[f64]) -> Result<Parabola, Refusal> {
        let x: Vec<f64> = self.used.iter().map(|at| self.x(*at)).collect();
        let parabola = polynomial(&x, losses, 2).ok_or(Refusal::Flat)?;
        let curvature = parabola[2];
        if curvature <= 0.0 {
            return Err(Refusal::Flat);
        }
        let bottom = -parabola[1] / (2.0 * curvature);
        let params = self.runs[self.best].params * bottom.exp();
        let (first, last) = (self.x(0), self.x(self.runs.len() - 1));
        if bottom <= first || bottom >= last {
            return Err(Refusal::Outside { params });
        }
        // Interpolates between the neighbours on logarithmic axes.
        let above = (0..self.runs.len()).find(|at| self.x(*at) > bottom).unwrap_or(self.runs.len() - 1).max(1);
        let (low, high) = (&self.runs[above - 1], &self.runs[above]);
        let share = (params / low.params).ln() / (high.params / low.params).ln();
        let tokens = low.tokens * (high.tokens / low.tokens).powf(share);
        Ok(Parabola {
            flops: self.runs[self.best].flops,
            runs: self.runs.len(),
            used: self.used.len(),
            params,
            tokens,
            loss: parabola[0] - curvature * bottom * bottom,
            curvature,
        })
    }

    fn losses(&self) -> Vec<f64> {
        self.used.iter().map(|at| self.runs[*at].loss).collect()
    }
}

/// Fits the parabola of one budget's runs; see [`Fit::new`] for `window`.
///
/// # Errors
/// When the runs do not enclose a minimum.
pub fn parabola(runs: &[Run], window: f64) -> Result<Parabola, Refusal> {
    let points = Points::new(runs, window)?;
    points.fit(&points.losses())
}

/// Power laws of the best size and of its number of tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Laws {
    /// `N*(C)`, in parameters.
    pub params: PowerLaw,
    /// `D*(C)`, in tokens.
    pub tokens: PowerLaw,
}

impl Laws {
    fn of(parabolas: &[Parabola]) -> Option<Self> {
        let of = |value: fn(&Parabola) -> f64| parabolas.iter().map(value).collect::<Vec<_>>();
        let flops = of(|parabola| parabola.flops);
        Some(Self {
            params: PowerLaw::fit(&flops, &of(|parabola| parabola.params))?,
            tokens: PowerLaw::fit(&flops, &of(|parabola| parabola.tokens))?,
        })
    }
}

/// The fit to a ladder of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The budgets with a minimum, in ascending order.
    pub budgets: Vec<Parabola>,
    /// The other budgets, each with the reason.
    pub refused: Vec<(f64, String)>,
    /// The laws through the minima.
    pub laws: Laws,
    /// The laws of resampled ladders: the parabola's residuals are resampled within each budget.
    pub samples: Vec<Laws>,
    /// Number of resamples in which at least one budget had no minimum and was left out.
    pub samples_with_refusals: usize,
}

impl Fit {
    /// Fits runs of several budgets; runs within 1% of each other in `flops` share a budget. A parabola only approximates the loss near
    /// its minimum, so it is fitted to the points at most `window` nats above the lowest loss of their budget (always to the nearest
    /// [`FEWEST`]). `samples` resamples give the intervals.
    ///
    /// # Errors
    /// When fewer than two budgets have a minimum; the error lists the reasons.
    pub fn new(runs: &[Run], window: f64, samples: usize, seed: u64) -> Result<Self, String> {
        let (mut all, mut budgets, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for group in by_budget(runs) {
            let fitted = Points::new(&group, window).and_then(|points| Ok((points.fit(&points.losses())?, points)));
            match fitted {
                Ok((parabola, points)) => {
                    budgets.push(parabola);
                    all.push(points);
                }
                Err(why) => refused.push((group[0].flops, why.to_string())),
            }
        }
        let Some(laws) = Laws::of(&budgets) else {
            let reasons: String = refused.iter().map(|(flops, why)| format!("; budget {flops:.3e}: {why}")).collect();
            return Err(format!("{} budgets have a minimum, and a law needs two{reasons}", budgets.len()));
        };
        let drawn = resample(samples, seed, |generator| {
            let mut sample = Vec::new();
            for (points, parabola) in all.iter().zip(&budgets) {
                let fitted = |at: usize| {
                    let x = (points.runs[at].params / parabola.params).ln();
                    parabola.loss + parabola.curvature * x * x
                };
                // Three fitted coefficients make the residuals smaller than the errors.
                let scale = (points.used.len() as f64 / (points.used.len() - 3) as f64).sqrt();
                let residuals: Vec<f64> =
                    points.used.iter().map(|at| scale * (points.runs[*at].loss - fitted(*at))).collect();
                let losses: Vec<f64> = points
                    .used
                    .iter()
                    .map(|at| fitted(*at) + residuals[generator.random_range(0..residuals.len())])
                    .collect();
                sample.extend(points.fit(&losses).ok());
            }
            Some((Laws::of(&sample)?, sample.len() < all.len()))
        });
        let samples_with_refusals = drawn.iter().filter(|(_, refused)| *refused).count();
        let samples = drawn.into_iter().map(|(laws, _)| laws).collect();
        Ok(Self { budgets, refused, laws, samples, samples_with_refusals })
    }

    /// The interval of a number that is computed from the laws.
    #[must_use]
    pub fn interval(&self, of: impl Fn(&Laws) -> f64) -> Option<Interval> {
        Interval::of(self.samples.iter().map(of))
    }
}

/// The runs of each budget, in ascending order.
fn by_budget(runs: &[Run]) -> Vec<Vec<Run>> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.flops.total_cmp(&b.flops));
    let mut groups: Vec<Vec<Run>> = Vec::new();
    for run in sorted {
        match groups.last_mut() {
            Some(group) if run.flops <= group[0].flops * 1.01 => group.push(run),
            _ => groups.push(vec![run]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes runs whose best size is `0.1 C^0.5`, with a parabola of curvature 0.05 around it.
    fn ladder(noise: f64) -> Vec<Run> {
        let mut runs = Vec::new();
        for (budget, flops) in [1e16, 4e16, 1.6e17, 6.4e17].into_iter().enumerate() {
            for step in -3..=3_i32 {
                let best = 0.1 * f64::sqrt(flops);
                let params = best * 1.5_f64.powi(step) * 1.1;
                let x = (params / best).ln();
                let loss = 4.0 - 0.3 * budget as f64
                    + 0.05 * x * x
                    + noise * f64::from((step * 7 + budget as i32 * 3) % 5 - 2);
                runs.push(Run { flops, params, tokens: flops / (6.0 * params), loss });
            }
        }
        runs
    }

    #[test]
    fn exact_parabolas_give_the_exact_law() {
        let fit = Fit::new(&ladder(0.0), 0.1, 50, 0).unwrap();
        assert_eq!((fit.budgets.len(), fit.refused.len()), (4, 0));
        assert!((fit.laws.params.exponent - 0.5).abs() < 1e-9 && (fit.laws.params.coefficient - 0.1).abs() < 1e-7);
        // D = C / 6N
        assert!((fit.laws.tokens.exponent - 0.5).abs() < 1e-9);
        assert!((fit.laws.tokens.coefficient / (10.0 / 6.0) - 1.0).abs() < 1e-6, "{fit:?}");
        let first = fit.budgets[0];
        assert!((first.loss - 4.0).abs() < 1e-9 && (first.curvature - 0.05).abs() < 1e-9, "{first:?}");
    }

    #[test]
    fn the_interval_holds_the_truth_and_grows_with_the_noise() {
        let of = |noise| Fit::new(&ladder(noise), 0.1, 300, 1).unwrap().interval(|laws| laws.params.exponent).unwrap();
        let (small, large) = (of(0.0005), of(0.002));
        assert!(small.low < 0.5 && 0.5 < small.high, "{small:?}");
        assert!(large.standard_error > 2.0 * small.standard_error, "{small:?} {large:?}");
    }

    #[test]
    fn a_minimum_at_the_edge_is_refused() {
        let runs: Vec<Run> = ladder(0.0).into_iter().filter(|run| run.flops == 1e16).collect();
        let below: Vec<Run> = runs.iter().filter(|run| run.params < 1.3e7).copied().collect();
        let why = parabola(&below, 0.1).unwrap_err().to_string();
        assert!(why.contains("that of the largest model") && why.ends_with("train larger models"), "{why}");
        let above: Vec<Run> = runs.iter().filter(|run| run.params > 0.9e7).copied().collect();
        let why = parabola(&above, 0.1).unwrap_err().to_string();
        assert!(why.contains("that of the smallest model"), "{why}");
        assert_eq!(parabola(&runs[..3], 0.1), Err(Refusal::Few(3)));
        let error = Fit::new(&below, 0.1, 0, 0).unwrap_err();
        assert!(
            error.contains("0 budgets have a minimum") && error.contains("budget 1.000e16: its lowest loss"),
            "{error}"
        );
    }

    #[test]
    fn budgets_are_told_apart_by_more_than_rounding() {
        let mut runs = ladder(0.0);
        runs[0].flops *= 1.003;
        assert_eq!(by_budget(&runs).iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 7, 7]);
    }
}
