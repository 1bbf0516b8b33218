//! Accuracy and calibration of a reward model: how often it prefers what people preferred, and how reliable its
//! confidence is.

use serde::{Deserialize, Serialize};
use stats::Estimate;

/// Number of bins of confidence between 0.5 and 1.
const BINS: usize = 5;

/// A bin of pairs with similar confidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Lower bound of the confidence.
    pub low: f64,
    /// Upper bound of the confidence.
    pub high: f64,
    /// Number of pairs.
    pub pairs: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of the pairs ranked as people did.
    pub accuracy: f64,
}

/// Accuracy and calibration over held-out pairs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Share of pairs ranked as people did; an equal score counts half.
    pub accuracy: Estimate,
    /// Mean of `-log σ(margin)`; a random guess has ln 2 = 0.693.
    pub loss: f64,
    /// Expected calibration error (Guo et al. 2017): the mean distance of accuracy and confidence over the bins,
    /// weighted by their pairs.
    pub ece: f64,
    /// The reliability diagram.
    pub bins: Vec<Bin>,
}

impl Calibration {
    /// The calibration for the margins `r⁺ - r⁻` of pairs. The confidence of a pair is `σ(|margin|)`.
    #[must_use]
    pub fn of(margins: &[f64]) -> Self {
        let right = |margin: f64| if margin == 0.0 { 0.5 } else { f64::from(u8::from(margin > 0.0)) };
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let n = margins.len().max(1) as f64;
        let width = 0.5 / BINS as f64;
        let bin = |margin: &f64| (((sigmoid(margin.abs()) - 0.5) / width) as usize).min(BINS - 1);
        let bins: Vec<Bin> = (0..BINS)
            .map(|number| {
                let inside: Vec<f64> = margins.iter().copied().filter(|margin| bin(margin) == number).collect();
                let mean = |of: &dyn Fn(f64) -> f64| {
                    inside.iter().map(|&margin| of(margin)).sum::<f64>() / inside.len().max(1) as f64
                };
                Bin {
                    low: 0.5 + width * number as f64,
                    high: 0.5 + width * (number + 1) as f64,
                    pairs: inside.len(),
                    confidence: mean(&|margin| sigmoid(margin.abs())),
                    accuracy: mean(&right),
                }
            })
            .collect();
        Self {
            accuracy: stats::mean(&margins.iter().map(|&margin| right(margin)).collect::<Vec<_>>()),
            // log(1 + exp(-m)) without overflow.
            loss: margins.iter().map(|&m| (-m).max(0.0) + (-m.abs()).exp().ln_1p()).sum::<f64>() / n,
            ece: bins.iter().map(|bin| bin.pairs as f64 / n * (bin.accuracy - bin.confidence).abs()).sum(),
            bins,
        }
    }

    /// The figures as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "held-out pairs: {} ranked as people did, {}; loss {:.4}; expected calibration error {:.3}\n  confidence   \
             pairs  mean confidence  accuracy\n",
            self.accuracy.items,
            self.accuracy.percent(),
            self.loss,
            self.ece
        );
        for bin in self.bins.iter().filter(|bin| bin.pairs > 0) {
            text += &format!(
                "  {:.1} to {:.1} {:>8} {:>16.3} {:>9.3}\n",
                bin.low, bin.high, bin.pairs, bin.confidence, bin.accuracy
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cases_by_hand() {
        // σ(ln 3) = 0.75, in the bin 0.7-0.8: three of four right. σ(ln 9) = 0.9, in the last but one border: 0.9-1.0.
        let (three, nine) = (3.0_f64.ln(), 9.0_f64.ln() + 1e-9);
        let calibration = Calibration::of(&[three, three, three, -three, nine, -nine]);
        assert!((calibration.accuracy.value - 4.0 / 6.0).abs() < 1e-12);
        let of = |low: f64| calibration.bins.iter().find(|bin| (bin.low - low).abs() < 1e-9).unwrap();
        assert_eq!((of(0.7).pairs, of(0.9).pairs), (4, 2));
        assert!((of(0.7).confidence - 0.75).abs() < 1e-9 && (of(0.7).accuracy - 0.75).abs() < 1e-9);
        // The first bin is calibrated, the last is off by 0.9 - 0.5 for a third of the pairs.
        assert!((calibration.ece - 0.4 / 3.0).abs() < 1e-6, "{}", calibration.ece);
        let log = |p: f64| -p.ln();
        let expected = (3.0 * log(0.75) + log(0.25) + log(0.9) + log(0.1)) / 6.0;
        assert!((calibration.loss - expected).abs() < 1e-6);
        let ties = Calibration::of(&[0.0, 0.0]);
        assert!((ties.accuracy.value - 0.5).abs() < 1e-12 && (ties.loss - 2.0_f64.ln()).abs() < 1e-12);
        assert!(Calibration::of(&[-800.0]).loss > 799.0);
    }
}
