//! Patterns that are part of the program text.

use regex::Regex;

/// Compiles a pattern of this crate.
///
/// # Panics
/// When the pattern is wrong: an error in this crate. A search that silently finds nothing would be worse.
pub(crate) fn pattern(text: &str) -> Regex {
    match Regex::new(text) {
        Ok(regex) => regex,
        Err(why) => panic!("mathverify: a built-in pattern does not compile: {why}"),
    }
}
