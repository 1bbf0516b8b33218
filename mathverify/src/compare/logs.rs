//! Logarithms without a base. Some authors mean the natural logarithm, others the common one (base 10). Two answers are
//! equal only if they are equal in both readings: `2\log 3` and `\log 9`, but not `\log 5` and `\ln 5`.

/// The text with base 10 added to every `log` that has no base; `None` if no `log` lacks a base.
pub(super) fn common(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    let mut found = false;
    while let Some(at) = memchr::memmem::find(rest.as_bytes(), b"log") {
        let (before, behind) = (&rest[..at], &rest[at + 3..]);
        out.push_str(before);
        out.push_str("log");
        rest = behind;
        let inside = before.ends_with(|c: char| c.is_ascii_alphabetic()) || before.is_empty() && out.len() > 3;
        let goes_on = behind.starts_with(|c: char| c.is_ascii_alphabetic() || c == '(' && two_arguments(behind));
        let base = behind.trim_start().trim_start_matches("\\limits").trim_start().starts_with(['_', '₂', '₃', '₁']);
        if !inside && !goes_on && !base {
            out.push_str("_{10}");
            found = true;
        }
    }
    out.push_str(rest);
    found.then_some(out)
}

/// Whether parentheses at the start of the text hold two arguments, as after the `log` of `log(8, 2)`.
fn two_arguments(text: &str) -> bool {
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => return true,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::common;
    use crate::{Options, Status, compare};

    #[test]
    fn bases_are_added() {
        for (text, with) in [
            ("\\log 5", Some("\\log_{10} 5")),
            ("2\\log(x) + \\log_2 3", Some("2\\log_{10}(x) + \\log_2 3")),
            ("\\log^2 x", Some("\\log_{10}^2 x")),
            ("\\log_2 3", None),
            ("log(8, 2)", None),
            ("catalog", None),
            ("\\ln 5", None),
        ] {
            assert_eq!(common(text).as_deref(), with, "{text}");
        }
    }

    #[test]
    fn equal_in_both_readings() {
        let status = |a: &str, b: &str| compare(a, b, &Options::default()).status;
        for (a, b) in [
            ("2\\log 3", "\\log 9"),
            ("\\frac{\\log 5}{\\log 2}", "\\log_2 5"),
            ("\\frac{\\log 5}{\\log 2}", "\\frac{\\ln 5}{\\ln 2}"),
            ("\\log 1", "0"),
        ] {
            assert_eq!(status(a, b), Status::Equal, "{a} and {b}");
        }
        for (a, b) in [("\\log 5", "\\ln 5"), ("\\log 100", "2"), ("\\log 5", "\\log_{10} 5"), ("\\log e", "1")] {
            assert_eq!(status(a, b), Status::Unknown, "{a} and {b}");
        }
        assert_eq!(status("\\log 5", "\\log 6"), Status::Different);
    }
}
