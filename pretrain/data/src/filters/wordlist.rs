//! Counts of listed words (the Llama 3 paper's "dirty word counting"): how often words of a list occur in a text.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use text_quality::normal;

use super::view::share;
use super::{Filter, Outcome, Rules, View};

/// The list and its thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WordCounts {
    /// A file with one word per line; `#` starts a comment.
    pub list: PathBuf,
    /// Maximum number of listed words in a text.
    pub max_count: usize,
    /// Maximum share of listed words among all words.
    pub max_share: f64,
    /// Rules that are switched off.
    pub without: Vec<String>,
    #[serde(skip)]
    words: Words,
}

/// The words of the list, after it is loaded.
#[derive(Debug, Clone, Default)]
struct Words(OnceLock<HashSet<String>>);

impl PartialEq for Words {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Default for WordCounts {
    fn default() -> Self {
        Self { list: PathBuf::new(), max_count: 3, max_share: 0.01, without: Vec::new(), words: Words::default() }
    }
}

impl WordCounts {
    /// Reads the list.
    ///
    /// # Errors
    /// When the file cannot be read or has no word.
    pub fn load(&mut self) -> anyhow::Result<()> {
        let path = self.list.display();
        ensure!(!self.list.as_os_str().is_empty(), "list: is missing: give a file with one word per line");
        let text = std::fs::read_to_string(&self.list).with_context(|| format!("{path}: cannot read the word list"))?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        let words: HashSet<String> = lines.filter(|line| !line.is_empty()).map(str::to_lowercase).collect();
        ensure!(!words.is_empty(), "{path}: has no word, so that the step could match nothing");
        let phrase = words.iter().find(|word| normal::words(word).count() != 1);
        ensure!(phrase.is_none(), "{path}: {:?} is not one word", phrase.map(String::as_str).unwrap_or_default());
        self.words = Words(OnceLock::from(words));
        Ok(())
    }
}

impl Filter for WordCounts {
    fn rules(&self) -> Vec<String> {
        ["listed_words", "listed_word_share"].map(str::to_owned).to_vec()
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let mut rules = Rules::new(&self.without);
        let (mut all, mut listed) = (0, 0);
        if let Some(words) = self.words.0.get() {
            for word in normal::words(view.text()) {
                all += 1;
                listed += usize::from(words.contains(&word));
            }
        }
        rules.at_most("listed_words", self.max_count as f64, || listed as f64);
        rules.at_most("listed_word_share", self.max_share, || share(listed, all));
        rules.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shares() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("words.txt");
        std::fs::write(&list, "# remark\nDarn\nheck # mild\n").unwrap();
        let mut filter = WordCounts { list: list.clone(), ..WordCounts::default() };
        filter.load().unwrap();
        let failed = |text: &str| filter.judge(&View::new(text)).failed().map(|f| (f.rule.clone(), f.value));
        assert_eq!(failed(&format!("darn {}", "fine ".repeat(200))), None);
        assert_eq!(failed("Darn it"), Some(("listed_word_share".into(), 0.5)));
        assert_eq!(failed(&"heck, darn! ".repeat(2)), Some(("listed_words".into(), 4.0)));
        std::fs::write(&list, "# nothing\n").unwrap();
        let error = WordCounts { list, ..WordCounts::default() }.load().unwrap_err().to_string();
        assert!(error.contains("could match nothing"), "{error}");
    }
}
