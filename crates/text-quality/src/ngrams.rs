//! Decontamination by n-grams: the share of an item's tokens that lie in 8-grams which occur in training data (the Llama 3 paper,
//! section 5.1.4, after Singh et al. 2024).
//!
//! Tokens are lower-case words and numbers, so that no tokenizer is needed.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use dataset::jsonl::{self, OnBadLine};
use serde_json::Value;

use crate::normal::{hash, words};

/// Tokens in a row that count as a match.
const N: usize = 8;

fn tokens(text: &str) -> Vec<u64> {
    words(text).map(hash).collect()
}

fn gram(tokens: &[u64]) -> u64 {
    hash(tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>())
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
