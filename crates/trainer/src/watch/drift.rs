//! Detects whether a run gets slower, or varies with the time of day, by more than noise.
//!
//! The time per unit of work is averaged over blocks, of ten minutes in long runs. Least squares fit a line and, with at least a day of
//! data, a daily wave. Times of neighbouring blocks are correlated (a machine is busy or hot for a while), so the variance of the errors
//! is widened by `(1 + r) / (1 - r)`, where `r` is the correlation of neighbouring residuals.

use serde::{Deserialize, Serialize};

/// Seconds of a block in long runs.
const BLOCK: f64 = 600.0;
/// Number of blocks in short runs.
const BLOCKS: usize = 48;
/// Minimum number of blocks for a result.
const ENOUGH: usize = 24;
/// Minimum number of steps of a block.
const STEPS: usize = 4;
/// Minimum seconds of a run for a result.
const SHORTEST: f64 = 1800.0;
const DAY: f64 = 86_400.0;
/// A drift is reported from this many standard errors on.
const ERRORS: f64 = 4.0;
/// Minimum percentage of a reported drift.
const LEAST: f64 = 1.0;
/// The F statistic from which a wave is reported; 1% of pure noise reaches it.
const WAVE: f64 = 4.6;

/// The change of the time per unit of work over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Hours from the first step to the last.
    pub hours: f64,
    /// The rise over these hours in percent; negative if the run got faster.
    pub percent: f64,
    /// The standard error of `percent`.
    pub error: f64,
    /// The daily variation, if there is at least a day of data.
    pub swing: Option<Swing>,
}

/// A daily variation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Swing {
    /// Percentage from the fastest hour to the slowest.
    pub percent: f64,
    /// The F statistic against no wave.
    pub f: f64,
}

impl Drift {
    /// Fits the drift to steps, given as (time in seconds, time per unit of work); `None` if there are too few.
    #[must_use]
    pub fn of(steps: &[(f64, f64)]) -> Option<Self> {
        let (begin, end) = (steps.first()?.0, steps.last()?.0);
        let seconds = end - begin;
        let wanted = BLOCKS.max((seconds / BLOCK) as usize).min(steps.len() / STEPS);
        if wanted < ENOUGH || seconds < SHORTEST {
            return None;
        }
        // All blocks have the same number of steps, because pauses between steps carry no information.
        let blocks: Vec<(f64, f64)> = (0..wanted)
            .map(|block| {
                let part = &steps[block * steps.len() / wanted..(block + 1) * steps.len() / wanted];
                let mean = |which: fn(&(f64, f64)) -> f64| part.iter().map(which).sum::<f64>() / part.len() as f64;
                (mean(|step| step.0), mean(|step| step.1))
            })
            .collect();
        let mean = blocks.iter().map(|block| block.1).sum::<f64>() / wanted as f64;
        let values: Vec<f64> = blocks.iter().map(|block| 100.0 * (block.1 / mean - 1.0)).collect();
        // The line rises from -1/2 to 1/2, so that its slope is the total rise.
        let line: Vec<f64> = blocks.iter().map(|block| (block.0 - begin) / seconds - 0.5).collect();
        let mut columns = vec![vec![1.0; wanted], line];
        if seconds >= DAY {
            let angle = |block: &(f64, f64)| std::f64::consts::TAU * block.0 / DAY;
            columns.push(blocks.iter().map(|block| angle(block).cos()).collect());
            columns.push(blocks.iter().map(|block| angle(block).sin()).collect());
        }
        let fit = Fit::new(&columns, &values)?;
        let swing = (seconds >= DAY).then(|| {
            let (a, b) = (fit.values[2], fit.values[3]);
            // The statistic is b' V^-1 b / 2 of the two amplitudes.
            let (aa, ab, bb) = (fit.covariance[2][2], fit.covariance[2][3], fit.covariance[3][3]);
            let f = (bb * a * a - 2.0 * ab * a * b + aa * b * b) / (aa * bb - ab * ab) / 2.0;
            Swing { percent: 2.0 * a.hypot(b), f }
        });
        Some(Self { hours: seconds / 3600.0, percent: fit.values[1], error: fit.covariance[1][1].sqrt(), swing })
    }

    /// Whether the drift is above noise.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.percent.abs() >= LEAST && self.percent.abs() > ERRORS * self.error
    }

    /// Whether the daily variation is above noise.
    #[must_use]
    pub fn swings(&self) -> bool {
        self.swing.is_some_and(|swing| swing.f > WAVE)
    }

    /// The result as a line to print.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { hours, percent, error, swing } = self;
        let direction = if *percent > 0.0 { "slower" } else { "faster" };
        let mut text = match self.is_seen() {
            true => format!(
                "the run got {direction} by {:.1}% (standard error {error:.1}) within {hours:.1} h",
                percent.abs()
            ),
            false => format!("no drift: {percent:+.1}% (standard error {error:.1}) within {hours:.1} h"),
        };
        match swing {
            Some(Swing { percent, f }) if *f > WAVE => {
                text += &format!("; a daily swing of {percent:.1}% (F {f:.1})");
            }
            Some(Swing { f, .. }) => text += &format!("; no daily swing (F {f:.1})"),
            None => {}
        }
        text
    }
}

/// The result of a least-squares fit: the coefficients of the columns, and their covariance.
struct Fit {
    values: Vec<f64>,
    covariance: Vec<Vec<f64>>,
}

impl Fit {
    fn new(columns: &[Vec<f64>], y: &[f64]) -> Option<Self> {
        let count = columns.len();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let normal: Vec<Vec<f64>> = columns.iter().map(|a| columns.iter().map(|b| dot(a, b)).collect()).collect();
        let inverse = inverted(normal)?;
        let right: Vec<f64> = columns.iter().map(|column| dot(column, y)).collect();
        let values: Vec<f64> = inverse.iter().map(|row| dot(row, &right)).collect();
        let fitted = |at: usize| (0..count).map(|column| values[column] * columns[column][at]).sum::<f64>();
        let left: Vec<f64> = y.iter().enumerate().map(|(at, y)| y - fitted(at)).collect();
        let squares = dot(&left, &left);
        let n = y.len() as f64;
        let correlation = if squares > 0.0 { dot(&left[1..], &left[..left.len() - 1]) / squares } else { 0.0 };
        // The fit reduces the observed correlation (Kendall 1954).
        let correlation = (correlation + (1.0 + 3.0 * correlation) / n).clamp(0.0, 0.95);
        let variance = squares / (n - count as f64) * (1.0 + correlation) / (1.0 - correlation);
        let covariance = inverse.iter().map(|row| row.iter().map(|value| value * variance).collect()).collect();
        Some(Self { values, covariance })
    }
}

/// The inverse of a small positive definite matrix, by Gauss-Jordan elimination.
fn inverted(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let size = matrix.len();
    let unit = |row: usize| (0..size).map(move |column| f64::from(u8::from(row == column)));
    for (row, values) in matrix.iter_mut().enumerate() {
        values.extend(unit(row));
    }
    for pivot in 0..size {
        let value = matrix[pivot][pivot];
        if value.abs() < 1e-12 {
            return None;
        }
        matrix[pivot].iter_mut().for_each(|entry| *entry /= value);
        let with = matrix[pivot].clone();
        for (_, values) in matrix.iter_mut().enumerate().filter(|(row, _)| *row != pivot) {
            let factor = values[pivot];
            values.iter_mut().zip(&with).for_each(|(entry, with)| *entry -= factor * with);
        }
    }
    Some(matrix.into_iter().map(|row| row[size..].to_vec()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Simulates steps of a minute with noise of 2%, half of whose variance is correlated over half an hour.
    fn run(hours: f64, drift: f64, swing: f64, seed: u64) -> Vec<(f64, f64)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let keep = (-60.0_f64 / 1800.0).exp();
        let noise = 0.02 * 0.5_f64.sqrt();
        let mut slow = noise * normal();
        let steps = (hours * 60.0) as usize;
        (0..steps)
            .map(|step| {
                let time = 60.0 * step as f64;
                slow = keep * slow + noise * (1.0 - keep * keep).sqrt() * normal();
                let wave = swing / 2.0 * (std::f64::consts::TAU * time / DAY - 1.0).cos();
                (time, 3.0 * (1.0 + drift * step as f64 / steps as f64 + wave + slow + noise * normal()))
            })
            .collect()
    }

    fn seen(hours: f64, drift: f64, swing: f64, what: fn(&Drift) -> bool) -> usize {
        (0..50).filter(|seed| what(&Drift::of(&run(hours, drift, swing, *seed)).unwrap())).count()
    }

    #[test]
    fn drift_is_told_from_noise() {
        let drifts = |hours, drift| seen(hours, drift, 0.0, Drift::is_seen);
        assert!(drifts(8.0, 0.0) <= 2 && drifts(48.0, 0.0) <= 2, "{} {}", drifts(8.0, 0.0), drifts(48.0, 0.0));
        assert!(drifts(8.0, 0.10) >= 45 && drifts(48.0, 0.05) >= 45, "{} {}", drifts(8.0, 0.10), drifts(48.0, 0.05));
        let found = Drift::of(&run(48.0, -0.05, 0.0, 1)).unwrap();
        assert!(found.is_seen() && (-8.0..-3.0).contains(&found.percent), "{found:?}");
        assert!(found.text().starts_with("the run got faster by"), "{}", found.text());
    }

    #[test]
    fn a_daily_swing_is_told_from_noise() {
        let swings = |swing| seen(72.0, 0.0, swing, Drift::swings);
        assert!(swings(0.0) <= 4, "{}", swings(0.0));
        assert!(swings(0.03) >= 45, "{}", swings(0.03));
        let found = Drift::of(&run(72.0, 0.0, 0.03, 1)).unwrap();
        assert!(!found.is_seen() && found.text().contains("a daily swing of"), "{}", found.text());
    }

    #[test]
    fn few_steps_say_nothing() {
        assert_eq!(Drift::of(&[]), None);
        assert_eq!(Drift::of(&run(0.2, 0.0, 0.0, 1)), None);
        assert!(Drift::of(&run(3.0, 0.0, 0.0, 1)).unwrap().swing.is_none());
        // A run without noise.
        let exact: Vec<(f64, f64)> =
            (0..200).map(|step| (60.0 * f64::from(step), 1.0 + f64::from(step) / 1000.0)).collect();
        let found = Drift::of(&exact).unwrap();
        assert!(found.is_seen() && (found.percent - 18.1).abs() < 0.1, "{found:?}");
    }
}
