//! The linear tier: logistic regression over hashed n-grams. It needs no libtorch, judges a short text in well under a millisecond, and
//! is part of every guard.
//!
//! Minimised over w and b: C * sum of ln(1 + exp(-s(w . x + b))) + |w|^2 / 2 with s = 1 for an unsafe text and -1 else. The
//! categories are a second model of the same form with a softmax over them, trained on the unsafe texts whose categories are
//! known; a text with several has each as its target in equal parts. Both by L-BFGS (`safety_text::lbfgs`): no randomness.

use anyhow::{Context, ensure};
use ngram_linear::features::{buckets, words};
use ngram_linear::{Label, Sample, Vocabulary, dot, file, logistic};
use safety_text::lbfgs::minimise;
use safety_text::policy::Applies;
use serde::{Deserialize, Serialize};

use crate::record::{Asked, Labelled};
use crate::window::windows;

/// The default inverse strength of the penalty.
pub const C: f64 = 10.0;
/// Number of words in a window.
const WINDOW: usize = 400;
/// Number of words by which windows overlap.
const OVERLAP: usize = 100;
/// The first line of a file.
const MAGIC: &[u8] = b"herd-guard-linear 1\n";

/// A trained linear tier.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    head: Head,
    vocabulary: Vocabulary,
    /// The weights by bucket, followed by those of each category.
    weights: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    /// Number of used buckets.
    buckets: usize,
    /// The constant term of the log-odds.
    intercept: f64,
    /// The term that is added to the log-odds of a response.
    response: f64,
    /// Ids of the categories that have weights.
    categories: Vec<String>,
    /// The intercepts of the categories.
    intercepts: Vec<f64>,
}

/// The linear tier's score of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearScore {
    /// ln p / (1 - p), where p is the probability of violating any category.
    pub log_odds: f64,
    /// The distribution over categories if the text is unsafe; empty if no categories were trained.
    pub categories: Vec<(String, f64)>,
    /// Number of judged windows; the other fields are those of the worst one.
    pub windows: usize,
}

impl Linear {
    /// Trains on records with the inverse penalty strength `c`. A long text is represented by its first window.
    #[must_use]
    pub fn train(records: &[&Labelled], c: f64) -> Self {
        let counts: Vec<[Vec<(u32, f32)>; 2]> = records
            .iter()
            .map(|record| {
                let words = words(record.asked.text());
                buckets(&words[..words.len().min(WINDOW)])
            })
            .collect();
        let vocabulary = Vocabulary::of(&counts);
        let samples: Vec<Sample> = counts.iter().map(|counts| vocabulary.sample(counts)).collect();
        let size = vocabulary.len();
        let labels: Vec<Label> = records
            .iter()
            .map(|record| Label {
                sign: if record.is_unsafe { 1.0 } else { -1.0 },
                feature: f64::from(u8::from(record.asked.side() == Applies::Response)),
            })
            .collect();
        let found = logistic(&samples, &labels, size, c);
        let mut categories: Vec<String> = records.iter().flat_map(|record| record.categories.clone()).collect();
        categories.sort_by_key(|id| (id.len(), id.clone()));
        categories.dedup();
        let rows: Vec<(&Sample, Vec<usize>)> = records
            .iter()
            .zip(&samples)
            .filter(|(record, _)| !record.categories.is_empty())
            .map(|(record, sample)| {
                let place = |id: &String| categories.iter().position(|known| known == id);
                (sample, record.categories.iter().filter_map(place).collect())
            })
            .collect();
        let of_categories = softmax(&rows, categories.len(), size, c);
        let mut weights: Vec<f32> = found[..size].iter().map(|&w| w as f32).collect();
        let own = of_categories.len() - categories.len();
        weights.extend(of_categories[..own].iter().map(|&w| w as f32));
        let head = Head {
            buckets: size,
            intercept: found[size],
            response: found[size + 1],
            categories,
            intercepts: of_categories[own..].to_vec(),
        };
        Self { head, vocabulary, weights }
    }

    /// The ids of the categories that were trained.
    #[must_use]
    pub fn categories(&self) -> &[String] {
        &self.head.categories
    }

    /// Scores the last turn of a conversation in windows of 400 words; the worst window counts.
    #[must_use]
    pub fn score(&self, asked: &Asked) -> LinearScore {
        let words = words(asked.text());
        let all = windows(words.len(), WINDOW, OVERLAP);
        let mut worst: Option<(f64, Sample)> = None;
        for window in all.clone() {
            let sample = self.vocabulary.sample(&buckets(&words[window]));
            let margin = self.head.intercept + dot(&self.weights[..self.vocabulary.len()], &sample);
            if worst.as_ref().is_none_or(|(most, _)| margin > *most) {
                worst = Some((margin, sample));
            }
        }
        let (margin, sample) = worst.unwrap_or_default();
        let response = if asked.side() == Applies::Response { self.head.response } else { 0.0 };
        LinearScore { log_odds: margin + response, categories: self.shares(&sample), windows: all.len() }
    }

    fn shares(&self, sample: &Sample) -> Vec<(String, f64)> {
        let size = self.vocabulary.len();
        let margin = |k: usize| self.head.intercepts[k] + dot(&self.weights[(k + 1) * size..(k + 2) * size], sample);
        let margins: Vec<f64> = (0..self.head.categories.len()).map(margin).collect();
        self.head.categories.iter().cloned().zip(softmax_of(&margins)).collect()
    }

    /// Serializes the tier into the bytes of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        file::to_bytes(MAGIC, &self.head, &self.vocabulary, &self.weights).unwrap_or_default()
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// When the bytes have another form or are truncated.
    pub fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let size = |head: &Head| (head.buckets, 1 + head.categories.len());
        let (head, vocabulary, weights) =
            file::from_bytes(MAGIC, bytes, size).context("is not a linear tier of a guard")?;
        ensure!(head.intercepts.len() == head.categories.len(), "has another number of intercepts than of categories");
        Ok(Self { head, vocabulary, weights })
    }
}

/// Trains a softmax: the weights of each class in turn, then the intercepts.
fn softmax(rows: &[(&Sample, Vec<usize>)], classes: usize, size: usize, c: f64) -> Vec<f64> {
    if classes == 0 {
        return Vec::new();
    }
    let weights = classes * size;
    minimise(vec![0.0; weights + classes], |at, gradient| {
        gradient[..weights].copy_from_slice(&at[..weights]);
        gradient[weights..].fill(0.0);
        let mut value = at[..weights].iter().map(|w| w * w).sum::<f64>() / 2.0;
        let mut margins = vec![0.0; classes];
        for (sample, targets) in rows {
            for (k, margin) in margins.iter_mut().enumerate() {
                let of = |&(place, x): &(u32, f32)| at[k * size + place as usize] * f64::from(x);
                *margin = at[weights + k] + sample.iter().map(of).sum::<f64>();
            }
            let shares = softmax_of(&margins);
            let part = 1.0 / targets.len() as f64;
            for (k, share) in shares.iter().enumerate() {
                let target = if targets.contains(&k) { part } else { 0.0 };
                if target > 0.0 {
                    value -= c * target * share.max(f64::MIN_POSITIVE).ln();
                }
                let slope = c * (share - target);
                sample.iter().for_each(|&(place, x)| gradient[k * size + place as usize] += slope * f64::from(x));
                gradient[weights + k] += slope;
            }
        }
        value
    })
}

fn softmax_of(margins: &[f64]) -> Vec<f64> {
    let most = margins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = margins.iter().map(|margin| (margin - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::split::tests::record;

    fn trained() -> Linear {
        let mut records = Vec::new();
        for n in 0..12 {
            for (category, word) in [("S1", "apple"), ("S2", "banana")] {
                let mut bad = record(&format!("{word}{n}"), &format!("take the bad {word} number {n}"), true, None);
                bad.categories = vec![category.into()];
                records.push(bad);
                records.push(record(&format!("g{word}{n}"), &format!("take the good {word} number {n}"), false, None));
            }
        }
        Linear::train(&records.iter().collect::<Vec<_>>(), C)
    }

    #[test]
    fn it_learns_what_is_bad_and_which_kind() {
        let model = trained();
        let score = |text: &str| model.score(&Asked::prompt(text));
        assert!(score("the bad apple").log_odds > 1.0 && score("the good apple").log_odds < -1.0);
        let shares = score("a bad banana").categories;
        assert_eq!(shares.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["S1", "S2"]);
        assert!(shares[1].1 > 0.8 && (shares[0].1 + shares[1].1 - 1.0).abs() < 1e-9, "{shares:?}");
        // Unknown words give the intercept alone.
        assert!(score("нет").log_odds.abs() < 1.0);
    }

    #[test]
    fn a_long_text_is_judged_in_windows() {
        let model = trained();
        let filler = "take the good apple number 1 ".repeat(300);
        let hidden = format!("{filler} take the bad apple number 1 take the bad banana bad bad bad {filler}");
        let (long, plain) = (model.score(&Asked::prompt(&hidden)), model.score(&Asked::prompt(&filler)));
        assert!(long.windows > 5 && long.log_odds > plain.log_odds + 0.3, "{long:?} {plain:?}");
    }

    #[test]
    fn the_same_records_give_the_same_bytes_and_files_are_checked() {
        let model = trained();
        let bytes = model.to_bytes();
        assert_eq!(bytes, trained().to_bytes());
        assert_eq!(Linear::from_bytes(&bytes).unwrap(), model);
        let error = format!("{:#}", Linear::from_bytes(&bytes[..bytes.len() - 1]).unwrap_err());
        assert!(
            error.starts_with("is not a linear tier of a guard: has ") && error.ends_with("cut off or damaged"),
            "{error}"
        );
        assert!(Linear::from_bytes(b"x").is_err());
    }
}
