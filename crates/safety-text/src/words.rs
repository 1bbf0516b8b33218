//! Lists of words: counts the words of a text that are in a list.
//!
//! A single hit is weak evidence, but a count is not: the common lists contain words that also have a harmless meaning, and hit
//! one in three hundred sentences of a novel. Therefore rules compare the count and the share with limits.
//!
//! ```
//! let words = safety_text::words::Words::new("darn\nheck of\n")?;
//! let count = words.count("Darn, that was a heck of a darning day.");
//! assert_eq!((count.hits, count.distinct, count.words), (2, 2, 9));
//! # Ok::<(), safety_text::words::WordsError>(())
//! ```

use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};
use serde::Serialize;

/// A list that cannot be used; the message is one sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WordsError(String);

/// Counts of listed words in a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WordCount {
    /// Number of hits of whole words and phrases.
    pub hits: u64,
    /// Number of different entries among the hits.
    pub distinct: u64,
    /// Number of words of the text, separated by white space.
    pub words: u64,
}

impl WordCount {
    /// Hits per 1,000 words; 0 for an empty text.
    #[must_use]
    pub fn per_thousand(&self) -> f64 {
        if self.words == 0 { 0.0 } else { self.hits as f64 * 1000.0 / self.words as f64 }
    }
}

/// A list of words and phrases, ignoring case. It is built once, and threads can share it.
#[derive(Debug)]
pub struct Words {
    automaton: AhoCorasick,
    /// For each entry, whether its first and last letters belong to a script that separates words.
    bounded: Vec<(bool, bool)>,
}

impl Words {
    /// Parses a list: one entry per line; `#` starts a comment.
    ///
    /// # Errors
    /// When the list has no entry.
    pub fn new(text: &str) -> Result<Self, WordsError> {
        let mut entries: Vec<String> = text
            .lines()
            .map(|line| line.trim_start_matches('\u{FEFF}').trim())
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
            .collect();
        entries.sort();
        entries.dedup();
        if entries.is_empty() {
            return Err(WordsError("the list of words is empty: one word or phrase a line is expected".into()));
        }
        let is_bounded = |c: Option<char>| c.is_some_and(separates);
        let bounded =
            entries.iter().map(|e| (is_bounded(e.chars().next()), is_bounded(e.chars().next_back()))).collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&entries)
            .map_err(|error| WordsError(format!("the list of words is too large: {error}")))?;
        Ok(Self { automaton, bounded })
    }

    /// Reads a list from a plain, gzip or zstd file.
    ///
    /// # Errors
    /// When the file cannot be read, is not UTF-8, or has no entry.
    pub fn from_file(path: &Path) -> Result<Self, WordsError> {
        let text = crate::domains::read_text(path).map_err(|error| WordsError(error.to_string()))?;
        Self::new(&text).map_err(|error| WordsError(format!("{}: {error}", path.display())))
    }

    /// Number of entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.bounded.len()
    }

    /// Counts the listed words of a text. Of overlapping entries, the first one to end counts.
    #[must_use]
    pub fn count(&self, text: &str) -> WordCount {
        let mut count = WordCount { words: text.split_whitespace().count() as u64, ..WordCount::default() };
        let lower = text.to_lowercase();
        let mut seen = std::collections::BTreeSet::new();
        let mut free = 0;
        for hit in self.automaton.find_overlapping_iter(&lower) {
            let (before, behind) = self.bounded[hit.pattern().as_usize()];
            let letter_before = lower[..hit.start()].chars().next_back().is_some_and(is_word);
            let letter_behind = lower[hit.end()..].chars().next().is_some_and(is_word);
            if hit.start() < free || before && letter_before || behind && letter_behind {
                continue;
            }
            free = hit.end();
            count.hits += 1;
            seen.insert(hit.pattern());
        }
        count.distinct = seen.len() as u64;
        count
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a letter belongs to a script that separates words by spaces. Entries in other scripts are found anywhere.
fn separates(c: char) -> bool {
    let without_spaces = matches!(c, '\u{0E00}'..='\u{0EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{20000}'..='\u{3FFFF}');
    is_word(c) && !without_spaces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_in_every_script() {
        let words = Words::new("# list\nbad\nBAD thing\nÉcole\n坏\nбяка\nbad\n").unwrap();
        assert_eq!(words.entries(), 5);
        for (text, hits) in [
            ("Bad, bad!", 2),
            ("badly embad bad_ 2bad", 0),
            ("ÉCOLE école écoles", 2),
            ("这坏东西很坏", 2),
            ("Бяка бяками", 1),
            ("a bad thing", 1),
            ("", 0),
        ] {
            assert_eq!(words.count(text).hits, hits, "{text}");
        }
        let count = words.count("bad day bad école");
        assert_eq!((count.distinct, count.words, count.per_thousand()), (2, 4, 750.0));
        assert_eq!(words.count("").per_thousand(), 0.0);
        assert!(Words::new("# nothing\n").unwrap_err().to_string().contains("is empty"));
    }
}
