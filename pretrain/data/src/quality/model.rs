//! The classifier: logistic regression over words and word pairs, with calibrated log-odds.

use std::path::{Path, PathBuf};

use anyhow::Context;
use ngram_linear::features::{word_buckets, words};
use ngram_linear::{Label, Sample, Vocabulary, dot, file as model_file, ln_1p_exp, logistic};
use rayon::prelude::*;
use safety_text::lbfgs::minimise;
use serde::{Deserialize, Serialize};

/// The file of a classifier in its folder.
pub const FILE: &str = "classifier.bin";
/// The first line of the file.
const MAGIC: &[u8] = b"herd-quality-linear 1\n";

/// A trained classifier.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    head: Head,
    vocabulary: Vocabulary,
    weights: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    /// The name of the score in `meta`.
    name: String,
    /// Number of used buckets.
    buckets: usize,
    /// Maximum number of words read from a text.
    max_words: usize,
    intercept: f64,
    /// The calibrated log-odds are `slope · margin + shift`.
    slope: f64,
    shift: f64,
}

/// A text and whether it is good.
pub type Labelled<'a> = (&'a str, bool);

impl Classifier {
    /// Trains on texts. `c` is the inverse strength of the penalty.
    #[must_use]
    pub fn train(name: &str, texts: &[Labelled], c: f64, max_words: usize) -> Self {
        let counts: Vec<[Vec<(u32, f32)>; 1]> = texts.par_iter().map(|(text, _)| counts(text, max_words)).collect();
        let vocabulary = Vocabulary::of(&counts);
        let samples: Vec<Sample> = counts.iter().map(|counts| vocabulary.sample(counts)).collect();
        let sign = |is_good: bool| if is_good { 1.0 } else { -1.0 };
        let labels: Vec<Label> =
            texts.iter().map(|(_, is_good)| Label { sign: sign(*is_good), feature: 0.0 }).collect();
        let size = vocabulary.len();
        let found = logistic(&samples, &labels, size, c);
        let weights = found[..size].iter().map(|&weight| weight as f32).collect();
        let head =
            Head { name: name.to_owned(), buckets: size, max_words, intercept: found[size], slope: 1.0, shift: 0.0 };
        Self { head, vocabulary, weights }
    }

    /// Fits slope and shift of the log-odds to held-out texts (Platt 1999).
    #[must_use]
    pub fn calibrated(mut self, texts: &[Labelled]) -> Self {
        (self.head.slope, self.head.shift) = (1.0, 0.0);
        let margins: Vec<f64> = texts.par_iter().map(|(text, _)| self.log_odds(text)).collect();
        let found = minimise(vec![1.0, 0.0], |at, gradient| {
            gradient.fill(0.0);
            let mut value = 0.0;
            for (margin, (_, is_good)) in margins.iter().zip(texts) {
                let sign = if *is_good { 1.0 } else { -1.0 };
                let odds = sign * (at[0] * margin + at[1]);
                value += ln_1p_exp(-odds);
                let slope = -sign / (1.0 + odds.exp());
                gradient[0] += slope * margin;
                gradient[1] += slope;
            }
            // A weak prior around 1 keeps the slope finite if the classes are separated.
            gradient[0] += at[0] - 1.0;
            value + (at[0] - 1.0).powi(2) / 2.0
        });
        (self.head.slope, self.head.shift) = (found[0], found[1]);
        self
    }

    /// The name of the score.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.head.name
    }

    /// Number of n-grams with a weight.
    #[must_use]
    pub fn buckets(&self) -> usize {
        self.head.buckets
    }

    /// The calibrated probability that a text is good, from 0 to 1.
    #[must_use]
    pub fn score(&self, text: &str) -> f64 {
        1.0 / (1.0 + (-(self.head.slope * self.log_odds(text) + self.head.shift)).exp())
    }

    fn log_odds(&self, text: &str) -> f64 {
        let sample = self.vocabulary.sample(&counts(text, self.head.max_words));
        self.head.intercept + dot(&self.weights, &sample)
    }

    /// Reads a classifier from its file, or from its folder.
    ///
    /// # Errors
    /// When the file does not exist, or is not a classifier.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let file = file(path);
        let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        Self::from_bytes(&bytes).with_context(|| file.display().to_string())
    }

    /// Serializes the classifier into the bytes of a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        model_file::to_bytes(MAGIC, &self.head, &self.vocabulary, &self.weights).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> anyhow::Result<Self> {
        let (head, vocabulary, weights) = model_file::from_bytes(MAGIC, bytes, |head: &Head| (head.buckets, 1))
            .context("is not a classifier of `herd data classifier train`")?;
        Ok(Self { head, vocabulary, weights })
    }
}

/// The path of a classifier's file: the path itself, or the file in that folder.
#[must_use]
pub fn file(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(FILE) } else { path.to_owned() }
}

/// The n-grams of the first words of a text.
fn counts(text: &str, max_words: usize) -> [Vec<(u32, f32)>; 1] {
    // A word with its space rarely has more than 16 bytes; the rest of a long text is not split into words.
    let end = text.len().min(max_words.saturating_mul(16));
    let end = (end..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let mut words = words(&text[..end]);
    words.truncate(max_words);
    word_buckets(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes texts of two kinds; a word marks four of five good ones.
    pub(crate) fn texts(seed: u64, count: u64) -> Vec<(String, bool)> {
        let draw = |at: u64, salt: u64| crate::hash::combine(crate::hash::seeded(seed), at * 64 + salt);
        (0..count)
            .map(|at| {
                let is_good = draw(at, 0) % 2 == 0;
                let words = (1..20).map(|salt| {
                    let number = draw(at, salt) % 40;
                    let is_telling = draw(at, salt + 20) % 5 == 0;
                    match (is_telling, is_good == (draw(at, salt + 40) % 5 > 0)) {
                        (true, true) => format!("theorem{}", number % 3),
                        (true, false) => format!("cheap{}", number % 3),
                        _ => format!("word{number}"),
                    }
                });
                (words.collect::<Vec<_>>().join(" "), is_good)
            })
            .collect()
    }

    fn labelled(texts: &[(String, bool)]) -> Vec<Labelled<'_>> {
        texts.iter().map(|(text, is_good)| (text.as_str(), *is_good)).collect()
    }

    #[test]
    fn it_learns_and_its_probabilities_are_calibrated() {
        let (train, calibrate, test) = (texts(1, 800), texts(2, 800), texts(3, 2000));
        // Such a weak penalty makes the weights overconfident.
        let raw = Classifier::train("quality", &labelled(&train), 1e5, 1000);
        let model = raw.clone().calibrated(&labelled(&calibrate));
        let loss = |model: &Classifier| {
            let nll = test.iter().map(|(text, is_good)| {
                let score = model.score(text);
                -(if *is_good { score } else { 1.0 - score }).ln()
            });
            nll.sum::<f64>() / test.len() as f64
        };
        // Calibration reduces the held-out loss.
        assert!(loss(&model) < loss(&raw) - 0.01 && loss(&model) < 0.55, "{} {}", loss(&model), loss(&raw));
        let right = test.iter().filter(|(text, is_good)| (model.score(text) > 0.5) == *is_good).count();
        assert!(right > 1500, "{right}");
        let mean = test.iter().map(|(text, _)| model.score(text)).sum::<f64>() / test.len() as f64;
        assert!((mean - 0.5).abs() < 0.05, "{mean}");
    }

    #[test]
    fn files_come_back_and_are_checked() {
        let train = texts(1, 100);
        let model = Classifier::train("code", &labelled(&train), 10.0, 1000).calibrated(&labelled(&train));
        let bytes = model.to_bytes();
        assert_eq!(
            bytes,
            Classifier::train("code", &labelled(&train), 10.0, 1000).calibrated(&labelled(&train)).to_bytes()
        );
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(FILE), &bytes).unwrap();
        assert_eq!(Classifier::read(place.path()).unwrap(), model);
        assert_eq!(Classifier::read(place.path()).unwrap().name(), "code");
        std::fs::write(place.path().join(FILE), &bytes[..bytes.len() - 1]).unwrap();
        let error = format!("{:#}", Classifier::read(place.path()).unwrap_err());
        assert!(error.contains("classifier.bin") && error.contains("it is cut off or damaged"), "{error}");
    }

    #[test]
    fn only_the_first_words_count() {
        let train = texts(1, 100);
        let model = Classifier::train("quality", &labelled(&train), 10.0, 20);
        let start = "word1 ".repeat(20);
        assert_eq!(model.score(&format!("{start}theorem1 theorem2 {}", "é".repeat(400))), model.score(&start));
    }
}
