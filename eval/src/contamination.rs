//! Measures whether contamination raises a benchmark's figure (the paper's section 5.1.4, after Singh et al. 2024).
//!
//! [`text_quality::ngrams`] measures the share of each item that occurs in training data. The share from which an
//! item counts as contaminated differs between benchmarks. For each benchmark, the paper picks the threshold with the
//! largest significant gain, and so does [`analyse`].

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use stats::interval::{Z, proportion};

use crate::record::Sample;

/// The effect of contamination on a benchmark's figure at one threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtThreshold {
    /// The share from which an item counts as contaminated.
    pub threshold: f64,
    /// Number of contaminated items.
    pub contaminated: usize,
    /// The share of right answers among the other items.
    pub clean: Option<f64>,
    /// The figure of all items minus that of the clean ones: the effect of contamination.
    pub gain: Option<f64>,
    /// Whether contaminated and clean items differ significantly (two proportions, |z| > 1.959964).
    pub significant: bool,
}

/// The contamination of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contamination {
    /// The benchmark.
    pub task: String,
    /// Number of items.
    pub items: usize,
    /// Number of items whose whole question is a text of the training data.
    pub exact: usize,
    /// The share of right answers among all items.
    pub accuracy: f64,
    /// The results for each threshold.
    pub thresholds: Vec<AtThreshold>,
    /// The threshold with the largest significant gain, if there is one.
    pub chosen: Option<f64>,
}

/// Analyses a run's samples with their overlaps, by benchmark.
#[must_use]
pub fn analyse(samples: &[&Sample], overlaps: &[(f64, bool)]) -> Vec<Contamination> {
    let mut tasks: BTreeMap<&str, Vec<(bool, f64, bool)>> = BTreeMap::new();
    for (sample, (share, whole)) in samples.iter().zip(overlaps) {
        tasks.entry(&sample.task).or_default().push((sample.passed, *share, *whole));
    }
    tasks.into_iter().map(|(task, items)| one_task(task, &items)).collect()
}

fn one_task(task: &str, items: &[(bool, f64, bool)]) -> Contamination {
    let right = |list: &[&(bool, f64, bool)]| list.iter().filter(|(passed, ..)| *passed).count();
    let accuracy = items.iter().filter(|(passed, ..)| *passed).count() as f64 / items.len() as f64;
    let at = |threshold: f64| {
        let (dirty, clean): (Vec<_>, Vec<_>) = items.iter().partition(|(_, share, _)| *share >= threshold);
        let rate = |list: &[&(bool, f64, bool)]| (!list.is_empty()).then(|| proportion(right(list), list.len()).value);
        let (d, c) = (rate(&dirty), rate(&clean));
        let z = d.zip(c).map(|(d, c)| {
            let pooled = accuracy * (1.0 - accuracy) * (1.0 / dirty.len() as f64 + 1.0 / clean.len() as f64);
            (d - c) / pooled.sqrt()
        });
        AtThreshold {
            threshold,
            contaminated: dirty.len(),
            clean: c,
            gain: c.map(|c| accuracy - c),
            significant: z.is_some_and(|z| z.abs() > Z),
        }
    };
    let thresholds: Vec<AtThreshold> = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0].map(at).to_vec();
    let significant = thresholds.iter().filter(|t| t.significant && t.gain.is_some_and(|gain| gain > 0.0));
    let chosen =
        significant.max_by(|a, b| a.gain.unwrap_or(0.0).total_cmp(&b.gain.unwrap_or(0.0))).map(|t| t.threshold);
    let exact = items.iter().filter(|(_, _, whole)| *whole).count();
    Contamination { task: task.to_owned(), items: items.len(), exact, accuracy, thresholds, chosen }
}

impl fmt::Display for Contamination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {} items, {} with the whole question in the training data, {:.1}% right",
            self.task,
            self.items,
            self.exact,
            100.0 * self.accuracy
        )?;
        for t in self.thresholds.iter().filter(|t| t.contaminated > 0) {
            let percent = |x: Option<f64>| x.map_or("-".into(), |x| format!("{:.1}", 100.0 * x));
            writeln!(
                f,
                "  overlap of {:.0}% or more: {:>5} items, the others {:>5}% right, gain {:>5}{}{}",
                100.0 * t.threshold,
                t.contaminated,
                percent(t.clean),
                percent(t.gain),
                if t.significant { ", significant" } else { "" },
                if self.chosen == Some(t.threshold) { " <- largest significant gain" } else { "" }
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::tests::sample;

    #[test]
    fn the_threshold_with_the_largest_gain() {
        // 40 contaminated items are all right; of 60 clean ones, 20 are right.
        let samples: Vec<Sample> = (0..100).map(|i| sample("t", &i.to_string(), 0, i < 60)).collect();
        let refs: Vec<&Sample> = samples.iter().collect();
        let overlaps: Vec<(f64, bool)> = (0..100).map(|i| (if i < 40 { 0.75 } else { 0.05 }, false)).collect();
        let c = &analyse(&refs, &overlaps)[0];
        assert_eq!(c.chosen, Some(0.7));
        let at = &c.thresholds[6];
        assert_eq!((at.contaminated, at.significant), (40, true));
        assert!((at.gain.unwrap() - (0.6 - 20.0 / 60.0)).abs() < 1e-12);
        assert!(!c.thresholds[9].significant);
        assert!(c.to_string().contains("largest significant gain"));
    }
}
