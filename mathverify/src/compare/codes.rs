//! Texts that parse as formulas and may be something else: `3-2` may be a score or a range, `2020-01-02` and `1/2/2020`
//! dates, `(12)(23)` a permutation. The values of such texts as formulas do not decide whether they are equal.

/// Why two texts cannot be compared as formulas, if so. Both texts are normalised and differ.
pub(super) fn undecided(a: &str, b: &str) -> Option<&'static str> {
    let plain = |s: &str| s.len() < 60 && s.chars().all(|c| c.is_ascii_digit() || "-–—‐‑/()".contains(c));
    if !plain(a) && !plain(b) {
        return None;
    }
    for signs in [&['-', '–', '—', '‐', '‑'][..], &['/'][..]] {
        let (x, y) = (parts(a, signs), parts(b, signs));
        if x.as_deref().is_some_and(is_date) || y.as_deref().is_some_and(is_date) {
            return (x != y).then_some("a date");
        }
        let few = if signs == ['/'] { 3 } else { 2 };
        if let (Some(x), Some(y)) = (x, y)
            && x.len() >= few
            && y.len() >= few
            && x != y
        {
            return Some("two ranges, scores or dates");
        }
    }
    matches!((cycles(a), cycles(b)), (true, true)).then_some("two products, or two permutations")
}

/// The numbers of a text that consists only of numbers and `signs` between them; else `None`.
fn parts<'a>(text: &'a str, signs: &[char]) -> Option<Vec<&'a str>> {
    let parts: Vec<&str> = text.split(|c| signs.contains(&c)).collect();
    let digits = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
    (parts.len() > 1 && parts.iter().all(digits)).then_some(parts)
}

/// Whether the parts are a date: three numbers, the first or last with four digits, the others with one or two.
fn is_date(parts: &[&str]) -> bool {
    let short = |p: &str| p.len() <= 2;
    matches!(parts, [year, month, day] if year.len() == 4 && short(month) && short(day))
        || matches!(parts, [day, month, year] if year.len() == 4 && short(month) && short(day))
}

/// Whether a text is at least two groups of digits in parentheses, which may be cycles: `(12)(23)`.
fn cycles(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) else { return false };
    let groups: Vec<&str> = inner.split(")(").collect();
    groups.len() > 1 && groups.iter().all(|g| !g.is_empty() && g.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use crate::{Options, Status, compare};

    #[test]
    fn values_that_decide_nothing() {
        for (a, b) in [
            ("3-2", "4-3"),
            ("10-12", "20–22"),
            ("2020-01-02", "2020-02-01"),
            ("2020-01-02", "2017"),
            ("1/2/2020", "2/1/2020"),
            ("2/4/2020", "1/8/2020"),
            ("(12)(23)", "(23)(12)"),
        ] {
            assert_eq!(compare(a, b, &Options::default()).status, Status::Unknown, "{a} and {b}");
        }
        for (a, b) in [("5-3", "2"), ("10-12", "10–12"), ("2/4", "1/2"), ("(3)(4)", "12"), ("10-3-2", "5")] {
            assert_eq!(compare(a, b, &Options::default()).status, Status::Equal, "{a} and {b}");
        }
    }
}
