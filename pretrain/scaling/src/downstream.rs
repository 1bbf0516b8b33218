//! Predicts benchmark accuracy from compute in two steps (Llama 3 paper, section 3.2.1): the negative log-likelihood of the right answer
//! falls linearly with the logarithm of training compute, and accuracy is a sigmoid of it. The second step may use models of unknown
//! compute.

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Interval, draw, resample};
use crate::linear::{mean, polynomial};
use crate::optimise::minimise;

/// One model on one benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Training compute; `None` for a model that only contributes to the second step.
    pub flops: Option<f64>,
    /// Negative log-likelihood of the right answer, in nats per character.
    pub nll: f64,
    /// Share of right answers, if measured.
    pub accuracy: Option<f64>,
}

/// The coefficients of both steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Law {
    /// `nll = intercept + slope * log10(flops)`.
    pub intercept: f64,
    /// See `intercept`; below 0.
    pub slope: f64,
    /// Accuracy of random guessing.
    pub chance: f64,
    /// Accuracy if the right answer is certain.
    pub ceiling: f64,
    /// The negative log-likelihood half-way between the two.
    pub middle: f64,
    /// Steepness, per nat: `accuracy = chance + (ceiling - chance) / (1 + exp(steepness * (nll - middle)))`.
    pub steepness: f64,
}

impl Law {
    /// The negative log-likelihood that the first step predicts for this compute.
    #[must_use]
    pub fn nll(&self, flops: f64) -> f64 {
        self.intercept + self.slope * flops.log10()
    }

    /// The accuracy that the second step predicts for a negative log-likelihood.
    #[must_use]
    pub fn accuracy(&self, nll: f64) -> f64 {
        self.chance + (self.ceiling - self.chance) / (1.0 + (self.steepness * (nll - self.middle)).exp())
    }
}

/// The fit to a set of models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// The law.
    pub law: Law,
    /// Number of models in the first step.
    pub first: usize,
    /// Number of models in the second step.
    pub second: usize,
    /// Root mean square error of the second step's accuracies.
    pub error: f64,
    /// The laws fitted to resampled models.
    pub samples: Vec<Law>,
}

impl Fit {
    /// Fits both steps; `chance` is the accuracy of guessing (0.25 of four choices).
    ///
    /// # Errors
    /// When the points do not determine a step, or when the likelihood does not improve with compute.
    pub fn new(points: &[Point], chance: f64, samples: usize, seed: u64) -> Result<Self, String> {
        let (law, error) = fit(points, chance)?;
        let samples = resample(samples, seed, |generator| Some(fit(&draw(points, generator), chance).ok()?.0));
        let first = points.iter().filter(|point| point.flops.is_some()).count();
        let second = points.iter().filter(|point| point.accuracy.is_some()).count();
        Ok(Self { law, first, second, error, samples })
    }

    /// The interval of a number that is computed from the law.
    #[must_use]
    pub fn interval(&self, of: impl Fn(&Law) -> f64) -> Option<Interval> {
        Interval::of(self.samples.iter().map(of))
    }
}

fn fit(points: &[Point], chance: f64) -> Result<(Law, f64), String> {
    let scaling: Vec<(f64, f64)> = points.iter().filter_map(|p| Some((p.flops?.log10(), p.nll))).collect();
    let judged: Vec<(f64, f64)> = points.iter().filter_map(|p| Some((p.nll, p.accuracy?))).collect();
    if scaling.len() < 3 || judged.len() < 4 {
        return Err(format!(
            "{} models with compute and {} with an accuracy do not determine the two steps; at least 3 and 4 are needed",
            scaling.len(),
            judged.len()
        ));
    }
    let (x, y): (Vec<f64>, Vec<f64>) = scaling.iter().copied().unzip();
    let centre = mean(x.iter().copied());
    let centred: Vec<f64> = x.iter().map(|x| x - centre).collect();
    let line =
        polynomial(&centred, &y, 1).ok_or("all models have the same compute; the first step needs several budgets")?;
    if line[1] >= 0.0 {
        return Err(format!(
            "the log-likelihood gets worse with compute ({:+.4} nats a decade): these models say nothing on larger ones",
            line[1]
        ));
    }
    let (nlls, accuracies): (Vec<f64>, Vec<f64>) = judged.iter().copied().unzip();
    let (low, high) = nlls.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), n| (l.min(*n), h.max(*n)));
    if high <= low {
        return Err("all models have the same log-likelihood; the second step needs different ones".into());
    }
    let best = accuracies.iter().copied().fold(chance, f64::max);
    if best <= chance {
        return Err(format!("no model is better than guessing ({chance}); the second step needs some that are"));
    }
    // Search coordinates: the ceiling's position between chance and 1 through a sigmoid, the middle in units of the likelihoods' range,
    // and the logarithm of the steepness in these units.
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let law = |at: &[f64]| Law {
        intercept: line[0] - line[1] * centre,
        slope: line[1],
        chance,
        ceiling: chance + (1.0 - chance) * sigmoid(at[0]),
        middle: low + (high - low) * at[1],
        steepness: at[2].exp() / (high - low),
    };
    let squares = |at: &[f64]| {
        let (law, share) = (law(at), sigmoid(at[0]));
        let (mut sum, mut gradient) = (0.0, vec![0.0; 3]);
        for (nll, accuracy) in &judged {
            let place = law.steepness * (nll - law.middle);
            let down = sigmoid(-place);
            let difference = law.accuracy(*nll) - accuracy;
            sum += 0.5 * difference * difference;
            let slope = -(law.ceiling - chance) * down * (1.0 - down);
            gradient[0] += difference * (1.0 - chance) * share * (1.0 - share) * down;
            gradient[1] += difference * slope * -law.steepness * (high - low);
            gradient[2] += difference * slope * place;
        }
        (sum, gradient)
    };
    let mut found = Vec::new();
    for ceiling in [0.0, 3.0] {
        for middle in [0.2, 0.5, 0.8] {
            for steepness in [1.0_f64, 4.0, 12.0] {
                found.extend(minimise(squares, &[ceiling, middle, steepness.ln()], 500));
            }
        }
    }
    let best = found.iter().min_by(|a, b| a.value.total_cmp(&b.value)).ok_or("the accuracies have to be numbers")?;
    Ok((law(&best.at), (2.0 * best.value / judged.len() as f64).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: Law = Law { intercept: 2.2, slope: -0.08, chance: 0.25, ceiling: 0.96, middle: 0.55, steepness: 14.0 };

    fn points() -> Vec<Point> {
        let small = (0..8).map(|step| {
            let flops = 6e18 * 3_f64.powi(step);
            let nll = TRUTH.nll(flops);
            Point { flops: Some(flops), nll, accuracy: Some(TRUTH.accuracy(nll)) }
        });
        // Models of unknown compute with smaller negative log-likelihoods.
        let large = [0.5, 0.4, 0.3, 0.25].map(|nll| Point { flops: None, nll, accuracy: Some(TRUTH.accuracy(nll)) });
        small.chain(large).collect()
    }

    #[test]
    fn extrapolates_over_four_decades() {
        let fit = Fit::new(&points(), 0.25, 40, 3).unwrap();
        assert_eq!((fit.first, fit.second), (8, 12));
        let flops = 3.8e25;
        let expected = TRUTH.accuracy(TRUTH.nll(flops));
        let found = fit.law.accuracy(fit.law.nll(flops));
        assert!((found - expected).abs() < 1e-3, "{found} {expected} {fit:?}");
        let interval = fit.interval(|law| law.accuracy(law.nll(flops))).unwrap();
        assert!(interval.low <= expected + 1e-3 && interval.high >= expected - 1e-3, "{interval:?}");
    }

    #[test]
    fn what_does_not_determine_the_law_is_refused() {
        let error = |points: &[Point]| Fit::new(points, 0.25, 0, 0).unwrap_err();
        assert!(error(&points()[..2]).contains("2 models with compute and 2 with an accuracy"));
        let worse: Vec<Point> =
            points().into_iter().map(|p| Point { flops: p.flops.map(|flops| 1e40 / flops), ..p }).collect();
        assert!(error(&worse).contains("gets worse with compute (+0.08"), "{}", error(&worse));
        let guessing: Vec<Point> = points().into_iter().map(|p| Point { accuracy: Some(0.25), ..p }).collect();
        assert!(error(&guessing).contains("no model is better than guessing (0.25)"));
    }
}
