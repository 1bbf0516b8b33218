//! Bounds in words: `83 and above`, `83 or more` and `at least 83` are equal, and so is `x ≥ 83`.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::{compare_texts, compare_within};
use crate::budget::Context;
use crate::pattern::pattern;
use crate::verdict::{Outcome, Tier};

/// Longest text that is compared, in bytes.
const LONGEST: usize = 200;

/// A bound with words or a sign before its value, and optionally a one-letter name before them: `at least 5`, `x ≥ 5`.
static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)^(?:(?<name>[a-z])\s*)?(?:(?<sign_least>≥|>=|\\geq(?:slant)?|\\ge\b)|(?<sign_most>≤|<=|\\leq(?:slant)?|\\le\b)",
        r"|(?<sign_above>>|\\gt\b)|(?<sign_below><|\\lt\b)|(?:is\s+|are\s+)?(?:",
        r"(?<least>at\s+least|(?:no|not)\s+(?:less|fewer|smaller)\s+than|(?:greater|more|larger)\s+than\s+or\s+equal\s+to",
        r"|mindestens|au\s+moins|al\s+menos|por\s+lo\s+menos|almeno|pelo\s+menos|не\s+менее|至少|不少于|不小于)",
        r"|(?<most>at\s+most|(?:no|not)\s+(?:more|greater|larger)\s+than|(?:less|fewer|smaller)\s+than\s+or\s+equal\s+to",
        r"|höchstens|au\s+plus|como\s+máximo|a\s+lo\s+sumo|al\s+massimo|no\s+máximo|не\s+более|至多|不超过|不大于|不多于)",
        r"|(?<above>(?:more|greater|larger|higher)\s+than|above|over|exceeding|mehr\s+als|größer\s+als|plus\s+de|más\s+de|mayor\s+que",
        r"|più\s+di|mais\s+de|более|大于|超过|多于)",
        r"|(?<below>(?:less|fewer|smaller|lower)\s+than|below|under|weniger\s+als|kleiner\s+als|moins\s+de|menos\s+de|menor\s+que",
        r"|meno\s+di|менее|小于|少于|不到)))\s*(?<value>\S.*)$",
    ))
});

/// A bound with words after its value; the counted thing may follow: `5 or more apples`.
static BEHIND: LazyLock<Regex> = LazyLock::new(|| {
    pattern(concat!(
        r"(?i)^(?<value>.*?\S)\s*(?:",
        r"(?<least>\b(?:or|and)\s+(?:more|above|greater|higher|larger|up|upwards?|over|older|longer|later)|\boder\s+mehr|\bund\s+mehr|\bou\s+plus",
        r"|\bo\s+más|\bo\s+più|\bou\s+mais|\bи\s+более|\bили\s+более|以上)",
        r"|(?<most>\b(?:or|and)\s+(?:less|fewer|below|lower|smaller|down|under|younger|shorter|earlier)|\boder\s+weniger|\bund\s+weniger|\bou\s+moins",
        r"|\bo\s+menos|\bo\s+meno|\bou\s+menos|\bи\s+менее|\bили\s+менее|以下)",
        r")(?:\s+(?<unit>\p{L}[\p{L} ]*))?$",
    ))
});

/// The direction of a bound, and whether the bound is included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Side {
    /// Whether it is a lower bound: the allowed values are above it.
    up: bool,
    /// Whether the bound itself is an allowed value.
    with: bool,
}

/// A bound as read from a text.
#[derive(Debug)]
struct Bound {
    side: Side,
    /// The letter of the bounded quantity.
    name: Option<String>,
    /// The value as written, with the counted thing.
    value: String,
    /// Whether the text is not a plain inequality such as `x ≥ 83`, which the parser reads.
    in_words: bool,
}

/// Compares two bounds, at least one of which is in words, or a bound in words with an unbounded interval.
pub(super) fn compare(pred: &str, gold: &str, options: &Context<'_>) -> Option<Outcome> {
    if pred.len() > LONGEST || gold.len() > LONGEST {
        return None;
    }
    match (read(pred), read(gold)) {
        (Some(p), Some(g)) if p.in_words || g.in_words => Some(both(&p, &g, options)),
        (Some(bound), None) if bound.in_words && is_endless(gold) => {
            Some(compare_texts(&bound.relation(), gold, options))
        }
        (None, Some(bound)) if bound.in_words && is_endless(pred) => {
            Some(compare_texts(pred, &bound.relation(), options))
        }
        _ => None,
    }
}

fn both(p: &Bound, g: &Bound, options: &Context<'_>) -> Outcome {
    if let (Some(u), Some(v)) = (&p.name, &g.name)
        && u != v
        && !options.ignore_names
    {
        return Outcome::unknown("bounds of different names");
    }
    let values = compare_within(&p.value, &g.value, options);
    if p.side.up != g.side.up {
        return Outcome::different(Tier::Structure, "bounds of different sides");
    }
    match (p.side.with == g.side.with, values.is_equal()) {
        (true, true) => Outcome::equal(Tier::Structure, "the same bound"),
        (true, false) => values,
        (false, true) => Outcome::different(Tier::Structure, "one bound with its value, one without"),
        // For integers, "more than 4" is "at least 5".
        (false, false) => Outcome::unknown("one bound with its value, one without"),
    }
}

/// Whether a text is an unbounded interval.
fn is_endless(text: &str) -> bool {
    let trimmed = text.trim().trim_start_matches('$');
    (text.contains("infty") || text.contains('∞')) && trimmed.starts_with(['[', '(', ']', '\\', 'x'])
}

/// The bound that the whole text states, if it states one.
fn read(text: &str) -> Option<Bound> {
    let text = plain(text);
    let found = |captures: &Captures<'_>| {
        let side = |name: &str| {
            let (up, with) = match name.trim_start_matches("sign_") {
                "least" => (true, true),
                "most" => (false, true),
                "above" => (true, false),
                _ => (false, false),
            };
            Side { up, with }
        };
        const NAMES: [&str; 8] =
            ["least", "most", "above", "below", "sign_least", "sign_most", "sign_above", "sign_below"];
        // For a name that is not a group of the regex, `name` returns `None`.
        let kind = NAMES.into_iter().find(|name| captures.name(name).is_some())?;
        let mut value = captures.name("value")?.as_str().trim().to_owned();
        if let Some(unit) = captures.name("unit") {
            value = format!("{value} {}", unit.as_str());
        }
        let name = captures.name("name").map(|name| name.as_str().to_owned());
        // `≥ 83` without a name is read like `at least 83`.
        let in_words = !kind.starts_with("sign_") || name.is_none();
        is_value(&value).then(|| Bound { side: side(kind), name, value, in_words })
    };
    // First a bound with words or a sign before the value, then one with words after the value.
    let before = BEFORE.captures(&text).and_then(|captures| found(&captures));
    before.or_else(|| BEHIND.captures(&text).and_then(|captures| found(&captures)))
}

/// The text without math delimiters and `\text{}` commands; the words inside `\text{}` stay.
fn plain(text: &str) -> String {
    let text = text.trim().trim_end_matches(['.', '。']).replace("\\(", "").replace("\\)", "");
    // A single dollar is a currency sign.
    let text = if text.matches('$').count() == 2 && !text.contains("\\$") { text.replace('$', "") } else { text };
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("\\text{") {
        let Some((inner, behind)) = after.split_once('}') else { break };
        out += before;
        out += inner;
        rest = behind;
    }
    (out + rest).replace("\\ ", " ").replace("\\,", " ").trim().to_owned()
}

/// Whether a text is one value, with or without the counted thing, and contains no further bound and no list.
fn is_value(value: &str) -> bool {
    const JOINING: [&str; 24] = [
        "and", "or", "to", "than", "at", "most", "least", "not", "no", "but", "if", "when", "between", "und", "oder",
        "bis", "et", "ou", "y", "o", "more", "less", "except", "from",
    ];
    let lower = value.to_lowercase();
    let starts_well = value.starts_with(|c: char| c.is_ascii_digit() || "-−+\\$€£¥(".contains(c));
    starts_well
        && (value.contains(|c: char| c.is_ascii_digit()) || value.contains("\\pi"))
        && !value.contains(['<', '>', '=', '≤', '≥', ';', '\n'])
        && !value.contains(", ")
        && !lower.split(|c: char| !c.is_alphabetic()).any(|word| JOINING.contains(&word))
        && !["\\le", "\\ge", "\\in"].iter().any(|sign| value.contains(sign))
        && !["以上", "以下"].iter().any(|sign| value.contains(sign))
}

impl Bound {
    /// The bound as an inequality in LaTeX, in `x` if it has no name.
    fn relation(&self) -> String {
        let sign = match (self.side.up, self.side.with) {
            (true, true) => "\\ge",
            (true, false) => ">",
            (false, true) => "\\le",
            (false, false) => "<",
        };
        format!("{} {sign} {}", self.name.as_deref().unwrap_or("x"), self.value)
    }
}

#[cfg(test)]
mod tests {
    use crate::{Options, Status, verify};

    fn judge(pred: &str, gold: &str) -> Status {
        verify(pred, gold, &Options::default()).verdict
    }

    #[test]
    fn one_bound_in_many_words() {
        for same in [
            &[
                "83 and above",
                "83 or more",
                "at least 83",
                "no less than 83",
                "x \\ge 83",
                "≥ 83",
                "not fewer than 83",
                "[83, \\infty)",
                "83以上",
                "mindestens 83",
                "au moins 83",
            ][..],
            &[
                "at most 12",
                "12 or less",
                "12 or fewer",
                "no more than 12",
                "n \\leq 12",
                "12 and below",
                "höchstens 12",
                "不超过12",
            ],
            &["more than 7.5", "greater than 7.5", "x > 7.5", "above 7.5", "over 15/2", "(7.5, \\infty)"],
            &["fewer than 40", "less than 40", "t < 40", "below 40", "(-\\infty, 40)"],
            &["at least 5 apples", "5 or more apples", "5 apples or more", "at least 5"],
            &["at least $20", "\\$20 or more", "at least 20 dollars"],
        ] {
            for (i, a) in same.iter().enumerate() {
                for b in &same[i + 1..] {
                    assert_eq!(judge(a, b), Status::Equal, "{a} | {b}");
                    assert_eq!(judge(b, a), Status::Equal, "{b} | {a}");
                    if !a.contains('\\') {
                        assert_eq!(judge(&format!("\\boxed{{\\text{{{a}}}}}"), b), Status::Equal, "{a} | {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn other_bounds_are_others() {
        for (a, b) in [
            ("83 and above", "83 and below"),
            ("at least 83", "at most 83"),
            ("at least 83", "more than 83"),
            ("at least 83", "at least 84"),
            ("at least 83", "83"),
            ("83 or more", "83"),
            ("5 apples or more", "5"),
            ("5 apples or more", "5 apples"),
            ("at least 5 apples", "at least 5 pears"),
            ("5 or more apples", "5 or fewer apples"),
            ("more than 4", "at least 5"),
            ("at least 5 and at most 9", "at least 5 and at most 8"),
            ("at least 5", "5 times more"),
            ("x \\ge 5", "at most 5"),
            ("(-\\infty, 5]", "at least 5"),
            ("at least 5 or 6", "at least 5"),
            ("at least $20", "at least 20 euros"),
        ] {
            assert_ne!(judge(a, b), Status::Equal, "{a} | {b}");
            assert_ne!(judge(b, a), Status::Equal, "{b} | {a}");
        }
    }
}
