//! Logistic regression.

use safety_text::lbfgs::minimise;

use crate::vocabulary::Sample;

/// The label of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Label {
    /// 1 for the class, -1 for the others.
    pub sign: f64,
    /// An additional feature of the text with its own weight; 0 if there is none.
    pub feature: f64,
}

/// Fits the weights of `size` indices, the intercept, and the weight of the additional feature.
///
/// L-BFGS minimises `C · Σ ln(1 + exp(-s (w · x + b + f y))) + (|w|² + f²) / 2` over w, b and f. The intercept has no penalty.
#[must_use]
pub fn logistic(samples: &[Sample], labels: &[Label], size: usize, c: f64) -> Vec<f64> {
    minimise(vec![0.0; size + 2], |at, gradient| {
        // Without an additional feature, its weight has no gradient and stays 0.
        gradient[..size].copy_from_slice(&at[..size]);
        (gradient[size], gradient[size + 1]) = (0.0, at[size + 1]);
        let mut value = (at[..size].iter().map(|w| w * w).sum::<f64>() + at[size + 1].powi(2)) / 2.0;
        for (sample, &Label { sign, feature }) in samples.iter().zip(labels) {
            let sum: f64 = sample.iter().map(|&(place, x)| at[place as usize] * f64::from(x)).sum();
            let margin = sign * (sum + at[size] + feature * at[size + 1]);
            value += c * ln_1p_exp(-margin);
            let slope = -c * sign / (1.0 + margin.exp());
            sample.iter().for_each(|&(place, x)| gradient[place as usize] += slope * f64::from(x));
            gradient[size] += slope;
            gradient[size + 1] += slope * feature;
        }
        value
    })
}

/// ln(1 + exp(x)), also if exp(x) overflows.
#[must_use]
pub fn ln_1p_exp(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_margin_is_a_number() {
        assert_eq!((ln_1p_exp(1000.0), ln_1p_exp(-1000.0)), (1000.0, 0.0));
        assert!((ln_1p_exp(0.0) - std::f64::consts::LN_2).abs() < 1e-12);
    }

    #[test]
    fn the_gradient_is_zero_at_the_minimum() {
        let samples: Vec<Sample> = vec![vec![(0, 1.0)], vec![(1, 1.0)], vec![(0, 0.6), (1, 0.8)], vec![(1, 1.0)]];
        let labels = [1.0, -1.0, 1.0, 1.0].map(|sign| Label { sign, feature: 0.0 });
        let found = logistic(&samples, &labels, 2, 10.0);
        assert_eq!(found[3], 0.0);
        // w = C Σ s x / (1 + exp(s (w·x + b))), and the slopes sum to 0 for the intercept.
        let mut sums = [0.0; 3];
        for (sample, label) in samples.iter().zip(&labels) {
            let margin =
                label.sign * (sample.iter().map(|&(at, x)| found[at as usize] * f64::from(x)).sum::<f64>() + found[2]);
            let slope = 10.0 * label.sign / (1.0 + margin.exp());
            sample.iter().for_each(|&(at, x)| sums[at as usize] += slope * f64::from(x));
            sums[2] += slope;
        }
        for (at, sum) in sums.iter().enumerate() {
            let expected = if at == 2 { 0.0 } else { found[at] };
            assert!((sum - expected).abs() < 0.02, "{at}: {sum} {expected}");
        }
    }
}
