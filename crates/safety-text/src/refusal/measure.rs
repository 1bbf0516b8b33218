//! Agreement of a refusal model with human labels: by cross-validation over groups, and with a calibration from a few labels.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Calibration, Labelled, RefusalError, Refusals};

/// Agreement with labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Scores {
    /// Number of answers.
    pub answers: usize,
    /// Number of answers labelled as refusals.
    pub refusals: usize,
    /// Share of answers whose verdict equals their label.
    pub agreement: f64,
    /// Precision: share of labelled refusals among the predicted refusals.
    pub precision: f64,
    /// Recall: share of predicted refusals among the labelled refusals.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Area under the precision-recall curve: sum of precision times gained recall over all thresholds.
    pub auprc: f64,
}

impl Scores {
    /// Computes the agreement of scores with labels. A score of at least `threshold` is a predicted refusal.
    #[must_use]
    pub fn of(scored: &[(f64, bool)], threshold: f64) -> Self {
        let count = |is: fn(bool, bool) -> bool| {
            scored.iter().filter(|(score, refusal)| is(*score >= threshold, *refusal)).count()
        };
        let (right, found, refusals) = (count(|s, r| s && r), count(|s, _| s), count(|_, r| r));
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let (precision, recall) = (share(right, found), share(right, refusals));
        Self {
            answers: scored.len(),
            refusals,
            agreement: share(count(|s, r| s == r), scored.len()),
            precision,
            recall,
            f1: share(2 * right, found + refusals),
            auprc: auprc(scored),
        }
    }
}

fn auprc(scored: &[(f64, bool)]) -> f64 {
    let mut sorted = scored.to_vec();
    sorted.sort_by(|one, other| other.0.total_cmp(&one.0));
    let all = sorted.iter().filter(|label| label.1).count().max(1);
    let (mut seen, mut right, mut area) = (0, 0, 0.0);
    // Equal scores form one threshold.
    for same in sorted.chunk_by(|one, other| one.0 == other.0) {
        let gained = same.iter().filter(|label| label.1).count();
        seen += same.len();
        right += gained;
        area += right as f64 / seen as f64 * gained as f64 / all as f64;
    }
    area
}

/// Cross-validation, with scores by source. Each fold is judged by a model that was trained on the other folds and on `more`.
/// Rows of one group are in the same fold, whatever their source.
///
/// # Errors
/// When the training set of a fold has only one kind of label.
pub fn fold_scores(
    rows: &[Labelled],
    more: &[Labelled],
    folds: usize,
    c: f64,
    seed: u64,
) -> Result<BTreeMap<String, Scores>, RefusalError> {
    let group = |at: usize| rows[at].group.clone().unwrap_or_else(|| format!("row {at}"));
    let mut groups: Vec<String> = (0..rows.len()).map(group).collect();
    groups.sort();
    groups.dedup();
    groups.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let fold: BTreeMap<&String, usize> = groups.iter().enumerate().map(|(at, group)| (group, at % folds)).collect();
    let mut scored: BTreeMap<String, Vec<(f64, bool)>> = BTreeMap::new();
    for held_out in 0..folds {
        let is_held_out = |at: usize| fold[&group(at)] == held_out;
        let training: Vec<Labelled> =
            (0..rows.len()).filter(|&at| !is_held_out(at)).map(|at| rows[at].clone()).chain(more.to_vec()).collect();
        let model = Refusals::train(&training, c)?;
        for (_, row) in rows.iter().enumerate().filter(|(at, _)| is_held_out(*at)) {
            let source = row.source.clone().unwrap_or_else(|| "unnamed".into());
            scored.entry(source).or_default().push((model.margin(&row.answer), row.refusal));
        }
    }
    Ok(scored.into_iter().map(|(source, scored)| (source, Scores::of(&scored, 0.0))).collect())
}

/// Mean scores with a calibration. In each of `draws` rounds, `labels` answers are drawn, the model is calibrated on them and
/// judged on the others. Draws without both kinds of label are repeated.
///
/// # Errors
/// When the rows have only one kind of label, or `labels` is below 2 or not below the number of rows.
pub fn calibrated_scores(
    model: &Refusals,
    rows: &[Labelled],
    labels: usize,
    draws: usize,
    seed: u64,
) -> Result<Scores, RefusalError> {
    let mut scored: Vec<(f64, bool)> = rows.iter().map(|row| (model.margin(&row.answer), row.refusal)).collect();
    if scored.iter().all(|label| label.1) || scored.iter().all(|label| !label.1) || labels < 2 || labels >= rows.len() {
        return Err(RefusalError(format!(
            "{labels} of {} labels cannot be drawn with both kinds among them",
            rows.len()
        )));
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut mean = Scores::default();
    for _ in 0..draws {
        let calibration = loop {
            // Fisher-Yates shuffle from the front.
            for at in 0..scored.len() - 1 {
                let other = random.random_range(at..scored.len());
                scored.swap(at, other);
            }
            if let Ok(calibration) = Calibration::fit(&scored[..labels]) {
                break calibration;
            }
        };
        let rest: Vec<(f64, bool)> = scored[labels..]
            .iter()
            .map(|&(margin, refusal)| (calibration.a * margin + calibration.b, refusal))
            .collect();
        let scores = Scores::of(&rest, 0.0);
        let share = 1.0 / draws as f64;
        mean.answers = scores.answers;
        mean.refusals = rows.iter().filter(|row| row.refusal).count();
        for (mean, value) in [
            (&mut mean.agreement, scores.agreement),
            (&mut mean.precision, scores.precision),
            (&mut mean.recall, scores.recall),
            (&mut mean.f1, scores.f1),
            (&mut mean.auprc, scores.auprc),
        ] {
            *mean += share * value;
        }
    }
    Ok(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let scored = [(3.0, true), (2.0, false), (1.0, true), (-1.0, false), (-2.0, true)];
        let scores = Scores::of(&scored, 0.0);
        assert_eq!((scores.answers, scores.refusals), (5, 3));
        assert!((scores.agreement - 0.6).abs() < 1e-12);
        assert!((scores.precision - 2.0 / 3.0).abs() < 1e-12 && (scores.recall - 2.0 / 3.0).abs() < 1e-12);
        // 1/3 * 1 + 1/3 * 2/3 + 1/3 * 3/5
        assert!((scores.auprc - (1.0 + 2.0 / 3.0 + 0.6) / 3.0).abs() < 1e-12);
        // Ties form one threshold: precision 1/2 at recall 1.
        assert!((Scores::of(&[(1.0, true), (1.0, false)], 0.0).auprc - 0.5).abs() < 1e-12);
    }
}
