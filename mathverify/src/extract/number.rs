//! Numbers in running text.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use crate::parse::fold_digit;
use crate::pattern::pattern;

/// A number in running text, with sign, currency, thousands separators, decimals, fraction, scale and percent sign.
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?x)
        [-−–]?\s?[$€£¥]?\s?
        (?: \d{1,2}:[0-5]\d\b(?:\s?[AaPp]\.?[Mm]\b)?       # 4:45 pm
          | \d{1,3}(?:(?:,|\{,\}|,\\!|['’])\d{3})+(?:\.\d+)?   # 1,234,567.8
          | \d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?          # 12,34,567
          | \d{1,3}(?:\x20\d{3})+(?:[.,]\d+)?(?:\b)       # 1 234 567
          | \d+(?:[.,]\d+)+                              # 1.5  1,5  1.234.567,8
          | \d+ | \.\d+ )
        (?: [eE][-+]?\d{1,3}\b )?                       # 1.2e3
        (?: \s?/\s?\d+ )?
        (?: \x20(?:hundred|thousand|million|billion|trillion|lakhs?|crores?)\b )?
        (?: \s?(?:\\?%|％|percent\b|pct\b) )?",
    )
});

/// Byte ranges of all numbers, in order, each with its sign, currency and percent sign.
pub(super) fn all(text: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    NUMBER.find_iter(text).filter_map(|m| tidy(text, m.range()))
}

/// Byte range of the last number.
pub(super) fn last(text: &str) -> Option<Range<usize>> {
    // Searches windows at the end of the text that grow eightfold, since the last number is usually near the end. A
    // match in the first bytes of a window may be cut off and is searched again in a larger window.
    let mut window = 256;
    loop {
        let start = super::floor_boundary(text, text.len().saturating_sub(window));
        let found = all(&text[start..]).last();
        if let Some(span) = found
            && (span.start > 40 || start == 0)
        {
            return Some(start + span.start..start + span.end);
        }
        if start == 0 {
            return None;
        }
        window *= 8;
    }
}

/// Removes characters from a match that do not belong to the number; `None` for a number inside a name such as `x2`
/// or `AZYUK2A`.
fn tidy(text: &str, span: Range<usize>) -> Option<Range<usize>> {
    let mut start = span.start;
    let found = &text[span.clone()];
    let digits = found.find(|c: char| c.is_ascii_digit() || c == '.' || fold_digit(c).is_some())?;
    let before_digits = text[..start + digits].chars().next_back();
    if before_digits.is_some_and(|c| (c.is_ascii_alphabetic() && c != 'x') || c == '_' || c == '^') {
        return None;
    }
    // `2A` and `3D` after a letter or digit are part of a name; `5kg` and `10m` are numbers with units.
    let mut after = text[span.end..].chars();
    let capital = after.next().is_some_and(|c| c.is_ascii_uppercase());
    let word = after.next().is_some_and(|c| c.is_ascii_lowercase());
    if capital && !word && before_digits.is_some_and(char::is_alphanumeric) {
        return None;
    }
    // A minus between two operands is not part of the number: `10 - 4`, `x-3`, `16-17`.
    if found.starts_with(['-', '−', '–']) {
        let before = text[..start].trim_end();
        let operand = before.chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '}'));
        let tight = before.len() == start;
        let spaced = found[found.chars().next().map_or(1, char::len_utf8)..].starts_with(' ');
        if spaced || (operand && tight) {
            start += digits;
        }
    }
    let found = &text[start..span.end];
    let lead = found.len() - found.trim_start().len();
    // "The sum is minus 3": the sign is a word, unless a number comes before this word.
    let before = text[..start + lead].trim_end();
    for sign in ["minus", "negative"] {
        if before.len() >= sign.len()
            && before.is_char_boundary(before.len() - sign.len())
            && before[before.len() - sign.len()..].eq_ignore_ascii_case(sign)
            && before[..before.len() - sign.len()].chars().next_back().is_none_or(char::is_whitespace)
            && !before[..before.len() - sign.len()].trim_end().ends_with(|c: char| c.is_numeric() || c == '%')
        {
            return Some(before.len() - sign.len()..span.end);
        }
    }
    Some(start + lead..span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<&str> {
        all(text).map(|r| &text[r]).collect()
    }

    #[test]
    fn separators_signs_and_percent() {
        assert_eq!(numbers("it costs $1,234.50, or 20% less"), ["$1,234.50", "20%"]);
        assert_eq!(numbers("10 - 4 = 6, then -3 and 16-17"), ["10", "4", "6", "-3", "16", "17"]);
        assert_eq!(numbers("1 000 m and 3/4"), ["1 000", "3/4"]);
        assert_eq!(numbers("x_2 and AZYUK2A"), Vec::<&str>::new());
        assert_eq!(last(&format!("7 {}", "word ".repeat(1000))), Some(0..1));
    }
}
