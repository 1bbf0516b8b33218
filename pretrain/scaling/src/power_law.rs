//! `y = coefficient * x^exponent`, by least squares on logarithms.

use serde::{Deserialize, Serialize};

use crate::linear::polynomial;

/// A power law.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PowerLaw {
    /// The value at `x = 1`.
    pub coefficient: f64,
    /// The slope on logarithmic axes.
    pub exponent: f64,
}

impl PowerLaw {
    /// Fits the law to points; `None` for fewer than two different `x`.
    ///
    /// ```
    /// # use scaling_laws::power_law::PowerLaw;
    /// let law = PowerLaw::fit(&[1e18, 1e20], &[1e8, 1e9]).unwrap();
    /// assert!((law.exponent - 0.5).abs() < 1e-12);
    /// assert!((law.at(1e22) / 1e10 - 1.0).abs() < 1e-9);
    /// ```
    #[must_use]
    pub fn fit(x: &[f64], y: &[f64]) -> Option<Self> {
        let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
        let (x, y) = (logs(x), logs(y));
        let centre = crate::linear::mean(x.iter().copied());
        let centred: Vec<f64> = x.iter().map(|x| x - centre).collect();
        let line = polynomial(&centred, &y, 1)?;
        Some(Self { coefficient: (line[0] - line[1] * centre).exp(), exponent: line[1] })
    }

    /// The value at `x`.
    #[must_use]
    pub fn at(&self, x: f64) -> f64 {
        self.coefficient * x.powf(self.exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3 paper, section 3.2.1: `N*(C) = A C^alpha` with (0.537, 0.299), as its figure 3 has them, is 16.3T tokens at
    /// 3.8e25 FLOP; the rounded pair of the text (0.53, 0.29) is 10.5T.
    #[test]
    fn llama_3s_extrapolation() {
        let tokens = |exponent, coefficient| PowerLaw { coefficient, exponent }.at(3.8e25) / 1e12;
        assert!((tokens(0.537, 0.299) - 16.3).abs() < 0.05, "{}", tokens(0.537, 0.299));
        assert!((tokens(0.53, 0.29) - 10.5).abs() < 0.05, "{}", tokens(0.53, 0.29));
    }

    #[test]
    fn one_budget_has_no_law() {
        assert_eq!(PowerLaw::fit(&[1e18, 1e18], &[1.0, 2.0]), None);
    }
}
