//! Measures how well scores separate good documents from others, on held-out documents.

use serde::Serialize;
use stats::{Estimate, proportion};

use crate::hash;

/// Shares of kept documents for which precision and recall are given.
pub const SHARES: [f64; 5] = [0.05, 0.1, 0.2, 0.3, 0.5];
/// Number of groups of equal size in which predicted probabilities are compared with labels.
const GROUPS: usize = 5;
/// Number of resamples for the interval.
const RESAMPLES: u64 = 400;

/// Figures over held-out documents.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// Number of documents.
    pub documents: usize,
    /// Number of good ones.
    pub good: usize,
    /// Probability that a good document has a higher score than another one, with its 95% interval by resampling.
    pub auc: (f64, f64, f64),
    /// Share of documents whose score lies on the correct side of 0.5.
    pub agreement: Estimate,
    /// Mean squared error of the probability.
    pub brier: f64,
    /// Precision and recall when only the best documents are kept, by share.
    pub kept: Vec<Kept>,
    /// Calibration: predicted and observed probabilities in groups of equal size, from the lowest scores to the highest.
    pub groups: Vec<Group>,
}

/// Precision and recall of a share.
#[derive(Debug, Clone, Serialize)]
pub struct Kept {
    /// The share of documents that is kept.
    pub share: f64,
    /// Share of good documents among the kept ones.
    pub precision: Estimate,
    /// Share of good documents that are kept.
    pub recall: Estimate,
}

/// A group of documents with similar scores.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// The mean score.
    pub predicted: f64,
    /// The share of good documents.
    pub observed: Estimate,
}

/// Measures scores against their labels; both labels must occur.
#[must_use]
pub fn measure(scored: &[(f64, bool)]) -> Measured {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (documents, good) = (sorted.len(), sorted.iter().filter(|(_, is_good)| *is_good).count());
    let kept = SHARES.iter().map(|share| {
        let count = ((share * documents as f64).round() as usize).max(1);
        let right = sorted[documents - count..].iter().filter(|(_, is_good)| *is_good).count();
        Kept { share: *share, precision: proportion(right, count), recall: proportion(right, good) }
    });
    let groups = sorted.chunks(documents.div_ceil(GROUPS)).map(|group| {
        let right = group.iter().filter(|(_, is_good)| *is_good).count();
        let predicted = group.iter().map(|(score, _)| score).sum::<f64>() / group.len() as f64;
        Group { predicted, observed: proportion(right, group.len()) }
    });
    let agree = sorted.iter().filter(|(score, is_good)| (*score >= 0.5) == *is_good).count();
    let error = |(score, is_good): &(f64, bool)| (score - f64::from(u8::from(*is_good))).powi(2);
    let (low, high) = interval(&sorted);
    Measured {
        documents,
        good,
        auc: (auc(&sorted), low, high),
        agreement: proportion(agree, documents),
        brier: sorted.iter().map(error).sum::<f64>() / documents as f64,
        kept: kept.collect(),
        groups: groups.collect(),
    }
}

/// Area under the ROC curve of scores in ascending order; equal scores count half.
fn auc(sorted: &[(f64, bool)]) -> f64 {
    let (mut others, mut sum, mut good) = (0.0, 0.0, 0.0);
    for same in sorted.chunk_by(|a, b| a.0 == b.0) {
        let right = same.iter().filter(|(_, is_good)| *is_good).count() as f64;
        let wrong = same.len() as f64 - right;
        sum += right * (others + wrong / 2.0);
        (others, good) = (others + wrong, good + right);
    }
    sum / (good * others)
}

/// The 95% interval of the area, by resampling documents.
fn interval(sorted: &[(f64, bool)]) -> (f64, f64) {
    let count = sorted.len() as u64;
    let mut areas: Vec<f64> = (0..RESAMPLES)
        .map(|round| {
            let mut times = vec![0_u32; sorted.len()];
            let state = hash::seeded(round);
            (0..count).for_each(|at| times[(hash::combine(state, at) % count) as usize] += 1);
            let drawn: Vec<(f64, bool)> = (sorted.iter().zip(&times))
                .flat_map(|(one, times)| std::iter::repeat_n(*one, *times as usize))
                .collect();
            auc(&drawn)
        })
        .filter(|area| area.is_finite())
        .collect();
    areas.sort_by(f64::total_cmp);
    let at = |share: f64| areas.get((share * (areas.len() - 1) as f64).round() as usize).copied().unwrap_or(f64::NAN);
    if areas.is_empty() { (f64::NAN, f64::NAN) } else { (at(0.025), at(0.975)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_by_hand() {
        let area = |scored: &[(f64, bool)]| measure(scored).auc.0;
        assert_eq!(area(&[(0.1, false), (0.2, true), (0.3, false), (0.4, true)]), 0.75);
        assert_eq!(area(&[(0.5, false), (0.5, true)]), 0.5);
        assert_eq!(area(&[(0.9, true), (0.1, false), (0.8, true)]), 1.0);
    }

    #[test]
    fn shares_and_groups() {
        // 40 documents: eight of the ten with the highest scores are good, and two with the lowest.
        let scored: Vec<(f64, bool)> =
            (0..40).map(|at| (f64::from(at) / 40.0, (30..40).contains(&at) && at % 5 != 0 || at < 2)).collect();
        let measured = measure(&scored);
        assert_eq!((measured.documents, measured.good), (40, 10));
        let of = |share: f64| measured.kept.iter().find(|kept| kept.share == share).unwrap();
        assert_eq!((of(0.1).precision.value, of(0.1).recall.value), (1.0, 0.4));
        assert_eq!((of(0.5).precision.value, of(0.5).recall.value), (0.4, 0.8));
        let observed: Vec<f64> = measured.groups.iter().map(|group| group.observed.value).collect();
        assert_eq!(observed, [0.25, 0.0, 0.0, 0.125, 0.875]);
        let (area, low, high) = measured.auc;
        assert!(low < area && area < high && low > 0.5, "{:?}", measured.auc);
    }
}
