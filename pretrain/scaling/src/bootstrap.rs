//! Bootstrap intervals (Efron and Tibshirani 1993): percentiles of fits to seeded resamples.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A 95% interval and the standard error.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The 2.5th percentile.
    pub low: f64,
    /// The 97.5th percentile.
    pub high: f64,
    /// The standard deviation of the resamples' fits.
    pub standard_error: f64,
}

impl Interval {
    /// Computes the interval from the values of several fits; `None` for fewer than 20.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        if values.len() < 20 {
            return None;
        }
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (below, rest) = (place.floor() as usize, place.fract());
            values[below] + rest * (values[(below + 1).min(values.len() - 1)] - values[below])
        };
        let mean = crate::linear::mean(values.iter().copied());
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_error = (squares / (values.len() - 1) as f64).sqrt();
        Some(Self { low: at(0.025), high: at(0.975), standard_error })
    }
}

/// The fits to `count` resamples, in order, without those that failed. Each sample `i` has its own generator, so the result does not
/// depend on the threads.
pub fn resample<T: Send>(count: usize, seed: u64, fit: impl Fn(&mut ChaCha8Rng) -> Option<T> + Sync) -> Vec<T> {
    let one = |number: usize| {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(number as u64);
        fit(&mut generator)
    };
    (0..count).into_par_iter().map(one).collect::<Vec<_>>().into_iter().flatten().collect()
}

/// Draws as many items as there are, with replacement.
#[must_use]
pub fn draw<T: Clone>(items: &[T], generator: &mut ChaCha8Rng) -> Vec<T> {
    (0..items.len()).map(|_| items[generator.random_range(0..items.len())].clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_the_textbooks() {
        // 400 values with a variance of 1: the mean has a standard error of 1/20.
        let values: Vec<f64> = (0..400).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let fits =
            |seed| resample(2000, seed, |generator| Some(crate::linear::mean(draw(&values, generator).into_iter())));
        let interval = Interval::of(fits(1)).unwrap();
        assert!((interval.standard_error - 0.05).abs() < 0.003, "{interval:?}");
        assert!((interval.high - 0.098).abs() < 0.01 && (interval.low + 0.098).abs() < 0.01, "{interval:?}");
        assert_eq!(fits(1), fits(1));
        assert_ne!(fits(1), fits(2));
        assert_eq!(Interval::of(vec![1.0; 19]), None);
    }
}
