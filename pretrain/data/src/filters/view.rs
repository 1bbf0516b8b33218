//! A text with derived data that several filters need, computed once.

use std::cell::OnceCell;
use std::collections::hash_map::Entry;
use std::ops::Range;

use super::words::{is_space, split};
use crate::hash;

/// A text for the filters.
pub struct View<'a> {
    text: &'a str,
    chars: OnceCell<usize>,
    words: OnceCell<Vec<Range<u32>>>,
}

impl<'a> View<'a> {
    /// A view of the text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, chars: OnceCell::new(), words: OnceCell::new() }
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// Number of characters (code points).
    #[must_use]
    pub fn chars(&self) -> usize {
        *self.chars.get_or_init(|| chars(self.text))
    }

    /// Byte ranges of the words.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u32>] {
        self.words.get_or_init(|| split(self.text))
    }

    /// The words.
    pub fn words(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.ranges().iter().map(|range| &self.text[range.start as usize..range.end as usize])
    }

    /// Number of words.
    #[must_use]
    pub fn word_count(&self) -> usize {
        self.ranges().len()
    }
}

/// Number of code points.
pub(crate) fn chars(text: &str) -> usize {
    text.chars().count()
}

/// The text without white space at its ends, as with Python's `strip`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// The lines, as with Python's `splitlines`.
pub(crate) fn split_lines(text: &str) -> Vec<&str> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}' | '\u{1d}' | '\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let Some(at) = rest.find(is_end) else {
            lines.push(rest);
            break;
        };
        lines.push(&rest[..at]);
        let end = rest[at..].chars().next().map_or(1, char::len_utf8);
        rest = &rest[at + end + usize::from(rest[at..].starts_with("\r\n"))..];
    }
    lines
}

/// The parts between sequences of at least `run` newlines, as with Python's `re.split`.
pub(crate) fn split_runs(text: &str, run: usize) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut parts, mut start, mut at) = (Vec::new(), 0, 0);
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| **byte == b'\n').count();
        if length >= run {
            parts.push(&text[start..at]);
            start = at + length;
        }
        at += length.max(1);
    }
    parts.push(&text[start..]);
    parts
}

/// The number of repeated parts, and their characters.
pub(crate) fn duplicates(parts: &[&str]) -> (usize, usize) {
    let mut seen: hash::Map<&str> = hash::Map::default();
    let (mut count, mut length) = (0, 0);
    for part in parts {
        match seen.entry(hash::bytes(part.as_bytes())) {
            Entry::Vacant(free) => _ = free.insert(part),
            Entry::Occupied(_) => {
                count += 1;
                length += chars(part);
            }
        }
    }
    (count, length)
}

/// A share of a whole; 0 if the whole is 0.
pub(crate) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_as_python_gives_them() {
        assert_eq!(split_lines("a\r\nb\n\nc\u{2028}d\n"), ["a", "b", "", "c", "d"]);
        assert_eq!(split_lines(""), Vec::<&str>::new());
        assert_eq!(split_runs("a\nb\n\nc\n\n\nd", 2), ["a\nb", "c", "d"]);
        assert_eq!(split_runs("\na\n\nb\n", 1), ["", "a", "b", ""]);
        assert_eq!(duplicates(&["ab", "c", "ab", "ab"]), (2, 4));
    }
}
