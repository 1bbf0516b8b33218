//! Decontamination by n-grams: the share of an item's tokens that are in 8-grams of the training data (the Llama 3
//! paper, section 5.1.4, after Singh et al. 2024).
//!
//! Tokens are lower-case words and numbers, so no tokenizer is needed.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use dataset::jsonl::{self, OnBadLine};
use serde_json::Value;

use crate::normal::{hash, words};

/// Number of consecutive tokens that count as a match.
const N: usize = 8;

fn tokens(text: &str) -> Vec<u64> {
    words(text).map(hash).collect()
}

fn gram(tokens: &[u64]) -> u64 {
    hash(tokens.iter().flat_map(|token| token.to_le_bytes()).collect::<Vec<u8>>())
}

/// The items of benchmarks, to be compared with training data.
pub struct Checker {
    items: Vec<Vec<u64>>,
    wanted: HashMap<u64, bool>,
    whole: HashSet<u64>,
    seen_whole: HashSet<u64>,
    /// Number of texts compared.
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

    /// Compares a text of the training data.
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

    /// Compares every text in the records of a file: messages, prompts, answers, whatever their names.
    ///
    /// # Errors
    /// When the file cannot be read.
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

    /// For each item, the share of its tokens that are in an 8-gram of the training data, and whether the whole
    /// question occurs as a text of its own. Items with fewer than 8 tokens have no 8-gram; for them, only the whole
    /// question counts.
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

/// The 8-grams of benchmark questions, to find documents that contain a question (the opposite direction of
/// [`Checker`]).
#[derive(Debug, Clone, Default)]
pub struct Index {
    /// For each 8-gram, the questions that contain it, and the positions.
    grams: HashMap<u64, Vec<(u32, u32)>>,
    /// Number of words of each question.
    lengths: Vec<u32>,
    /// Number of questions with fewer than 8 words, which no 8-gram can find.
    pub short: usize,
}

/// A question that a document contains.
#[derive(Debug, Clone, PartialEq)]
pub struct Contained {
    /// The question's number.
    pub question: usize,
    /// Share of its words that are in 8-grams of the document.
    pub share: f64,
    /// The first common 8-gram.
    pub gram: String,
}

impl Index {
    /// An index of these questions.
    #[must_use]
    pub fn new<'a>(questions: impl Iterator<Item = &'a str>) -> Self {
        let mut index = Self::default();
        for question in questions {
            let tokens = tokens(question);
            let number = index.lengths.len() as u32;
            index.lengths.push(tokens.len() as u32);
            index.short += usize::from(tokens.len() < N);
            for (at, window) in tokens.windows(N).enumerate() {
                index.grams.entry(gram(window)).or_default().push((number, at as u32));
            }
        }
        index
    }

    /// Number of questions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lengths.len()
    }

    /// Whether no document can match, because no question has 8 words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.grams.is_empty()
    }

    /// The question of which the text contains the largest share; the first in case of a tie.
    #[must_use]
    pub fn contained(&self, text: &str) -> Option<Contained> {
        let words: Vec<String> = words(text).collect();
        let tokens: Vec<u64> = words.iter().map(hash).collect();
        let mut found: HashMap<u32, (Vec<bool>, usize)> = HashMap::new();
        for (at, window) in tokens.windows(N).enumerate() {
            for (question, place) in self.grams.get(&gram(window)).into_iter().flatten() {
                let length = self.lengths[*question as usize] as usize;
                let (covered, _) = found.entry(*question).or_insert_with(|| (vec![false; length], at));
                covered[*place as usize..*place as usize + N].fill(true);
            }
        }
        let share = |covered: &[bool]| covered.iter().filter(|&&c| c).count() as f64 / covered.len() as f64;
        let all = found.into_iter().map(|(question, (covered, at))| (share(&covered), question, at));
        let (share, question, at) = all.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
        Some(Contained { question: question as usize, share, gram: words[at..at + N].join(" ") })
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

    #[test]
    fn documents_that_hold_a_question() {
        let index = Index::new(["one two three four five six seven eight nine ten", "too short"].into_iter());
        assert_eq!((index.len(), index.short, index.is_empty()), (2, 1, false));
        let found = index.contained("So: Two three four, five six seven EIGHT nine. And on").unwrap();
        assert_eq!((found.question, found.share, &*found.gram), (0, 0.8, "two three four five six seven eight nine"));
        assert_eq!(index.contained("two three four five six seven eight"), None);
        assert!(Index::new(["a b"].into_iter()).is_empty());
    }
}
