//! Divergence of a document's token distribution from that of the corpus (the Llama 3 paper, section 3.1.1): the
//! Kullback-Leibler divergence `sum_w p(w) ln(p(w) / q(w))` over words in lower case, with `p` of the document and
//! `q` of a reference that `herd data unigrams` counts. It is large for documents with many outlier tokens. It is
//! also large for very short documents, whose `p` has few words; therefore the rule has a minimum number of words.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use text_quality::normal;

use super::{Filter, Outcome, Rules, View};
use crate::hash;

/// Word counts of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unigrams {
    /// Number of all counted words, including those that are not listed.
    pub total: u64,
    /// The most frequent words, with their counts.
    pub counts: HashMap<String, u64>,
}

impl Unigrams {
    /// Adds the words of a text.
    pub fn add(&mut self, text: &str) {
        for word in normal::words(text) {
            self.total += 1;
            *self.counts.entry(word).or_default() += 1;
        }
    }

    /// Adds the counts of another corpus.
    pub fn merge(&mut self, other: Self) {
        self.total += other.total;
        for (word, count) in other.counts {
            *self.counts.entry(word).or_default() += count;
        }
    }

    /// Keeps the `most` frequent words, ties in alphabetical order.
    #[must_use]
    pub fn most_frequent(self, most: usize) -> Vec<(String, u64)> {
        let mut all: Vec<(String, u64)> = self.counts.into_iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(most);
        all
    }

    /// Reads counts that `herd data unigrams` wrote.
    ///
    /// # Errors
    /// When the file cannot be read or has no counts.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("{}: cannot read word counts", path.display()))?;
        let counts: Self = serde_json::from_slice(&bytes).with_context(|| {
            format!("{}: is not a file of word counts; `herd data unigrams` makes one", path.display())
        })?;
        ensure!(counts.total > 0, "{}: counts no word", path.display());
        Ok(counts)
    }
}

/// The reference and the threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Divergence {
    /// Word counts of the corpus, from `herd data unigrams`.
    pub reference: PathBuf,
    /// Maximum divergence, in nats. The paper gives no value; use the histogram of the report.
    pub max: f64,
    /// Documents with fewer words pass.
    pub min_words: usize,
    /// Rules that are switched off.
    pub without: Vec<String>,
    #[serde(skip)]
    logs: Arc<(hash::Map<f64>, f64)>,
}

impl Default for Divergence {
    fn default() -> Self {
        Self { reference: PathBuf::new(), max: 6.0, min_words: 50, without: Vec::new(), logs: Arc::default() }
    }
}

impl Divergence {
    /// Reads the reference.
    ///
    /// # Errors
    /// When the file cannot be read or has no counts.
    pub fn load(&mut self) -> anyhow::Result<()> {
        ensure!(
            !self.reference.as_os_str().is_empty(),
            "reference: is missing: a file that `herd data unigrams` makes"
        );
        self.set(&Unigrams::load(&self.reference)?);
        Ok(())
    }

    /// Sets the counts. A word without a count has the probability of half an occurrence.
    pub fn set(&mut self, counts: &Unigrams) {
        let total = counts.total.max(1) as f64;
        let logs =
            counts.counts.iter().map(|(word, count)| (hash::bytes(word.as_bytes()), (*count as f64 / total).ln()));
        self.logs = Arc::new((logs.collect(), (0.5 / total).ln()));
    }

    /// The divergence of a text in nats, and its number of words.
    #[must_use]
    pub fn divergence(&self, text: &str) -> (f64, usize) {
        let mut counts: hash::Map<usize> = hash::Map::default();
        let mut order = Vec::new();
        let mut all = 0;
        for word in normal::words(text) {
            let key = hash::bytes(word.as_bytes());
            let count = counts.entry(key).or_default();
            if *count == 0 {
                order.push(key);
            }
            *count += 1;
            all += 1;
        }
        // The sum follows the order of the text, so that it rounds in the same way everywhere.
        let term = |key: &u64| {
            let p = counts[key] as f64 / all as f64;
            p * (p.ln() - self.logs.0.get(key).copied().unwrap_or(self.logs.1))
        };
        (order.iter().map(term).sum(), all)
    }
}

impl Filter for Divergence {
    fn rules(&self) -> Vec<String> {
        vec!["token_divergence".to_owned()]
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let mut rules = Rules::new(&self.without);
        let (value, words) = self.divergence(view.text());
        if words >= self.min_words {
            rules.at_most("token_divergence", self.max, || value);
        }
        rules.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut counts = Unigrams::default();
        counts.add("a a a b");
        let mut filter = Divergence { min_words: 1, max: 1.0, ..Divergence::default() };
        filter.set(&counts);
        // p = (1/2, 1/2), q = (3/4, 1/4).
        let expected = 0.5 * (0.5_f64 / 0.75).ln() + 0.5 * (0.5_f64 / 0.25).ln();
        assert!((filter.divergence("a B").0 - expected).abs() < 1e-12);
        assert!(filter.judge(&View::new("a B")).failed().is_none());
        // A word that the corpus does not have: ln(1 / (1/8)).
        let outcome = filter.judge(&View::new("zzz"));
        assert!((outcome.failed().unwrap().value - 8.0_f64.ln()).abs() < 1e-12);
        assert!(Divergence { min_words: 2, ..filter }.judge(&View::new("zzz")).findings.is_empty());
    }
}
