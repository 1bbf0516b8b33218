//! The words around a place where a sentence may end, and the decision.

use std::sync::LazyLock;

use regex::Regex;

use super::is_non_word;
use super::model::{BEGINS_LOWER, ENGLISH, INSIDE_UPPER, LOWER, UPPER};
use crate::python::{is_space, pattern};

/// Whether a part of a text has a sentence break that is followed by another word.
pub(super) fn contains_break(text: &[char]) -> bool {
    let lines = text.split(|&c| c == '\n');
    let mut tokens: Vec<Token> = lines.flat_map(words).map(|word| Token::new(&word)).collect();
    for i in 0..tokens.len().saturating_sub(1) {
        let (left, right) = tokens.split_at_mut(i + 1);
        reconsider(&mut left[i], &right[0]);
    }
    tokens.iter().rev().skip(1).any(|token| token.breaks)
}

/// The length of `--`, `...` or `. . .` at `i`.
fn multi_mark(text: &[char], i: usize) -> Option<usize> {
    let run = |mark: char| text[i..].iter().take_while(|&&c| c == mark).count();
    match text.get(i)? {
        '-' => Some(run('-')).filter(|&n| n >= 2),
        '.' if run('.') >= 2 => Some(run('.')),
        '.' => {
            let pair =
                |n: usize| text.get(i + 2 * n) == Some(&'.') && text.get(i + 2 * n + 1).is_some_and(|&c| is_space(c));
            let pairs = (0..).take_while(|&n| pair(n)).count();
            let pairs = if text.get(i + 2 * pairs) == Some(&'.') { pairs } else { pairs.saturating_sub(1) };
            (pairs >= 2).then_some(2 * pairs + 1)
        }
        _ => None,
    }
}

/// The words of a line, including their periods.
fn words(line: &[char]) -> Vec<String> {
    let ends = |j: usize| match line.get(j) {
        None => true,
        Some(&c) => is_space(c) || is_non_word(c) || multi_mark(line, j).is_some(),
    };
    let starts = |c: char| !"(\"`{[:;&#*@)}]-,".contains(c);
    let mut words = Vec::new();
    let mut i = 0;
    while i < line.len() {
        if is_space(line[i]) {
            i += 1;
            continue;
        }
        let length = multi_mark(line, i).unwrap_or_else(|| {
            let end = |j: &usize| ends(*j) || line[*j] == ',' && ends(j + 1);
            if starts(line[i]) { (i + 1..=line.len()).find(end).map_or(1, |j| j - i) } else { 1 }
        });
        words.push(line[i..i + length].iter().collect());
        i += length;
    }
    words
}

/// A word and its classification.
struct Token {
    text: String,
    /// Lower case; `##number##` for numbers.
    kind: String,
    breaks: bool,
    abbreviation: bool,
    ellipsis: bool,
}

impl Token {
    /// The decision by the word alone: final marks end sentences, known abbreviations do not.
    fn new(text: &str) -> Self {
        static NUMBER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^-?[\.,]?\d[\d,\.-]*\.?$"));
        let lower = text.to_lowercase();
        let is_number = NUMBER.is_match(&lower);
        let kind = if is_number { "##number##".to_owned() } else { lower.clone() };
        let mut token = Self { text: text.to_owned(), kind, breaks: false, abbreviation: false, ellipsis: false };
        if matches!(text, "." | "?" | "!") {
            token.breaks = true;
        } else if text.len() >= 2 && text.chars().all(|c| c == '.') {
            token.ellipsis = true;
        } else if text.ends_with('.') && !text.ends_with("..") {
            let stem = &lower[..lower.len() - 1];
            let last = stem.rsplit('-').next().unwrap_or(stem);
            token.abbreviation = [stem, last].iter().any(|word| ENGLISH.abbreviations.contains(word));
            token.breaks = !token.abbreviation;
        }
        token
    }

    /// The kind without a final period.
    fn stem(&self) -> &str {
        let stem = self.kind.strip_suffix('.').unwrap_or(&self.kind);
        if stem.is_empty() { &self.kind } else { stem }
    }

    /// The kind, without the final period if the period ends a sentence.
    fn without_break(&self) -> &str {
        if self.breaks { self.stem() } else { &self.kind }
    }

    /// A letter with a period.
    fn is_initial(&self) -> bool {
        let mut chars = self.text.chars();
        let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
        first && chars.as_str() == "."
    }

    fn begins(&self, test: impl Fn(char) -> bool) -> bool {
        self.text.chars().next().is_some_and(test)
    }

    /// Whether the word's case indicates the start of a sentence (section 4.1.1 of the paper); `None` if unknown.
    fn starts_sentence(&self) -> Option<bool> {
        if self.text.len() == 1 && ";:,.!?".contains(&self.text) {
            return Some(false);
        }
        let seen = ENGLISH.orthography(self.without_break());
        if self.begins(char::is_uppercase) && seen & LOWER != 0 && seen & INSIDE_UPPER == 0 {
            return Some(true);
        }
        if self.begins(char::is_lowercase) && (seen & UPPER != 0 || seen & BEGINS_LOWER == 0) {
            return Some(false);
        }
        None
    }
}

/// The decision about a word with a period, by the next word (section 4 of the paper).
fn reconsider(token: &mut Token, next: &Token) {
    if !token.text.ends_with('.') {
        return;
    }
    let stem = token.stem().to_owned();
    let after = next.without_break();
    let initial = token.is_initial();
    let starts = next.starts_sentence();
    let abbreviate = |token: &mut Token| (token.breaks, token.abbreviation) = (false, true);
    if ENGLISH.collocations.contains(&(stem.as_str(), after)) {
        abbreviate(token);
        return;
    }
    if (token.abbreviation || token.ellipsis) && !initial {
        let frequent = next.begins(char::is_uppercase) && ENGLISH.starters.contains(after);
        if starts == Some(true) || frequent {
            token.breaks = true;
            return;
        }
    }
    if initial || stem == "##number##" {
        let always_upper = next.begins(char::is_uppercase) && ENGLISH.orthography(after) & LOWER == 0;
        if starts == Some(false) || starts.is_none() && initial && always_upper {
            abbreviate(token);
        }
    }
}
