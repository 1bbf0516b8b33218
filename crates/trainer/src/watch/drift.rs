//! Whether a run gets slower, or follows the time of the day, and whether that is more than noise.
//!
//! The time for a unit of work is averaged over blocks, of ten minutes in long runs. A line, and with a day of data one wave a day,
//! is fitted by least squares. Times of neighbouring blocks are alike (a machine is busy or hot for a while), so the errors are
//! widened by `(1 + r) / (1 - r)` of the variance, with the correlation `r` of neighbouring residuals.

use serde::{Deserialize, Serialize};

/// Seconds of a block in long runs.
const BLOCK: f64 = 600.0;
/// Blocks that short runs are cut into.
const BLOCKS: usize = 48;
/// Without so many nothing is said.
const ENOUGH: usize = 24;
/// Steps of a block, at least.
const STEPS: usize = 4;
/// And of a shorter run neither: it has hardly begun.
const SHORTEST: f64 = 1800.0;
const DAY: f64 = 86_400.0;
/// A drift is so many standard errors.
const ERRORS: f64 = 4.0;
/// And a percent at least.
const LEAST: f64 = 1.0;
/// The F statistic of a wave that is there; 1% of waves of noise have as much.
const WAVE: f64 = 4.6;

/// How the time for a unit of work changed over a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Hours from the first step to the last.
    pub hours: f64,
    /// By how many percent it rose over them: negative where the run got faster.
    pub percent: f64,
    /// The standard error of that.
    pub error: f64,
    /// The swing over a day, where there is a day of data.
    pub swing: Option<Swing>,
}

/// A wave of one day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Swing {
    /// Percent, from the fastest hour to the slowest.
    pub percent: f64,
    /// F statistic against no wave.
    pub f: f64,
}

impl Drift {
    /// Of steps at times, in seconds, with their time for a unit of work; none where there are too few.
    #[must_use]
    pub fn of(steps: &[(f64, f64)]) -> Option<Self> {
        let (begin, end) = (steps.first()?.0, steps.last()?.0);
        let seconds = end - begin;
        let wanted = BLOCKS.max((seconds / BLOCK) as usize).min(steps.len() / STEPS);
        if wanted < ENOUGH || seconds < SHORTEST {
            return None;
        }
        // A block has the same number of steps as the others: pauses between steps are no data.
        let blocks: Vec<(f64, f64)> = (0..wanted)
            .map(|block| {
                let part = &steps[block * steps.len() / wanted..(block + 1) * steps.len() / wanted];
                let mean = |which: fn(&(f64, f64)) -> f64| part.iter().map(which).sum::<f64>() / part.len() as f64;
                (mean(|step| step.0), mean(|step| step.1))
            })
            .collect();
        let mean = blocks.iter().map(|block| block.1).sum::<f64>() / wanted as f64;
        let values: Vec<f64> = blocks.iter().map(|block| 100.0 * (block.1 / mean - 1.0)).collect();
        // From -1/2 at the start to 1/2 at the end, so that the slope is the rise over all.
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
            // b' V^-1 b / 2 of the two amplitudes.
            let (aa, ab, bb) = (fit.covariance[2][2], fit.covariance[2][3], fit.covariance[3][3]);
            let f = (bb * a * a - 2.0 * ab * a * b + aa * b * b) / (aa * bb - ab * ab) / 2.0;
            Swing { percent: 2.0 * a.hypot(b), f }
        });
        Some(Self { hours: seconds / 3600.0, percent: fit.values[1], error: fit.covariance[1][1].sqrt(), swing })
    }

    /// Whether the run got slower or faster by more than noise.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.percent.abs() >= LEAST && self.percent.abs() > ERRORS * self.error
    }

    /// Whether there is a daily swing above noise.
    #[must_use]
    pub fn swings(&self) -> bool {
        self.swing.is_some_and(|swing| swing.f > WAVE)
    }

    /// A line for people.
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

/// A least-squares fit: values of the columns, and their covariance.
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
        // The fit takes some of the correlation away (Kendall 1954).
        let correlation = (correlation + (1.0 + 3.0 * correlation) / n).clamp(0.0, 0.95);
        let variance = squares / (n - count as f64) * (1.0 + correlation) / (1.0 - correlation);
        let covariance = inverse.iter().map(|row| row.iter().map(|value| value * variance).collect()).collect();
        Some(Self { values, covariance })
    }
}

/// The inverse of a small positive definite matrix, by Gauss and Jordan.
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

    /// Steps of a minute with noise of 2%, half of its variance in a wander of half an hour.
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
        // Without any noise.
        let exact: Vec<(f64, f64)> =
            (0..200).map(|step| (60.0 * f64::from(step), 1.0 + f64::from(step) / 1000.0)).collect();
        let found = Drift::of(&exact).unwrap();
        assert!(found.is_seen() && (found.percent - 18.1).abs() < 0.1, "{found:?}");
    }
}
