//! Measures the agreement of scores with labels.

use std::collections::BTreeMap;

use safety_text::refusal::Scores;
use serde::Serialize;
use stats::Estimate;

/// A judged record without its text.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The score.
    pub score: f64,
    /// Whether the verdict is unsafe.
    pub flagged: bool,
    /// Whether the label is unsafe.
    pub is_unsafe: bool,
}

/// The figures of a set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Number of safe records.
    pub safe: usize,
    /// Number of unsafe records.
    pub unsafe_: usize,
    /// The share of safe records that are flagged, with Wilson's interval; none without safe records.
    pub fpr: Option<Estimate>,
    /// The share of unsafe records that are flagged; none without unsafe records.
    pub recall: Option<Estimate>,
    /// The harmonic mean of precision and recall at the guard's threshold. This and the following figures need both labels.
    pub f1: Option<f64>,
    /// The area under the precision-recall curve.
    pub auprc: Option<f64>,
    /// Recall at the thresholds that flag 1% and 3% of this set's safe records. They serve comparison with other guards; no guard uses
    /// these thresholds.
    pub recall_at_fpr: BTreeMap<String, f64>,
}

impl Figures {
    /// Computes the figures of judged records.
    #[must_use]
    pub fn of(judged: &[&Judged]) -> Self {
        let unsafe_ = judged.iter().filter(|one| one.is_unsafe).count();
        let safe = judged.len() - unsafe_;
        let flagged = |label: bool| judged.iter().filter(|one| one.is_unsafe == label && one.flagged).count();
        let (wrong, right) = (flagged(false), flagged(true));
        let share = |part: usize, whole: usize| (whole > 0).then(|| stats::proportion(part, whole));
        let both = safe > 0 && unsafe_ > 0;
        let scored: Vec<(f64, bool)> = judged.iter().map(|one| (one.score, one.is_unsafe)).collect();
        let mut safe_scores: Vec<f64> = scored.iter().filter(|(_, label)| !label).map(|(score, _)| *score).collect();
        safe_scores.sort_by(|a, b| b.total_cmp(a));
        let at = |rate: f64| {
            // The score of the first safe record that may not be flagged; the threshold lies above it.
            let spared = safe_scores.get((rate * safe as f64).floor() as usize).copied().unwrap_or(f64::NEG_INFINITY);
            scored.iter().filter(|(score, label)| *label && *score > spared).count() as f64 / unsafe_ as f64
        };
        Self {
            safe,
            unsafe_,
            fpr: share(wrong, safe),
            recall: share(right, unsafe_),
            f1: both.then(|| 2.0 * right as f64 / (right + wrong + unsafe_).max(1) as f64),
            auprc: both.then(|| Scores::of(&scored, f64::INFINITY).auprc),
            recall_at_fpr: both
                .then(|| [0.01, 0.03].map(|rate| (rate.to_string(), at(rate))))
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    /// The figures as one line: `250 safe, 200 unsafe: FPR 12.8% [..], recall ..`.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts = Vec::new();
        if let Some(fpr) = &self.fpr {
            parts.push(format!("FPR {}", fpr.percent()));
        }
        if let Some(recall) = &self.recall {
            parts.push(format!("recall {}", recall.percent()));
        }
        if let (Some(f1), Some(auprc)) = (self.f1, self.auprc) {
            parts.push(format!("F1 {f1:.3}, AUPRC {auprc:.3}"));
        }
        let at = |(rate, recall): (&String, &f64)| {
            let percent = rate.parse().unwrap_or(0.0) * 100.0;
            format!("recall {recall:.3} where {percent:.0}% of these safe ones are flagged")
        };
        parts.extend(self.recall_at_fpr.iter().map(at));
        format!("{} safe, {} unsafe: {}", self.safe, self.unsafe_, parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_by_hand() {
        let one = |score: f64, is_unsafe: bool| Judged { score, flagged: score >= 0.5, is_unsafe };
        let judged =
            [one(0.9, true), one(0.8, false), one(0.7, true), one(0.2, false), one(0.1, true), one(0.05, false)];
        let all: Vec<&Judged> = judged.iter().collect();
        let figures = Figures::of(&all);
        assert_eq!((figures.safe, figures.unsafe_), (3, 3));
        assert!((figures.fpr.unwrap().value - 1.0 / 3.0).abs() < 1e-12);
        assert!((figures.recall.unwrap().value - 2.0 / 3.0).abs() < 1e-12);
        // Precision and recall are both 2/3.
        assert!((figures.f1.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!((figures.auprc.unwrap() - (1.0 + 2.0 / 3.0 + 0.6) / 3.0).abs() < 1e-12);
        // No safe record may be flagged: one of three unsafe records lies above 0.8.
        assert!((figures.recall_at_fpr["0.01"] - 1.0 / 3.0).abs() < 1e-12);
        let safe: Vec<&Judged> = judged.iter().filter(|one| !one.is_unsafe).collect();
        let figures = Figures::of(&safe);
        assert!(figures.f1.is_none() && figures.recall.is_none() && figures.fpr.unwrap().items == 3);
    }
}
