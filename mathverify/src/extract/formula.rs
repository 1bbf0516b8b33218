//! Finds the formulas of a text, and the last formula or number.

use std::ops::Range;

use super::number;
use super::says::{says, says_number};

/// Byte ranges of the formulas of a text without their delimiters (`$...$`, `$$...$$`, `\(...\)`, `\[...\]`), in order.
pub(crate) fn segments(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut i = 0;
    // After a closing delimiter was not found, it is not searched again. So the time is linear in the text's length.
    let mut missing = [false; 2];
    let mut dollars_left = true;
    loop {
        let next =
            if dollars_left { memchr::memchr2(b'$', b'\\', &bytes[i..]) } else { memchr::memchr(b'\\', &bytes[i..]) };
        let Some(offset) = next else { break };
        i += offset;
        if bytes[i] == b'\\' {
            let (close, kind): (&[u8], usize) = match bytes.get(i + 1) {
                Some(b'(') => (b"\\)", 0),
                Some(b'[') => (b"\\]", 1),
                _ => {
                    i += 2;
                    if i >= bytes.len() {
                        break;
                    }
                    continue;
                }
            };
            let start = i + 2;
            let found = if missing[kind] { None } else { memchr::memmem::find(&bytes[start..], close) };
            match found {
                Some(length) => {
                    out.push(start..start + length);
                    i = start + length + 2;
                }
                None => {
                    missing[kind] = true;
                    i = start;
                }
            }
            continue;
        }
        let double = bytes.get(i + 1) == Some(&b'$');
        let start = i + 1 + usize::from(double);
        let mut end = None;
        let mut from = start;
        while let Some(n) = memchr::memchr(b'$', &bytes[from..]) {
            let at = from + n;
            if at > 0 && bytes[at - 1] == b'\\' {
                from = at + 1;
                continue;
            }
            end = Some(at);
            break;
        }
        if end.is_none() {
            // The text has no further dollar that could close this one.
            i = start;
            if i >= bytes.len() {
                break;
            }
            dollars_left = false;
            continue;
        }
        let end = end.filter(|end| double || memchr::memmem::find(&bytes[start..*end], b"\n\n").is_none());
        match end {
            // `$5 and $6` are prices and no formula.
            Some(end) if double || !currency(text, start, end) => {
                out.push(start..end);
                i = end + 1 + usize::from(double && bytes.get(end + 1) == Some(&b'$'));
            }
            _ => i = start,
        }
        if i >= bytes.len() {
            break;
        }
    }
    out
}

/// Whether the dollar before `start` marks a price and not a formula: a digit follows it, and the text up to the next
/// dollar, at `end`, has words or is incomplete as a formula.
fn currency(text: &str, start: usize, end: usize) -> bool {
    let content = &text[start..end];
    let digit = content.starts_with(|c: char| c.is_ascii_digit());
    let prose = content.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| w.len() >= 3).count();
    // `$30-($30*0.1)`: text between two prices is not a formula.
    let trimmed = content.trim_end();
    if digit
        && (trimmed.ends_with(['+', '-', '*', '/', '(', '=', '×'])
            || content.matches('(').count() != content.matches(')').count())
    {
        return true;
    }
    let latex = content.contains('\\') || content.contains('^') || content.contains('_');
    (digit && (prose >= 1 && !latex))
        || content.trim().is_empty()
        || (content.ends_with(' ') && digit && text[end..].len() > 1 && text.as_bytes()[end + 1].is_ascii_digit())
}

/// The text without its formulas and their delimiters.
pub(super) fn outside(text: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    for s in segments(text) {
        out.push_str(text[at..s.start].trim_end_matches(['$', '\\', '(', '[']));
        out.push(' ');
        at = s.end;
    }
    out.push_str(text[at..].trim_start_matches(['$', '\\', ')', ']']));
    out
}

/// The last formula (`true`), or the last number (`false`) if it comes after the formula. `None` if the sentence only
/// mentions that value (`says.rs`).
pub(super) fn last(text: &str) -> Option<(Range<usize>, bool)> {
    let formulas = segments(text);
    let number = number::last(text);
    let formula = formulas.iter().rev().find(|s| {
        let content = &text[(*s).clone()];
        content.trim().len() > 1 || content.contains(|c: char| c.is_ascii_digit() || c.is_ascii_uppercase())
    });
    match (formula, number) {
        (Some(f), Some(n)) if n.start >= f.end => Some((spoken(text, n)?, false)),
        (Some(f), _) => {
            let found = joined(text, &formulas, with_percent(text, f.clone()));
            let sentence = sentence_before(text, found.start)..text.len();
            let inside = found.start - sentence.start..found.end - sentence.start;
            says(&text[sentence], &inside).then_some((found, true))
        }
        (None, Some(n)) => Some((spoken(text, n)?, false)),
        (None, None) => formulas.last().map(|f| (f.clone(), true)),
    }
}

/// The number that the last sentence states: "34 hours in 4 weeks" states 34.
fn spoken(text: &str, last: Range<usize>) -> Option<Range<usize>> {
    // The part of the sentence around the last number: it starts after the last full stop, newline or formula.
    let before = &text[..last.start];
    let stop = |p: &str| before.rfind(p).map(|i| i + p.len());
    let start =
        [stop(". "), stop("\n"), stop("。"), stop("! "), stop("? "), stop("। "), stop("$"), stop("\\)"), stop("\\]")]
            .into_iter()
            .flatten()
            .max()
            .unwrap_or(0);
    let end = text[last.end..].find(['\n', '。']).map_or(text.len(), |i| last.end + i);
    if let Some(rest) = super::phrase::spoken_rest(&text[start..end]) {
        return Some(start + rest.start..start + rest.end);
    }
    // The number may be in the part before a formula: "20 workers are needed for $x$ widgets in 4 hours".
    let sentence = sentence_before(text, last.start);
    if let Some(n) = super::phrase::needed_number(&text[sentence..end]) {
        return Some(sentence + n.start..sentence + n.end);
    }
    let found = match super::phrase::spoken_number(&text[start..end]) {
        Some(n) => start + n.start..start + n.end,
        None => plain(text, last),
    };
    let inside = found.start.checked_sub(sentence)?..found.end - sentence;
    says_number(&text[sentence..end.max(found.end)], &inside).then_some(found)
}

/// The start of the sentence that contains the byte `at`.
fn sentence_before(text: &str, at: usize) -> usize {
    let before = &text[..at];
    let stop = |p: &str| before.rfind(p).map(|i| i + p.len());
    let ends = [stop(". "), stop("\n"), stop("。"), stop("! "), stop("? "), stop("। ")];
    ends.into_iter().flatten().max().unwrap_or(0)
}

/// The span of `last`, extended to the formulas before it that commas or "and" join to it.
fn joined(text: &str, formulas: &[Range<usize>], last: Range<usize>) -> Range<usize> {
    let mut span = last;
    for f in formulas.iter().rev() {
        if f.end > span.start {
            continue;
        }
        let between = &text[f.end..span.start];
        let glue = between.trim_matches(|c: char| "$\\()[] ".contains(c));
        let comma = glue.trim_matches(',').trim();
        let connected = glue.contains(',') || !comma.is_empty();
        if between.contains('\n') || !connected || !(comma.is_empty() || super::CONNECTORS.contains(&comma)) {
            break;
        }
        span = f.start..span.end;
    }
    span
}

/// The span of a formula, extended to a percent sign after the closing delimiter.
fn with_percent(text: &str, span: Range<usize>) -> Range<usize> {
    let rest = &text[span.end..];
    let skipped = rest.trim_start_matches(|c: char| c == '$' || c == '\\' || c == ')' || c == ']' || c.is_whitespace());
    for mark in ["%", "percent", "pct"] {
        if skipped.starts_with(mark) {
            return span.start..span.end + (rest.len() - skipped.len()) + mark.len();
        }
    }
    span
}

/// The span of a number, extended to the LaTeX command around it in plain text: `(\frac{2}{5})`.
pub(super) fn plain(text: &str, number: Range<usize>) -> Range<usize> {
    let before = &text[..number.start];
    if let Some(at) = before.rfind("\\frac").or_else(|| before.rfind("\\dfrac")).or_else(|| before.rfind("\\sqrt"))
        && number.start - at < 40
        && !before[at..].contains(char::is_whitespace)
    {
        let mut depth = 0_i32;
        let mut end = number.end;
        for (i, c) in text[at..].char_indices().take(200) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if at + i + c.len_utf8() >= number.end && depth <= 0 {
                end = at + i + c.len_utf8();
                break;
            }
        }
        return at..end;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_and_prices() {
        let text = "costs $5 and $6, but $x = 3$ and \\(y\\) or \\[z^2\\]";
        let found: Vec<&str> = segments(text).into_iter().map(|r| &text[r]).collect();
        assert_eq!(found, ["x = 3", "y", "z^2"]);
    }
}
