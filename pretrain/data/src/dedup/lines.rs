//! Deduplication of lines (the Llama 3 paper, section 3.1.1, after ccNet, Wenzek et al. 2020): lines that occur more than 6 times in
//! a bucket of 30 million documents are removed.
//!
//! Lines are compared in ccNet's normal form: lower case, digits as 0, no punctuation, no white space at the ends.
//! Lines whose normal form is empty (such as `}`) are neither counted nor removed. The number of buckets of a
//! language is the number of its documents divided by 30 million, rounded up; a document's bucket is a hash of its
//! number.

use serde::{Deserialize, Serialize};

use crate::hash;

/// The step's thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lines {
    /// Lines that occur more often are removed.
    pub max_times: u64,
    /// Number of documents per bucket.
    pub bucket: u64,
    /// Shorter lines, in characters of the normal form, stay.
    pub min_chars: usize,
    /// Whether each language is counted separately.
    pub by_language: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Self { max_times: 6, bucket: 30_000_000, min_chars: 1, by_language: true }
    }
}

impl Lines {
    /// The key of a line; `None` for a line that the step ignores.
    #[must_use]
    pub fn key(&self, line: &str, group: u64) -> Option<u64> {
        let (mut state, mut count, mut pending) = (group, 0, false);
        for c in line.chars() {
            if c.is_whitespace() {
                pending = count > 0;
                continue;
            }
            let c = if c.is_numeric() { '0' } else { c };
            if !c.is_alphanumeric() {
                continue;
            }
            if pending {
                state = hash::combine(state, 32);
                pending = false;
            }
            count += 1;
            for lower in c.to_lowercase() {
                state = hash::combine(state, u64::from(lower as u32));
            }
        }
        (count >= self.min_chars.max(1)).then_some(state)
    }

    /// Keys of all lines of a text that the step does not ignore.
    pub fn keys<'a>(&'a self, text: &'a str, group: u64) -> impl Iterator<Item = u64> + 'a {
        text.split('\n').filter_map(move |line| self.key(line, group))
    }

    /// The bucket of a document, given the number of buckets of its language.
    #[must_use]
    pub fn bucket_of(&self, document: u64, documents: u64) -> u64 {
        let buckets = documents.div_ceil(self.bucket.max(1)).max(1);
        hash::combine(document, 0x6c69_6e65) % buckets
    }

    /// The text without its frequent lines, and the number of removed lines; `None` if nothing is removed.
    #[must_use]
    pub fn without(&self, text: &str, group: u64, frequent: impl Fn(u64) -> bool) -> Option<(String, usize)> {
        let (mut kept, mut removed) = (Vec::new(), 0);
        for line in text.split('\n') {
            match self.key(line, group) {
                Some(key) if frequent(key) => removed += 1,
                _ => kept.push(line),
            }
        }
        (removed > 0).then(|| (kept.join("\n").trim_matches('\n').to_owned(), removed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms() {
        let lines = Lines::default();
        let key = |line| lines.key(line, 0);
        assert_eq!(key("  Page 12 of 30!"), key("page 99, of 45"));
        assert_ne!(key("page one"), key("pageone"));
        assert_eq!((key("}"), key(""), key(" -- ")), (None, None, None));
        assert_ne!(key("a"), lines.key("a", 1));
        let frequent = key("Share this").unwrap();
        let text = "Title\nShare this\n{\n}\nshare THIS!\nEnd";
        assert_eq!(lines.without(text, 0, |key| key == frequent), Some(("Title\n{\n}\nEnd".into(), 2)));
        assert_eq!(lines.without("Title", 0, |key| key == frequent), None);
    }

    #[test]
    fn buckets_hold_the_asked_number_of_documents() {
        let lines = Lines { bucket: 100, ..Lines::default() };
        let counts = (0..1000).fold([0; 10], |mut counts, n| {
            counts[lines.bucket_of(n, 1000) as usize] += 1;
            counts
        });
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
        assert_eq!(lines.bucket_of(5, 100), 0);
    }
}
