//! Have the benchmark's items been in the training data? The share of an item's tokens that lie in 8-grams which occur there
//! (the paper's section 5.1.4, after Singh et al. 2024).
//!
//! Tokens are lower-case words and numbers, so that no tokenizer is needed. What share makes an item contaminated differs
//! between benchmarks: the paper picks for each the threshold with the largest significant gain, and so does [`analyse`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use dataset::jsonl::{self, OnBadLine};
use serde::Serialize;
use serde_json::Value;

use crate::interval::{Z, proportion};
use crate::record::Sample;

/// Tokens in a row that count as a match.
const N: usize = 8;

/// The tokens of a text.
fn tokens(text: &str) -> Vec<u64> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| fnv(word.to_lowercase().bytes())).collect()
}

/// FNV-1a, 64 bits: the same on every machine.
fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn gram(tokens: &[u64]) -> u64 {
    fnv(tokens.iter().flat_map(|token| token.to_le_bytes()))
}

/// The items of benchmarks, waiting for training data to be shown.
pub struct Checker {
    items: Vec<Vec<u64>>,
    wanted: HashMap<u64, bool>,
    whole: HashSet<u64>,
    seen_whole: HashSet<u64>,
    /// Texts that were looked at.
    pub texts: u64,
}

impl Checker {
    /// A checker for these questions.
    #[must_use]
    pub fn new<'a>(questions: impl Iterator<Item = &'a str>) -> Self {
        let items: Vec<Vec<u64>> = questions.map(tokens).collect();
        let wanted = items.iter().flat_map(|item| item.windows(N)).map(|window| (gram(window), false)).collect();
        let whole = items.iter().map(|item| gram(item)).collect();
        Self { items, wanted, whole, seen_whole: HashSet::new(), texts: 0 }
    }

    /// Shows a text of the training data.
    pub fn see(&mut self, text: &str) {
        self.texts += 1;
        let tokens = tokens(text);
        for window in tokens.windows(N) {
            if let Some(seen) = self.wanted.get_mut(&gram(window)) {
                *seen = true;
            }
        }
        let all = gram(&tokens);
        if self.whole.contains(&all) {
            self.seen_whole.insert(all);
        }
    }

    /// Shows every text in the records of a file: messages, prompts, answers, whatever they are called.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn see_file(&mut self, path: &Path) -> dataset::Result<()> {
        for record in jsonl::read::<Value>(path, OnBadLine::Error)? {
            self.see_value(&record?);
        }
        Ok(())
    }

    fn see_value(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.see(text),
            Value::Array(items) => items.iter().for_each(|item| self.see_value(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.see_value(field)),
            _ => {}
        }
    }

    /// For each item the share of its tokens that lie in an 8-gram of the training data, and whether the whole question was
    /// there as a text of its own. Items of fewer than 8 tokens have no 8-gram; only the whole counts for them.
    #[must_use]
    pub fn overlaps(&self) -> Vec<(f64, bool)> {
        let overlap = |item: &Vec<u64>| {
            let mut covered = vec![false; item.len()];
            for (i, window) in item.windows(N).enumerate() {
                if self.wanted.get(&gram(window)) == Some(&true) {
                    covered[i..i + N].fill(true);
                }
            }
            let whole = self.seen_whole.contains(&gram(item));
            let share = covered.iter().filter(|&&c| c).count() as f64 / item.len().max(1) as f64;
            (if whole { 1.0 } else { share }, whole)
        };
        self.items.iter().map(overlap).collect()
    }
}

/// What contamination does to a benchmark's figure at one threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AtThreshold {
    /// An item counts as contaminated from this share on.
    pub threshold: f64,
    /// Contaminated items.
    pub contaminated: usize,
    /// The share of right answers among the others.
    pub clean: Option<f64>,
    /// All items minus the clean ones: what contamination adds to the figure.
    pub gain: Option<f64>,
    /// Whether contaminated and clean items differ significantly (two proportions, |z| > 1.96).
    pub significant: bool,
}

/// A benchmark's contamination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Contamination {
    /// The benchmark.
    pub task: String,
    /// Items.
    pub items: usize,
    /// Items whose whole question is a text of the training data.
    pub exact: usize,
    /// The share of right answers among all items.
    pub accuracy: f64,
    /// Each threshold.
    pub thresholds: Vec<AtThreshold>,
    /// The threshold with the largest significant gain, if there is one.
    pub chosen: Option<f64>,
}

/// Looks at a run's samples with their overlaps, by benchmark.
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
    fn shares_by_hand() {
        let question = "one two three four five six seven eight nine ten";
        let mut checker = Checker::new([question, "short question here", "a b c d e f g h i j"].into_iter());
        checker.see("zero ONE two, three four five six seven EIGHT! and more");
        assert_eq!(checker.overlaps(), [(0.8, false), (0.0, false), (0.0, false)]);
        checker.see("Three four five six seven eight nine ten");
        checker.see_value(&serde_json::json!({"messages": [{"role": "user", "content": "Short question, here?"}]}));
        assert_eq!(checker.overlaps(), [(1.0, false), (1.0, true), (0.0, false)]);
    }

    #[test]
    fn the_threshold_with_the_largest_gain() {
        // 40 contaminated items all right, 60 clean ones 20 right.
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
