//! Compares standard output with the expected output.

mod unordered;

use serde::{Deserialize, Serialize};

/// How standard output is compared with the expected output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Line by line. White space at line ends and empty lines at the end are ignored; numbers with a decimal point
    /// are compared as numbers.
    #[default]
    Lines,
    /// Byte by byte.
    Exact,
    /// Word by word; words are separated by any white space.
    Tokens,
    /// The same lines in any order: each can be paired with one expected line of its own that it equals.
    UnorderedLines,
    /// The same words in any order: each can be paired with one expected word of its own that it equals.
    UnorderedTokens,
}

/// A comparison method with its tolerances for numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rule {
    /// The method.
    pub compare: Compare,
    /// Absolute tolerance: numbers agree if |got - expected| <= atol + rtol * |expected|.
    pub atol: Option<f64>,
    /// Relative tolerance, as a fraction of the expected number.
    pub rtol: Option<f64>,
}

/// Describes the first difference in one sentence; `None` if the outputs agree.
pub fn difference(got: &str, expected: &str, rule: &Rule) -> Option<String> {
    let same: Vec<(String, String)> = match rule.compare {
        Compare::Exact => return (got != expected).then(|| "it differs byte for byte".into()),
        Compare::Lines => {
            let (got, expected) = (lines(got), lines(expected));
            if got.len() != expected.len() {
                let at = got.iter().zip(&expected).position(|(g, e)| !same_line(g, e, rule));
                let at = at.unwrap_or(got.len().min(expected.len()));
                return Some(told(at, got.get(at).copied(), expected.get(at).copied()));
            }
            let at = got.iter().zip(&expected).position(|(g, e)| !same_line(g, e, rule))?;
            return Some(told(at, Some(got[at]), Some(expected[at])));
        }
        Compare::Tokens => {
            let (got, expected): (Vec<&str>, Vec<&str>) =
                (got.split_whitespace().collect(), expected.split_whitespace().collect());
            if got.len() != expected.len() {
                return Some(format!("{} words were expected, and there are {}", expected.len(), got.len()));
            }
            got.iter().zip(expected).map(|(g, e)| ((*g).to_owned(), e.to_owned())).collect()
        }
        Compare::UnorderedLines | Compare::UnorderedTokens => {
            let is_lines = rule.compare == Compare::UnorderedLines;
            let parts =
                |text| -> Vec<&str> { if is_lines { lines(text) } else { str::split_whitespace(text).collect() } };
            let (got, expected) = (parts(got), parts(expected));
            if got.len() != expected.len() {
                return Some(format!("{} parts were expected, and there are {}", expected.len(), got.len()));
            }
            let (got, expected) = unordered::unmatched(&got, &expected, rule)?;
            return Some(format!("expected {:?}, got {:?}", short(expected), short(got)));
        }
    };
    let differs = same.iter().find(|(got, expected)| !same_line(got, expected, rule))?;
    Some(format!("expected {:?}, got {:?}", short(&differs.1), short(&differs.0)))
}

fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

fn told(at: usize, got: Option<&str>, expected: Option<&str>) -> String {
    let show = |line: Option<&str>| line.map_or_else(|| "nothing".into(), |line| format!("{:?}", short(line)));
    format!("line {}: expected {}, got {}", at + 1, show(expected), show(got))
}

fn short(text: &str) -> String {
    if text.chars().count() <= 80 { text.to_owned() } else { text.chars().take(80).collect::<String>() + "..." }
}

/// Whether two lines are equal, or differ only in numbers that [`same_number`] calls equal. White space between words
/// must be the same.
fn same_line(got: &str, expected: &str, rule: &Rule) -> bool {
    if got == expected {
        return true;
    }
    let parts = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let spaces = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_whitespace()).filter(|space| !space.is_empty()).map(str::to_owned).collect()
    };
    let (got_parts, expected_parts) = (parts(got), parts(expected));
    got_parts.len() == expected_parts.len()
        && spaces(got) == spaces(expected)
        && got_parts.iter().zip(&expected_parts).all(|(g, e)| g == e || same_number(g, e, rule))
}

/// Whether two numbers are equal. Without a tolerance, the expected number must have a decimal point or an exponent;
/// an expected integer is compared as text. The numbers are equal if their relative difference is at most 10^-9, which
/// allows for rounding errors, or if both have at least six decimals and their absolute or relative difference is at
/// most 10^-6, as in competitive programming.
fn same_number(got: &str, expected: &str, rule: &Rule) -> bool {
    let (Some(g), Some(e)) = (number(got), number(expected)) else { return false };
    same_value(got, g, expected, e, rule)
}

/// [`same_number`] of two words and their values.
fn same_value(got: &str, g: f64, expected: &str, e: f64, rule: &Rule) -> bool {
    if rule.atol.is_some() || rule.rtol.is_some() {
        let (atol, rtol) = (rule.atol.unwrap_or(0.0), rule.rtol.unwrap_or(0.0));
        return g == e || (g - e).abs() <= atol + rtol * e.abs();
    }
    let Some(decimals) = decimals(expected) else { return false };
    let both = decimals.min(self::decimals(got).unwrap_or(0));
    let (apart, size) = ((g - e).abs(), e.abs());
    apart <= 1e-9 * size || both >= 6 && apart <= 1e-6 * size.max(1.0)
}

/// Parses a decimal number: digits with optional sign, point and exponent. `inf`, `nan` and `1_0` give `None`.
fn number(text: &str) -> Option<f64> {
    let is_number = text.bytes().any(|b| b.is_ascii_digit()) && text.bytes().all(|b| b"+-.eE0123456789".contains(&b));
    text.parse::<f64>().ok().filter(|value| is_number && value.is_finite())
}

/// Number of digits after the decimal point; `None` for an integer. A number with an exponent counts as 17 digits.
fn decimals(text: &str) -> Option<usize> {
    if text.contains(['e', 'E']) {
        return Some(17);
    }
    text.split_once('.').map(|(_, after)| after.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(got: &str, expected: &str, rule: Rule) -> bool {
        difference(got, expected, &rule).is_none()
    }

    #[test]
    fn lines_are_compared_without_trailing_space() {
        for (got, expected, expected_same) in [
            ("8\n", "8", true),
            ("8  \n9\n\n", "8\n9", true),
            ("8\r\n9", "8\n9\n", true),
            (" 8", "8", false),
            ("8\n\n9", "8\n9", false),
            ("", "\n", true),
            ("8", "8\n9", false),
            ("1  2", "1 2", false),
            ("2 1", "1 2", false),
        ] {
            assert_eq!(same(got, expected, Rule::default()), expected_same, "{got:?} {expected:?}");
        }
    }

    #[test]
    fn decimals_are_compared_as_numbers() {
        for (got, expected, expected_same) in [
            ("0.333333", "0.333333333333", true),
            ("0.33", "0.333333333333", false),
            ("0.333343", "0.333333333333", false),
            ("1.50", "1.5", true),
            ("1.51", "1.5", false),
            ("-0.0", "0.0", true),
            ("0.30000000000000004", "0.3", true),
            ("3.14159", "3.14", false),
            ("3", "3.0", true),
            ("3.0", "3", false),
            ("1e-3", "0.001", true),
            ("x 1.50 y", "x 1.5 y", true),
            ("x 1.50 z", "x 1.5 y", false),
            ("nan", "0.0", false),
            ("inf", "1.0", false),
            ("1000000.5", "1000000.6", false),
            ("1_0.0", "10.0", false),
        ] {
            assert_eq!(same(got, expected, Rule::default()), expected_same, "{got:?} {expected:?}");
        }
        let near = Rule { atol: Some(1e-2), ..Rule::default() };
        assert!(same("3.141", "3.14", near) && same("3.001", "3", near) && !same("3.2", "3.14", near));
        let relative = Rule { rtol: Some(0.1), ..Rule::default() };
        assert!(same("105", "100", relative) && !same("120", "100", relative) && !same("a", "b", relative));
    }

    #[test]
    fn other_ways_to_compare() {
        let by = |compare| Rule { compare, ..Rule::default() };
        assert!(same("1\n2 3", "1 2\n3", by(Compare::Tokens)) && !same("1 2", "2 1", by(Compare::Tokens)));
        assert!(
            same("b\na\n", "a\nb", by(Compare::UnorderedLines)) && !same("a\na", "a\nb", by(Compare::UnorderedLines))
        );
        assert!(same("b a", "a\nb", by(Compare::UnorderedTokens)) && !same("a", "a a", by(Compare::UnorderedTokens)));
        assert!(!same("a\n", "a", by(Compare::Exact)) && same("a", "a", by(Compare::Exact)));
        let said = difference("1\n2", "1\n3", &Rule::default()).unwrap();
        assert_eq!(said, "line 2: expected \"3\", got \"2\"");
    }

    #[test]
    fn unordered_parts_are_matched_as_numbers() {
        let near = |compare, atol| Rule { compare, atol: Some(atol), ..Rule::default() };
        let (words, lines) = (Compare::UnorderedTokens, Compare::UnorderedLines);
        for (got, expected, rule, expected_same) in [
            ("10.0 9", "9.9999 9", near(words, 1e-3), true),
            ("9 10.0", "9.9999 9", near(words, 1e-3), true),
            ("10.0 9", "9.9999 9", near(words, 1e-5), false),
            ("10.0 9 9", "9.9999 10 9", near(words, 1e-3), false),
            // Only one matching pairs all of these, and it pairs no equal texts.
            ("1.0 1.4", "1.0 0.6", near(words, 0.41), true),
            ("1.0 1.4", "1.0 0.6", near(words, 0.39), false),
            // Two numbers need the same expected one.
            ("1 1 5", "1 5 5", near(words, 1.0), false),
            ("-1 -0.0", "0.0 -1", Rule { compare: words, ..Rule::default() }, true),
            ("0 -0.0", "0.0 0", Rule { compare: words, ..Rule::default() }, true),
            ("0.0 -0.0", "0.0 0", Rule { compare: words, ..Rule::default() }, false),
            // The first numbers of these lines are near each other, so that the second ones decide.
            ("1.001 3\n1.0 5", "1.0 3\n1.0 5", near(lines, 0.01), true),
            ("1.001 3\n1.0 4", "1.0 3\n1.0 5", near(lines, 0.01), false),
            ("b 9.9\na 10", "a 9.95\nb 10.0", near(lines, 0.2), true),
            ("b 9.9\na 10", "a 9.95\na 10.0", near(lines, 0.2), false),
            ("1  2", "1 2", near(lines, 0.2), false),
            ("nan 1", "nan 1.1", near(words, 0.2), true),
            ("inf 1", "nan 1.1", near(words, 0.2), false),
        ] {
            assert_eq!(same(got, expected, rule), expected_same, "{got:?} {expected:?} {rule:?}");
        }
        // A relative tolerance above 1 lets 0 agree with every number, but not every number with 0.
        let relative = Rule { compare: words, rtol: Some(1.5), ..Rule::default() };
        assert!(same("0 7", "7 9", relative) && !same("7 9", "0 7", relative));
        let said = difference("1 2 9", "9 2 4", &near(words, 0.5)).unwrap();
        assert_eq!(said, "expected \"2\", got \"1\"");
    }

    #[test]
    fn unordered_parts_are_matched_in_bounded_time() {
        let rule = |atol| Rule { compare: Compare::UnorderedTokens, atol: Some(atol), ..Rule::default() };
        let list = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|n| format!("{n} ")).collect::<String>();
        let start = std::time::Instant::now();
        let expected = list(&mut (0..100_000).map(f64::from));
        assert!(same(&list(&mut (0..100_000).rev().map(|i| f64::from(i) + 0.1)), &expected, rule(0.2)));
        assert!(!same(&list(&mut (0..100_000).map(|i| f64::from(i) + 0.3)), &expected, rule(0.2)));
        // All numbers agree with all, except one that agrees with none: the search ends at its maximum of pairs.
        let got = list(&mut (0..100_000).map(f64::from).chain([5.5]));
        assert!(!same(&got, &format!("{expected} 2e9"), rule(2e5)));
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
