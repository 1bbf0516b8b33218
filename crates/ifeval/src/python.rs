//! Python's definitions of white space, words, upper and lower case, which the official checkers use.

use std::sync::LazyLock;

use regex::Regex;

/// Compiles a pattern of this crate.
///
/// # Panics
/// When the pattern is invalid, which is a defect of this crate. A search that silently finds nothing would be worse.
pub(crate) fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|why| panic!("ifeval: a built-in pattern does not compile: {why}"))
}

/// `str.isspace` of one character: Unicode's white space and the four information separators.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.split()`'s first word.
pub(crate) fn first_word(text: &str) -> &str {
    text.split(is_space).find(|word| !word.is_empty()).unwrap_or_default()
}

/// A titlecase letter such as `ǅ`: neither upper nor lower.
fn is_title(c: char) -> bool {
    !c.is_uppercase() && !c.is_lowercase() && c.to_lowercase().ne([c]) && c.to_uppercase().ne([c])
}

/// `str.isupper()`: at least one cased character, and no cased character that is not upper case.
pub(crate) fn is_upper(text: &str) -> bool {
    text.chars().any(char::is_uppercase) && !text.chars().any(|c| c.is_lowercase() || is_title(c))
}

/// `str.islower()`: at least one cased character, and no cased character that is not lower case.
pub(crate) fn is_lower(text: &str) -> bool {
    text.chars().any(char::is_lowercase) && !text.chars().any(|c| c.is_uppercase() || is_title(c))
}

/// Number of matches of `\w+`. Python's `\w` matches letters, numbers and the underscore, but, unlike that of Rust's
/// `regex`, no combining marks, so Hindi words count several times.
pub(crate) fn count_words(text: &str) -> usize {
    static WORD: LazyLock<Regex> = LazyLock::new(|| pattern(r"[\p{L}\p{N}_]+"));
    WORD.find_iter(text).count()
}

/// Number of matches of a pattern from the data, as with `re.findall`. A pattern that Rust's `regex` cannot parse is
/// searched literally.
pub(crate) fn count_matches(pattern: &str, text: &str) -> usize {
    let literal = || Regex::new(&regex::escape(pattern));
    Regex::new(pattern).or_else(|_| literal()).map_or(0, |pattern| pattern.find_iter(text).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_as_in_python() {
        for (text, upper, lower) in [
            ("ABC 1!", true, false),
            ("abc 1!", false, true),
            ("Abc", false, false),
            ("123", false, false),
            ("ÀÉ", true, false),
            ("A\u{1c5}", false, false),
            ("", false, false),
            ("ⅷ", false, true),
        ] {
            assert_eq!((is_upper(text), is_lower(text)), (upper, lower), "{text}");
        }
        assert_eq!(count_words("It's a_b 3.5 naïve"), 6);
        // len(re.findall(r"\w+", "हिन्दी")) is 3 in Python 3.11.
        assert_eq!(count_words("हिन्दी"), 3);
        assert_eq!(strip("\u{1f} a \n"), "a");
    }
}
