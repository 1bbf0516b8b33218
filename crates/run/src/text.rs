//! Words of messages: numbers with their nouns, numbers in groups of digits, a known name that is similar to a wrong one.

/// A number with its noun, in the singular for 1: `1 step`, `2 steps`, `0 batches`. `noun` is the regular singular.
#[must_use]
pub fn counted(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    if number == 1 {
        return format!("1 {noun}");
    }
    // The end of `epoch` sounds like a `k`.
    let hisses = ["s", "x", "z", "ch", "sh"].iter().any(|end| noun.ends_with(end)) && !noun.ends_with("poch");
    match noun.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {noun}{}", if hisses { "es" } else { "s" }),
    }
}

/// A number in groups of three digits: `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `; did you mean ...?` if one of the known names is similar to `name`, else an empty text.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let best = known.map(|known| (strsim::jaro_winkler(name, known), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((likeness, known)) if likeness > 0.8 => format!("; did you mean {known}?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        for (number, noun, text) in [
            (1_u64, "step", "1 step"),
            (0, "step", "0 steps"),
            (2, "batch", "2 batches"),
            (2, "epoch", "2 epochs"),
            (3, "query", "3 queries"),
            (2, "key", "2 keys"),
            (2, "held-out example", "2 held-out examples"),
        ] {
            assert_eq!(counted(number, noun), text);
        }
        assert_eq!((counted(1_usize, "row"), counted(2_i64, "row")), ("1 row".into(), "2 rows".into()));
    }

    #[test]
    fn digits_come_in_threes() {
        assert_eq!([7, 1000, 1_234_567].map(grouped), ["7", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_similar_name_is_proposed() {
        let near = |name| nearest(name, ["seed", "epochs"].into_iter());
        assert_eq!([near("epoch"), near("xyz")], ["; did you mean epochs?", ""]);
    }
}
