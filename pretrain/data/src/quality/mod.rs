//! Quality classifiers (the Llama 3 paper, section 3.1.1): a judge's scores or reference documents serve as labels for a linear model
//! over hashed n-grams, whose scores select a share of the documents.
//!
//! [`judge`] asks a model; [`train`] trains and measures; [`score`] scores files; the step `quality` of a recipe keeps the best
//! share of a corpus.

pub mod judge;
mod measure;
pub mod model;
pub mod requirements;
pub mod score;
mod select;
pub mod train;

pub use model::Classifier;

/// Number of steps into which scores are quantised.
pub const STEPS: u64 = 65_535;

/// A score from 0 to 1 as a whole number up to [`STEPS`].
#[must_use]
pub fn step_of(score: f64) -> u64 {
    (score.clamp(0.0, 1.0) * STEPS as f64).round() as u64
}

/// The lowest score, as a step, that keeps at least this share of the documents. `counts` has the number of documents for each step.
/// Documents with equal scores are kept or dropped together, so the kept share can be larger.
#[must_use]
pub fn threshold(counts: &[u64], share: f64) -> u64 {
    let all: u64 = counts.iter().sum();
    let wanted = (share * all as f64 - 1e-9).ceil().max(0.0) as u64;
    let mut kept = 0;
    for (step, count) in counts.iter().enumerate().rev() {
        if kept >= wanted {
            return step as u64 + 1;
        }
        kept += count;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_keeps_the_share() {
        let counts = [4, 0, 3, 2, 1];
        for (share, step) in [(0.0, 5), (0.1, 4), (0.11, 3), (0.3, 3), (0.31, 2), (0.6, 2), (0.61, 0), (1.0, 0)] {
            assert_eq!(threshold(&counts, share), step, "{share}");
        }
        assert_eq!((step_of(0.0), step_of(1.0), step_of(2.0)), (0, STEPS, STEPS));
    }
}
