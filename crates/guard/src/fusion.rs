//! Combines the scores of two tiers, and finds the threshold.

use anyhow::ensure;
use ngram_linear::ln_1p_exp;
use safety_text::lbfgs::minimise;
use serde::{Deserialize, Serialize};

/// The log-odds of a guard: `bias + linear * l + model * m` of the log-odds l of its linear tier and m of its language model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fusion {
    /// The constant term.
    pub bias: f64,
    /// The weight of the linear tier; at least 0.
    pub linear: f64,
    /// The weight of the language model; at least 0, and 0 without one.
    pub model: f64,
}

/// The log-odds of the tiers for one text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tiers {
    /// The log-odds of the linear tier.
    pub linear: f64,
    /// The log-odds of the language model, if there is one.
    pub model: Option<f64>,
}

/// Maximum absolute log-odds; larger values count as this.
const MOST: f64 = 30.0;

impl Fusion {
    /// Fits the weights to held-out labels by maximum likelihood (Platt 1999, for two scores), with a normal prior of variance 1 around a
    /// weight of 1 for each tier and a bias of 0. Safe and unsafe texts have the same total weight.
    ///
    /// # Errors
    /// When all labels are equal, or when only some texts have a score of the language model.
    pub fn fit(scored: &[(Tiers, bool)]) -> anyhow::Result<Self> {
        let unsafe_ = scored.iter().filter(|(_, label)| *label).count();
        ensure!(
            unsafe_ > 0 && unsafe_ < scored.len(),
            "the {} held-out records have one label only; tiers cannot be weighed on them",
            scored.len()
        );
        let has_model = scored[0].0.model.is_some();
        ensure!(
            scored.iter().all(|(tiers, _)| tiers.model.is_some() == has_model),
            "some held-out records have no score of the language model"
        );
        let weight = |label: bool| {
            let of = if label { unsafe_ } else { scored.len() - unsafe_ };
            scored.len() as f64 / (2 * of) as f64
        };
        let at = minimise(vec![0.0, 1.0, f64::from(u8::from(has_model))], |at, gradient| {
            let prior = [0.0, 1.0, if has_model { 1.0 } else { 0.0 }];
            let mut value = 0.0;
            for ((slope, weight), prior) in gradient.iter_mut().zip(at).zip(prior) {
                *slope = weight - prior;
                value += slope.powi(2) / 2.0;
            }
            for (tiers, label) in scored {
                let x = [1.0, limited(tiers.linear), limited(tiers.model.unwrap_or(0.0))];
                let sign = if *label { 1.0 } else { -1.0 };
                let margin = sign * (at[0] * x[0] + at[1] * x[1] + at[2] * x[2]);
                value += weight(*label) * ln_1p_exp(-margin);
                let slope = -weight(*label) * sign / (1.0 + margin.exp());
                (0..3).for_each(|k| gradient[k] += slope * x[k]);
            }
            value
        });
        // A tier with a negative weight on few records is left out rather than inverted.
        Ok(Self { bias: at[0], linear: at[1].max(0.0), model: if has_model { at[2].max(0.0) } else { 0.0 } })
    }

    /// The combined log-odds.
    #[must_use]
    pub fn log_odds(&self, tiers: Tiers) -> f64 {
        self.bias + self.linear * limited(tiers.linear) + self.model * limited(tiers.model.unwrap_or(0.0))
    }
}

fn limited(log_odds: f64) -> f64 {
    log_odds.clamp(-MOST, MOST)
}

/// Converts log-odds into a probability.
#[must_use]
pub fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// Converts a probability into log-odds, within the limits of [`Fusion`].
#[must_use]
pub fn log_odds(probability: f64) -> f64 {
    limited((probability / (1.0 - probability)).ln())
}

/// The lowest threshold on log-odds that flags at most a share `rate` of the `safe` scores (scores equal to the threshold are flagged),
/// placed half way to the next lower score.
#[must_use]
pub fn threshold_at(safe: &[f64], rate: f64) -> f64 {
    let mut sorted = safe.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let allowed = (rate * safe.len() as f64).floor() as usize;
    let Some(&first_spared) = sorted.get(allowed) else { return f64::NEG_INFINITY };
    // Equal scores are flagged together or not at all.
    let flagged = sorted.iter().take(allowed).rev().find(|&&score| score > first_spared);
    flagged.map_or(first_spared + 1.0, |score| f64::midpoint(*score, first_spared))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_better_tier_gets_the_weight() {
        // The linear tier is right, the model is noise.
        let scored: Vec<(Tiers, bool)> = (0..200)
            .map(|n| {
                let label = n % 2 == 0;
                let linear = if label { 1.0 } else { -1.0 } + f64::from(n % 7) / 10.0 - 0.3;
                let model = f64::from(n * 37 % 11) - 5.0;
                (Tiers { linear, model: Some(model) }, label)
            })
            .collect();
        let fusion = Fusion::fit(&scored).unwrap();
        assert!(fusion.linear > 2.0 && fusion.model < 0.3, "{fusion:?}");
        let alone: Vec<_> = scored.iter().map(|(t, l)| (Tiers { model: None, ..*t }, *l)).collect();
        let fusion = Fusion::fit(&alone).unwrap();
        assert!(fusion.model == 0.0 && fusion.linear > 2.0 && fusion.bias.abs() < 0.5, "{fusion:?}");
        assert!(Fusion::fit(&scored[..1]).is_err());
        assert!(Fusion::fit(&[scored[0], alone[1]]).is_err());
    }

    #[test]
    fn infinite_log_odds_stay_numbers() {
        let scored = [
            (Tiers { linear: 1.0, model: Some(f64::INFINITY) }, true),
            (Tiers { linear: -1.0, model: Some(f64::NEG_INFINITY) }, false),
        ];
        let fusion = Fusion::fit(&scored).unwrap();
        assert!(fusion.log_odds(scored[0].0).is_finite() && fusion.log_odds(scored[0].0) > 0.0);
        assert!((probability(log_odds(0.3)) - 0.3).abs() < 1e-12 && log_odds(1.0) == 30.0);
    }

    proptest! {
        #[test]
        fn no_more_than_the_rate_is_flagged(safe in prop::collection::vec(-5i32..5, 1..80), rate in 0.0f64..0.5) {
            let safe: Vec<f64> = safe.into_iter().map(f64::from).collect();
            let threshold = threshold_at(&safe, rate);
            let flagged = safe.iter().filter(|&&score| score >= threshold).count();
            prop_assert!(flagged as f64 <= rate * safe.len() as f64);
            // The next lower score as threshold would flag too many.
            if let Some(next) = safe.iter().copied().filter(|&score| score < threshold).max_by(f64::total_cmp) {
                let more = safe.iter().filter(|&&score| score >= next).count();
                prop_assert!(more as f64 > rate * safe.len() as f64);
            }
        }
    }
}
