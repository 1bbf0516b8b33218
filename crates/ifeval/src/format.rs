//! Instructions about the form of a response. The patterns are the official ones.

use std::sync::LazyLock;

use regex::Regex;
use serde::de::IgnoredAny;

use crate::python::{count_matches, first_word, pattern, strip};

/// `combination:two_responses`: two different responses with `******` between them.
pub(crate) fn two_responses(text: &str) -> bool {
    let parts: Vec<&str> = text.split("******").collect();
    let last = parts.len() - 1;
    if parts.iter().enumerate().any(|(i, part)| strip(part).is_empty() && i != 0 && i != last) {
        return false;
    }
    let responses: Vec<&str> = parts.iter().map(|part| strip(part)).filter(|part| !part.is_empty()).collect();
    responses.len() == 2 && responses[0] != responses[1]
}

/// `detectable_content:postscript`.
pub(crate) fn postscript(text: &str, marker: &str) -> bool {
    let pattern = match marker {
        "P.P.S" => r"(?m)\s*p\.\s?p\.\s?s.*$".to_owned(),
        "P.S." => r"(?m)\s*p\.\s?s\..*$".to_owned(),
        other => format!(r"(?m)\s*{}.*$", other.to_lowercase()),
    };
    count_matches(&pattern, &text.to_lowercase()) > 0
}

/// `detectable_format:constrained_response`.
pub(crate) fn constrained(text: &str) -> bool {
    ["My answer is yes.", "My answer is no.", "My answer is maybe."].iter().any(|answer| strip(text).contains(answer))
}

/// `detectable_format:json_format`: text that Python's `json.loads` accepts, in a Markdown fence or bare.
pub(crate) fn json(text: &str) -> bool {
    let mut text = strip(text);
    for prefix in ["```json", "```Json", "```JSON", "```"] {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text = strip(text.strip_suffix("```").unwrap_or(text));
    serde_json::from_str::<IgnoredAny>(text).is_ok() || serde_json::from_str::<IgnoredAny>(&finite(text)).is_ok()
}

/// Python's parser accepts `NaN`, `Infinity` and `-Infinity`; outside strings, they are replaced by a number here.
fn finite(text: &str) -> String {
    static TOKEN: LazyLock<Regex> = LazyLock::new(|| pattern(r#""(?:[^"\\]|\\.)*"|-?Infinity|NaN"#));
    let replaced = TOKEN.replace_all(text, |found: &regex::Captures<'_>| {
        let found = &found[0];
        if found.starts_with('"') { found.to_owned() } else { "0".to_owned() }
    });
    replaced.into_owned()
}

/// `detectable_format:number_bullet_lists`: lines that start with one `*` or with `-`.
pub(crate) fn bullets(text: &str) -> usize {
    count_matches(r"(?m)^\s*\*[^\*].*$", text) + count_matches(r"(?m)^\s*-.*$", text)
}

/// `detectable_format:number_highlighted_sections`: `*x*` and `**x**`; a double one counts as both.
pub(crate) fn highlights(text: &str) -> usize {
    static SINGLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\*[^\n\*]*\*"));
    static DOUBLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"\*\*[^\n\*]*\*\*"));
    let filled = |found: &regex::Match<'_>| !strip(found.as_str().trim_matches('*')).is_empty();
    SINGLE.find_iter(text).filter(filled).count() + DOUBLE.find_iter(text).filter(filled).count()
}

/// `detectable_format:title`: `<<title>>`.
pub(crate) fn title(text: &str) -> bool {
    static TITLE: LazyLock<Regex> = LazyLock::new(|| pattern(r"<<[^\n]+>>"));
    let filled =
        |found: regex::Match<'_>| !strip(found.as_str().trim_start_matches('<').trim_end_matches('>')).is_empty();
    TITLE.find_iter(text).any(filled)
}

/// `length_constraints:number_paragraphs`: paragraphs separated by `***`; `None` if one in the middle is empty.
pub(crate) fn paragraphs(text: &str) -> Option<usize> {
    static DIVIDER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\s?\*\*\*\s?"));
    let parts: Vec<&str> = DIVIDER.split(text).collect();
    let empty = |part: &&str| strip(part).is_empty();
    if parts.len() > 2 && parts[1..parts.len() - 1].iter().any(&empty) {
        return None;
    }
    // A single empty part is both first and last, and is subtracted once.
    Some(parts.iter().filter(|part| !empty(part)).count())
}

/// `length_constraints:nth_paragraph_first_word`.
pub(crate) fn nth_paragraph(text: &str, paragraphs: usize, nth: usize, first: &str) -> bool {
    let parts: Vec<&str> = text.split("\n\n").collect();
    let filled = parts.iter().filter(|part| !strip(part).is_empty()).count();
    if nth == 0 || nth > filled {
        return false;
    }
    let word = first_word(parts[nth - 1]).trim_start_matches('\'').trim_start_matches('"');
    let word: String = word.chars().take_while(|c| !['.', ',', '?', '!', '\'', '"'].contains(c)).collect();
    !strip(parts[nth - 1]).is_empty() && filled == paragraphs && word.to_lowercase() == first
}
