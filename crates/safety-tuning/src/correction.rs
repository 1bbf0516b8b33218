//! Corrects a rate for the judge's own error.
//!
//! A judge finds a share `se` of the positives (sensitivity) and rejects a share `sp` of the negatives (specificity). For a true rate `p`
//! it reports `q = p se + (1 - p)(1 - sp)`. Rogan and Gladen (1978, "Estimating prevalence from the results of a screening test") invert
//! this:
//!
//! ```text
//! p = (q + sp - 1) / (se + sp - 1)
//! ```
//!
//! The interval is that of Lang and Reiczigel (2014, "Confidence limits for prevalence of disease adjusted for estimated sensitivity
//! and specificity"), which takes into account that `se` and `sp` are known from a few labels only: with `z = 1.96` and
//! `n' = n + z^2`, `q' = (n q + z^2 / 2) / n'`, `m' = m + 2`, `s' = (m s + 1) / m'` for `se` and `sp` with `m` labels each,
//!
//! ```text
//! p'  = (q' + sp' - 1) / (se' + sp' - 1)
//! d   = 2 z^2 (p' se' (1 - se') / m_se' - (1 - p') sp' (1 - sp') / m_sp')
//! s   = sqrt(q' (1 - q') / n' + p'^2 se' (1 - se') / m_se' + (1 - p')^2 sp' (1 - sp') / m_sp') / (se' + sp' - 1)
//! p' + d - z s   to   p' + d + z s,   cut at 0 and 1
//! ```

use serde::{Deserialize, Serialize};
use stats::interval::Z;

/// A judge's results on labelled answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JudgeError {
    /// Number of positives: answers with the property that the judge looks for, according to a person.
    pub positives: usize,
    /// Number of these that the judge found.
    pub found: usize,
    /// Number of negatives.
    pub negatives: usize,
    /// Number of these that the judge rejected.
    pub left: usize,
}

/// A corrected rate with its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    /// The rate, between 0 and 1.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Corrected {
    /// The figure as text: `12.3% [10.1, 14.9]`.
    #[must_use]
    pub fn percent(&self) -> String {
        format!("{:.1}% [{:.1}, {:.1}]", 100.0 * self.value, 100.0 * self.low, 100.0 * self.high)
    }
}

/// The minimum of `se + sp - 1`: for a smaller value the correction would divide by noise.
const LEAST: f64 = 0.1;

impl JudgeError {
    /// Adds a labelled answer.
    pub fn add(&mut self, is: bool, judged: bool) {
        if is {
            self.positives += 1;
            self.found += usize::from(judged);
        } else {
            self.negatives += 1;
            self.left += usize::from(!judged);
        }
    }

    /// The error of the judge for the complementary property.
    #[must_use]
    pub fn opposite(&self) -> Self {
        Self { positives: self.negatives, found: self.left, negatives: self.positives, left: self.found }
    }

    /// The share of positives that the judge finds, with Wilson's interval.
    #[must_use]
    pub fn sensitivity(&self) -> stats::Estimate {
        stats::proportion(self.found, self.positives)
    }

    /// The share of negatives that the judge rejects.
    #[must_use]
    pub fn specificity(&self) -> stats::Estimate {
        stats::proportion(self.left, self.negatives)
    }

    /// The share of labels with which the judge agrees.
    #[must_use]
    pub fn agreement(&self) -> stats::Estimate {
        stats::proportion(self.found + self.left, self.positives + self.negatives)
    }

    /// The true rate for the reported rate `seen` among `n` answers. `None` without labels of both kinds, without answers, or if the
    /// judge is almost random.
    #[must_use]
    pub fn correct(&self, seen: f64, n: usize) -> Option<Corrected> {
        if self.positives == 0 || self.negatives == 0 || n == 0 {
            return None;
        }
        let (se, sp) = (self.sensitivity().value, self.specificity().value);
        if se + sp - 1.0 < LEAST {
            return None;
        }
        let value = ((seen + sp - 1.0) / (se + sp - 1.0)).clamp(0.0, 1.0);
        let z2 = Z * Z;
        let n1 = n as f64 + z2;
        let q = (n as f64 * seen + z2 / 2.0) / n1;
        let plus =
            |share: f64, labels: usize| (((labels as f64) * share + 1.0) / (labels as f64 + 2.0), labels as f64 + 2.0);
        let ((se, m_se), (sp, m_sp)) = (plus(se, self.positives), plus(sp, self.negatives));
        let j = se + sp - 1.0;
        if j <= 0.0 {
            return None;
        }
        let p = (q + sp - 1.0) / j;
        let (v_se, v_sp) = (se * (1.0 - se) / m_se, sp * (1.0 - sp) / m_sp);
        let shift = 2.0 * z2 * (p * v_se - (1.0 - p) * v_sp);
        let s = (q * (1.0 - q) / n1 + p * p * v_se + (1.0 - p) * (1.0 - p) * v_sp).sqrt() / j;
        let cut = |x: f64| x.clamp(0.0, 1.0);
        let (low, high) = (cut(p + shift - Z * s), cut(p + shift + Z * s));
        Some(Corrected { value, low: low.min(value), high: high.max(value) })
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_perfect_judge_needs_no_correction() {
        let judge = JudgeError { positives: 100_000, found: 100_000, negatives: 100_000, left: 100_000 };
        let corrected = judge.correct(0.3, 200).unwrap();
        let raw = stats::proportion(60, 200);
        assert!((corrected.value - 0.3).abs() < 1e-12);
        assert!(
            (corrected.low - raw.low).abs() < 0.003 && (corrected.high - raw.high).abs() < 0.003,
            "{corrected:?} {raw:?}"
        );
    }

    #[test]
    fn rogan_and_gladen_by_hand() {
        // se 0.8, sp 0.9: a true rate of 0.5 is seen as 0.5 * 0.8 + 0.5 * 0.1 = 0.45.
        let judge = JudgeError { positives: 100, found: 80, negatives: 100, left: 90 };
        let corrected = judge.correct(0.45, 400).unwrap();
        assert!((corrected.value - 0.5).abs() < 1e-12, "{corrected:?}");
        assert!(
            corrected.low < 0.43 && corrected.low > 0.35 && corrected.high > 0.57 && corrected.high < 0.65,
            "{corrected:?}"
        );
        // The rate is below that of the false alarms alone: the corrected rate is 0.
        assert_eq!(judge.correct(0.02, 400).unwrap().value, 0.0);
        // The complementary judge gives the complementary rate.
        let opposite = judge.opposite().correct(0.55, 400).unwrap();
        assert!((opposite.value - 0.5).abs() < 1e-12 && (opposite.low - (1.0 - corrected.high)).abs() < 1e-9);
    }

    #[test]
    fn blind_judges_and_missing_labels_correct_nothing() {
        let blind = JudgeError { positives: 50, found: 25, negatives: 50, left: 26 };
        assert!(blind.correct(0.5, 100).is_none());
        assert!(JudgeError { positives: 50, found: 50, ..JudgeError::default() }.correct(0.5, 100).is_none());
        assert!(JudgeError { positives: 5, found: 5, negatives: 5, left: 5 }.correct(0.5, 0).is_none());
    }

    #[test]
    fn the_interval_covers_the_true_rate() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        for (p, se, sp, n, labels) in
            [(0.05, 0.85, 0.95, 200, 60), (0.4, 0.7, 0.9, 300, 40), (0.9, 0.95, 0.8, 100, 100)]
        {
            let (mut covered, mut raw) = (0, 0);
            let draws = 1000;
            for _ in 0..draws {
                let mut count = |share: f64, n: usize| (0..n).filter(|_| random.random::<f64>() < share).count();
                let judge = JudgeError {
                    positives: labels,
                    found: count(se, labels),
                    negatives: labels,
                    left: count(sp, labels),
                };
                let seen = count(p * se + (1.0 - p) * (1.0 - sp), n);
                let Some(corrected) = judge.correct(seen as f64 / n as f64, n) else { continue };
                covered += usize::from(corrected.low <= p && p <= corrected.high);
                let estimate = stats::proportion(seen, n);
                raw += usize::from(estimate.low <= p && p <= estimate.high);
            }
            assert!(covered > draws * 93 / 100, "{p} {se} {sp}: {covered} of {draws}");
            assert!(raw < draws * 90 / 100, "the raw rate covers as well ({raw}): the case shows nothing");
        }
    }
}
