//! Selects the samples of a problem and its preference pairs, as a pure function of their evidence.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The selection criterion.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Select {
    /// The samples with the highest reward
    Rm,
    /// The samples that pass the verifier
    Verifier,
    /// The samples that pass the verifier, highest reward first
    #[value(name = "verifier+rm")]
    #[serde(rename = "verifier+rm")]
    VerifierRm,
    /// The samples with the judge's maximum score
    Judge,
}

impl Select {
    /// Whether a reward model is needed.
    #[must_use]
    pub fn needs_reward(self) -> bool {
        matches!(self, Self::Rm | Self::VerifierRm)
    }
}

/// The evidence of one sample.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence<'a> {
    /// The answer; `None` if the model gave none.
    pub response: Option<&'a str>,
    /// Whether it ended by itself.
    pub ended: bool,
    /// Whether it is in the language of the prompt, or its language is unknown.
    pub language_fits: bool,
    /// The verifier's result on the outcome: right, wrong, or unknown (no verifier, or verification failed).
    pub verified: Option<bool>,
    /// Whether a step is wrong, if the verifier checks steps.
    pub wrong_step: bool,
    /// The score of the reward model.
    pub reward: Option<f64>,
    /// The judge's points, and whether they are its maximum.
    pub judged: Option<(u64, bool)>,
}

/// The selection rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// The selection criterion.
    pub select: Select,
    /// Maximum number of selected samples of a problem.
    pub per_problem: usize,
    /// Maximum number of pairs of a problem.
    pub pairs: usize,
    /// Whether a right outcome with a wrong step counts as right; otherwise such a sample is neither selected nor
    /// rejected.
    pub outcome_only: bool,
}

/// The selection of a problem's samples, as indices.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Selected samples, best first.
    pub selected: Vec<usize>,
    /// Pairs of a better and a worse sample.
    pub pairs: Vec<(usize, usize)>,
}

/// Selects among a problem's samples. Of equal texts only the first counts, on both sides. A sample is neither
/// selected nor used in a pair if it was truncated at the maximum length, is in another language than its prompt, or
/// could not be judged.
#[must_use]
pub fn select(samples: &[Evidence], rules: &Rules) -> Selection {
    let mut seen = std::collections::HashSet::new();
    let usable: Vec<usize> = (0..samples.len())
        .filter(|&i| {
            let sample = &samples[i];
            let text = sample.response.map(str::trim).filter(|text| !text.is_empty());
            sample.ended && sample.language_fits && text.is_some_and(|text| seen.insert(text))
        })
        .collect();
    let reward = |i: usize| samples[i].reward.unwrap_or(f64::NEG_INFINITY);
    // Stable sorts keep equal scores in the order of sampling.
    let best_first = |mut list: Vec<usize>| {
        list.sort_by(|&a, &b| reward(b).total_cmp(&reward(a)));
        list
    };
    let counts = |i: usize, right: bool| {
        samples[i].verified == Some(right) && (!right || rules.outcome_only || !samples[i].wrong_step)
    };
    let of = |right: bool| usable.iter().copied().filter(|&i| counts(i, right)).collect::<Vec<_>>();
    let (better, worse) = match rules.select {
        Select::Verifier => (of(true), of(false)),
        Select::VerifierRm => {
            let scored =
                |list: Vec<usize>| best_first(list.into_iter().filter(|&i| samples[i].reward.is_some()).collect());
            let mut worse = scored(of(false));
            worse.reverse();
            (scored(of(true)), worse)
        }
        Select::Rm => {
            let scored: Vec<usize> = usable.iter().copied().filter(|&i| samples[i].reward.is_some()).collect();
            let better = best_first(scored);
            let worse = better.iter().rev().copied().collect();
            (better, worse)
        }
        Select::Judge => {
            let best = usable.iter().copied().filter(|&i| samples[i].judged.is_some_and(|(_, is_maximum)| is_maximum));
            let mut rest: Vec<(u64, usize)> = usable
                .iter()
                .filter_map(|&i| Some((samples[i].judged.filter(|(_, is_maximum)| !is_maximum)?.0, i)))
                .collect();
            rest.sort_by_key(|&(points, _)| points);
            (best.collect(), rest.into_iter().map(|(_, i)| i).collect())
        }
    };
    // Top and bottom of one list must not meet or cross. Of two lists, the shorter one starts again.
    let count = if rules.select == Select::Rm { better.len() } else { better.len().max(worse.len()) };
    let pairs = better.iter().copied().cycle().zip(worse.iter().copied().cycle()).take(count.min(rules.pairs));
    let pairs = pairs.filter(|&(a, b)| rules.select != Select::Rm || reward(a) > reward(b)).collect();
    Selection { selected: better.into_iter().take(rules.per_problem).collect(), pairs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(response: &str) -> Evidence<'_> {
        Evidence { response: Some(response), ended: true, language_fits: true, ..Evidence::default() }
    }

    fn rules(select: Select) -> Rules {
        Rules { select, per_problem: 2, pairs: 2, outcome_only: false }
    }

    #[test]
    fn the_verifier_separates_right_from_wrong() {
        let with = |text, verified| Evidence { verified, ..sample(text) };
        let samples = [
            with("a", Some(false)),
            with("b", Some(true)),
            with(" b\n", Some(true)),
            with("c", None),
            Evidence { ended: false, ..with("d", Some(true)) },
            Evidence { language_fits: false, ..with("e", Some(true)) },
            with("f", Some(true)),
            with("g", Some(true)),
            Evidence { response: None, ..with("", Some(false)) },
            with("h", Some(false)),
            with("i", Some(false)),
        ];
        let selection = select(&samples, &rules(Select::Verifier));
        assert_eq!(selection, Selection { selected: vec![1, 6], pairs: vec![(1, 0), (6, 9)] });
        assert_eq!(select(&samples[..1], &rules(Select::Verifier)), Selection::default());
    }

    #[test]
    fn a_right_answer_with_a_wrong_step_is_on_no_side_unless_only_the_outcome_counts() {
        let with = |text, verified, wrong_step| Evidence { verified: Some(verified), wrong_step, ..sample(text) };
        let samples = [with("a", true, true), with("b", false, true), with("c", false, false), with("d", false, false)];
        assert_eq!(select(&samples, &rules(Select::Verifier)), Selection::default());
        let outcome = select(&samples, &Rules { outcome_only: true, pairs: 3, ..rules(Select::Verifier) });
        // The one right answer is paired with each wrong one.
        assert_eq!(outcome, Selection { selected: vec![0], pairs: vec![(0, 1), (0, 2), (0, 3)] });
    }

    #[test]
    fn the_reward_model_orders() {
        let with = |text, reward, verified| Evidence { reward, verified, ..sample(text) };
        let samples = [
            with("a", Some(0.5), Some(true)),
            with("b", Some(2.0), Some(false)),
            with("c", Some(-1.0), Some(false)),
            with("d", Some(1.0), Some(true)),
            with("e", None, Some(true)),
        ];
        let both = select(&samples, &rules(Select::VerifierRm));
        assert_eq!(both, Selection { selected: vec![3, 0], pairs: vec![(3, 2), (0, 1)] });
        let rm = select(&samples, &rules(Select::Rm));
        assert_eq!(rm, Selection { selected: vec![1, 3], pairs: vec![(1, 2), (3, 0)] });
        // Two samples make one pair, not two that contradict each other; equal scores make none.
        assert_eq!(select(&samples[..2], &rules(Select::Rm)).pairs, [(1, 0)]);
        let equal = [with("a", Some(1.0), None), with("b", Some(1.0), None)];
        assert!(select(&equal, &rules(Select::Rm)).pairs.is_empty());
    }

    #[test]
    fn the_judge_selects_its_maximum() {
        let with = |text, judged| Evidence { judged, ..sample(text) };
        let samples =
            [with("a", Some((3, true))), with("b", Some((2, false))), with("c", Some((0, false))), with("d", None)];
        let selection = select(&samples, &rules(Select::Judge));
        assert_eq!(selection, Selection { selected: vec![0], pairs: vec![(0, 2), (0, 1)] });
    }
}
