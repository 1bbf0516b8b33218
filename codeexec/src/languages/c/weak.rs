//! Finds assertions whose result does not depend on the program. Such assertions judge nothing and are not counted.

use super::tests::{without_comments, words};

/// Whether an asserted expression can detect a wrong program. These cannot: constants, `... || 1`, `x == x`, an
/// expression with a message after a comma, and the bare name of a function of the program.
pub fn judges(text: &str, code: &str) -> bool {
    const FIXED: [&str; 8] = ["true", "false", "NULL", "nullptr", "sizeof", "int", "char", "double"];
    let plain = without_comments(text);
    let plain = plain.trim();
    let names: Vec<&str> =
        words(plain).filter(|word| !FIXED.contains(word) && !word.starts_with(|c: char| c.is_ascii_digit())).collect();
    if names.is_empty() || plain.ends_with(',') {
        return false;
    }
    let squeezed: String = plain.chars().filter(|c| !c.is_whitespace()).collect();
    if ["||1", "||true"].iter().any(|end| squeezed.ends_with(end))
        || ["1||", "true||"].iter().any(|start| squeezed.starts_with(start))
    {
        return false;
    }
    if let Some((left, right)) = squeezed.split_once("==")
        && left == right
    {
        return false;
    }
    let is_name = names.len() == 1 && squeezed.trim_start_matches(['&', '*', '(']).trim_end_matches(')') == names[0];
    !(is_name && code.match_indices(names[0]).any(|(at, name)| code[at + name.len()..].trim_start().starts_with('(')))
}

#[cfg(test)]
mod tests {
    use super::judges;

    #[test]
    fn what_judges() {
        let code = "int up(int x) { return x + 1; }";
        for text in ["up(1) == 2", "!up(-1)", "up(1) == 2 && \"wrong\"", "x == 2", "ok", "strcmp(name(1), \"a\") == 0"]
        {
            assert!(judges(text, code), "{text}");
        }
        for text in [
            "1",
            "true",
            "2 + 2 == 4",
            "up(1) == 2 || 1",
            "up(1) == up(1)",
            "\"up(1) == 2\"",
            "up",
            "&up",
            "up(1) == 2, \"wrong\"",
        ] {
            assert!(!judges(text, code), "{text}");
        }
    }
}
