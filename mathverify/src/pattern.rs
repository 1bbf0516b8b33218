//! Patterns that are constants of the program.

use regex::Regex;

/// Compiles a pattern of this crate.
///
/// # Panics
/// When the pattern is invalid, which is a defect of this crate. A search that silently finds nothing would be worse.
pub(crate) fn pattern(text: &str) -> Regex {
    match Regex::new(text) {
        Ok(regex) => regex,
        Err(why) => panic!("mathverify: a built-in pattern does not compile: {why}"),
    }
}
