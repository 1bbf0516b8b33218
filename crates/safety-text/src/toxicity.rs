//! Toxicity by a linear model over words: p = mean over heads of 1 / (1 + exp(a * (w . x + b) + c)). For each word of the
//! table, x contains its count times its inverse document frequency; x is scaled to length 1. This is scikit-learn's
//! `TfidfVectorizer` followed by a calibrated linear classifier (Platt, 1999).
//!
//! The weights are in a table of JSON lines, which is made once from a published model (docs/safety.md). The model was trained
//! on comments, so a document is scored in pieces of about that length. It recognises words, not intent.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A table that cannot be used; the message is `file:line: fault`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ToxicityError(String);

/// First line of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    format: String,
    version: u32,
    source: String,
    licence: String,
    heads: Vec<Calibrated>,
}

/// A classifier and its calibration.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Calibrated {
    /// The constant b in w . x + b.
    intercept: f64,
    /// The factor a in the exponent.
    a: f64,
    /// The constant c in the exponent.
    c: f64,
}

/// A further line of the table: one word.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    word: String,
    /// Inverse document frequency; 1 for a model that uses plain counts.
    idf: f32,
    weights: Vec<f32>,
}

/// Toxicity of a document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Document {
    /// Number of scored pieces.
    pub pieces: u64,
    /// Share of the pieces with a score of at least 0.5.
    pub share: f64,
    /// The largest score.
    pub max: f64,
}

/// The toxicity model. It is read once, and threads can share it.
#[derive(Debug)]
pub struct Toxicity {
    source: String,
    heads: Vec<Calibrated>,
    /// Index of each word.
    words: HashMap<String, usize>,
    /// Inverse document frequencies by index.
    idf: Vec<f32>,
    /// Weights by index, one for each head.
    weights: Vec<f32>,
}

/// Maximal number of words in a piece of a document.
const PIECE: usize = 60;

impl Toxicity {
    /// Reads a table from a plain, gzip or zstd file.
    ///
    /// # Errors
    /// `file:line` and the fault: not JSON, another format, a duplicate word, a wrong number of weights.
    pub fn from_file(path: &Path) -> Result<Self, ToxicityError> {
        let text = crate::domains::read_text(path).map_err(|error| ToxicityError(error.to_string()))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses a table. `origin` is its name for error messages.
    ///
    /// # Errors
    /// The same as [`Toxicity::from_file`].
    pub fn parse(text: &str, origin: &str) -> Result<Self, ToxicityError> {
        let error = |line: usize, what: String| ToxicityError(format!("{origin}:{line}: {what}"));
        let mut lines =
            text.lines().enumerate().map(|(at, line)| (at + 1, line)).filter(|line| !line.1.trim().is_empty());
        let first = lines.next().ok_or_else(|| error(1, "the table is empty".into()))?;
        let head: Head = serde_json::from_str(first.1).map_err(|e| error(first.0, format!("the table's head: {e}")))?;
        if head.format != "herd-toxicity" || head.version != 1 {
            let what = format!("format {:?} version {}; herd-toxicity version 1 is read", head.format, head.version);
            return Err(error(first.0, what));
        }
        if head.heads.is_empty() {
            return Err(error(first.0, "the table has no heads".into()));
        }
        let (mut words, mut idf, mut weights) = (HashMap::new(), Vec::new(), Vec::new());
        for (number, line) in lines {
            let entry: Entry = serde_json::from_str(line).map_err(|e| error(number, e.to_string()))?;
            if entry.weights.len() != head.heads.len() {
                let what = format!("{} weights for {} heads", entry.weights.len(), head.heads.len());
                return Err(error(number, what));
            }
            if words.insert(entry.word, idf.len()).is_some() {
                return Err(error(number, "the word stands in the table twice".into()));
            }
            idf.push(entry.idf);
            weights.extend(entry.weights);
        }
        if words.is_empty() {
            return Err(error(first.0, "the table has no words".into()));
        }
        Ok(Self { source: format!("{} ({})", head.source, head.licence), heads: head.heads, words, idf, weights })
    }

    /// Source of the weights, with the licence.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Number of words with a weight.
    #[must_use]
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// The score of a text of about the length of a comment, between 0 and 1.
    #[must_use]
    pub fn score(&self, text: &str) -> f64 {
        let mut found: Vec<usize> = Vec::new();
        let mut word = String::new();
        for c in text.chars().chain([' ']) {
            if c.is_alphanumeric() || c == '_' {
                word.extend(c.to_lowercase());
            } else {
                // Words of one letter are not counted (`\b\w\w+\b`), and no table contains them.
                found.extend(self.words.get(&word));
                word.clear();
            }
        }
        found.sort_unstable();
        let counts = found.chunk_by(|one, other| one == other);
        let values: Vec<(usize, f64)> =
            counts.map(|same| (same[0], same.len() as f64 * f64::from(self.idf[same[0]]))).collect();
        let length = values.iter().map(|(_, value)| value * value).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
        let mut sums = vec![0.0f64; self.heads.len()];
        for (word, value) in values {
            let weights = &self.weights[word * sums.len()..(word + 1) * sums.len()];
            sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += value / length * f64::from(*weight));
        }
        let p = |(head, sum): (&Calibrated, &f64)| 1.0 / (1.0 + (head.a * (sum + head.intercept) + head.c).exp());
        self.heads.iter().zip(&sums).map(p).sum::<f64>() / self.heads.len() as f64
    }

    /// Scores the pieces of a document: its lines, split at ends of sentences if they are longer than 60 words.
    #[must_use]
    pub fn document(&self, text: &str) -> Document {
        let mut found = Document::default();
        let mut toxic = 0u64;
        for piece in text.lines().flat_map(pieces) {
            let score = self.score(piece);
            found.pieces += 1;
            found.max = found.max.max(score);
            toxic += u64::from(score >= 0.5);
        }
        found.share = if found.pieces == 0 { 0.0 } else { toxic as f64 / found.pieces as f64 };
        found
    }
}

/// Splits a line into pieces of at most [`PIECE`] words, at the end of a sentence if there is one.
fn pieces(line: &str) -> Vec<&str> {
    let mut all = Vec::new();
    let (mut start, mut words, mut sentence, mut is_word) = (0, 0, None, false);
    for (at, c) in line.char_indices() {
        let is_space = c.is_whitespace();
        if is_space && is_word {
            words += 1;
            if line[start..at].ends_with(['.', '!', '?']) {
                sentence = Some(at);
            }
            if words >= PIECE {
                let end = sentence.unwrap_or(at);
                all.push(&line[start..end]);
                words = line[end..at].split_whitespace().count();
                (start, sentence) = (end, None);
            }
        }
        is_word = !is_space;
    }
    if !line[start..].trim().is_empty() {
        all.push(&line[start..]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"{"format": "herd-toxicity", "version": 1, "source": "s", "licence": "MIT", "heads": [{"intercept": -1.0, "a": -2.0, "c": 0.5}, {"intercept": 0.0, "a": -1.0, "c": 0.0}]}
{"word": "awful", "idf": 1.5, "weights": [2.0, 1.0]}
{"word": "été", "idf": 2.0, "weights": [0.0, 3.0]}
"#;

    #[test]
    fn the_score_is_the_formulas() {
        let model = Toxicity::parse(TABLE, "t").unwrap();
        assert_eq!((model.words(), model.source()), (2, "s (MIT)"));
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let expected =
            |awful: f64, ete: f64| (sigmoid(2.0 * (2.0 * awful - 1.0) - 0.5) + sigmoid(awful + 3.0 * ete)) / 2.0;
        // Both words: 2 * 1.5 and 1 * 2, scaled to length 1.
        let (a, e) = (3.0 / 13f64.sqrt(), 2.0 / 13f64.sqrt());
        for (text, awful, ete) in [
            ("", 0.0, 0.0),
            ("Awful, awful!", 1.0, 0.0),
            ("an ÉTÉ awful_", 0.0, 1.0),
            ("a", 0.0, 0.0),
            ("awful été, awful", a, e),
        ] {
            assert!((model.score(text) - expected(awful, ete)).abs() < 1e-12, "{text}");
        }
    }

    #[test]
    fn documents_are_scored_in_pieces() {
        let model = Toxicity::parse(TABLE, "t").unwrap();
        let document = model.document("fine day\n\nawful awful awful awful\nfine\nfine");
        assert_eq!((document.pieces, document.share), (4, 0.25));
        assert!(document.max > 0.7);
        assert_eq!(model.document(" \n"), Document::default());
        let long = "one two three four. ".repeat(40);
        let parts = pieces(&long);
        assert_eq!(parts.concat().split_whitespace().count(), 160);
        assert!(parts.len() == 3 && parts[0].ends_with("four."), "{parts:?}");
        assert!(pieces(&"w ".repeat(150)).iter().all(|part| part.split_whitespace().count() <= PIECE));
    }

    #[test]
    fn mistakes_have_a_line() {
        for (from, to, sentence) in [
            ("\"version\": 1", "\"version\": 2", "t:1: format \"herd-toxicity\" version 2"),
            ("[2.0, 1.0]", "[2.0]", "t:2: 1 weights for 2 heads"),
            ("été", "awful", "t:3: the word stands in the table twice"),
            ("\"word\": \"awful\"", "\"wort\": \"awful\"", "t:2: unknown field `wort`"),
        ] {
            let error = Toxicity::parse(&TABLE.replacen(from, to, 1), "t").unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
