//! Compiles the built-in regular expressions.

use regex::Regex;

/// Compiles a regular expression that is a constant of this crate.
///
/// # Panics
/// When the pattern is invalid, which is a bug in this crate. An invalid pattern that silently matches nothing would be
/// worse.
pub(crate) fn pattern(text: &str) -> Regex {
    match Regex::new(text) {
        Ok(regex) => regex,
        Err(why) => panic!("mathverify: a built-in pattern does not compile: {why}"),
    }
}
