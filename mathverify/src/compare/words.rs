//! Compares the words after numbers: the counted things, or unknown units.

use crate::ast::Expr;

/// The reason why equal numbers with different words are not called equal.
pub(super) const BEHIND: &str = "different words after the numbers";
/// The reason why a number with words that change its meaning does not equal the number.
pub(super) const MEANING: &str = "words that change what the number means";

/// Rows of words with the same meaning; the first word of a row is its canonical form.
const SYNONYMS: &[&[&str]] = &[
    &["person", "people", "persons"],
    &["child", "children", "kid", "kids"],
    &["man", "men"],
    &["woman", "women"],
    &["foot", "feet"],
    &["penny", "pennies"],
    &["square", "sq"],
    &["cubic", "cu"],
    &["percent", "percentage", "pct", "%"],
    &["degree", "degrees", "deg", "°"],
    &["north", "n"],
    &["south", "s"],
    &["east", "e"],
    &["west", "w"],
    &["math", "maths", "mathematics"],
    &["grey", "gray"],
    &["th", "st", "nd", "rd"],
];

/// Words that say nothing about the number before them.
const EMPTY: [&str; 8] = ["the", "a", "an", "of", "in", "total", "altogether", "old"];

/// Whether two texts after numbers mean the same.
pub(super) fn same(u: &str, v: &str) -> bool {
    words(u) == words(v)
}

/// The canonical form of a word in lower case: the first of its synonyms, or the word without its plural ending.
pub(super) fn canonical(lower: &str) -> String {
    SYNONYMS.iter().find(|row| row.contains(&lower)).map_or_else(|| singular(lower), |row| row[0].to_owned())
}

fn words(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let text = text.replace(['\\', '{', '}', '.', ','], " ");
    // `units^2` and `square units`.
    let text = match text.split_once('^') {
        Some((name, "2")) if name.trim().chars().all(char::is_alphabetic) => format!("square {}", name.trim()),
        _ => text,
    };
    for word in text.split_whitespace() {
        let lower = word.to_lowercase();
        if EMPTY.contains(&word) {
            continue;
        }
        let synonym = |w: &str| SYNONYMS.iter().find(|row| row.contains(&w)).map(|row| row[0].to_owned());
        // The case of a single letter counts; a compass direction is a capital letter.
        if word.chars().count() == 1 {
            let compass = synonym(&lower).filter(|_| word.chars().all(char::is_uppercase) && "NSEW".contains(word));
            out.push(compass.unwrap_or_else(|| word.to_owned()));
            continue;
        }
        out.push(synonym(&lower).unwrap_or_else(|| singular(&lower)));
    }
    out
}

/// The word without a plural ending.
fn singular(word: &str) -> String {
    let count = word.chars().count();
    if let Some(stem) = word.strip_suffix("ies")
        && count > 4
    {
        return format!("{stem}y");
    }
    for ending in ["ches", "shes", "sses", "xes", "zes"] {
        if let Some(stem) = word.strip_suffix(ending) {
            return format!("{stem}{}", &ending[..ending.len() - 2]);
        }
    }
    match word.strip_suffix('s') {
        Some(stem) if count > 3 && !word.ends_with("ss") && !word.ends_with("us") => stem.to_owned(),
        _ => word.to_owned(),
    }
}

/// The reason why a number from a sentence is not shown to equal the reference: the words after it, `after`, differ
/// from those of the reference.
pub(crate) fn differing_words(after: &str, found: &str, gold: &str) -> Option<&'static str> {
    // Words of sentences that do not describe the counted thing.
    const FUNCTION: [&str; 48] = [
        "in",
        "on",
        "at",
        "for",
        "of",
        "per",
        "and",
        "or",
        "to",
        "left",
        "more",
        "total",
        "because",
        "since",
        "which",
        "when",
        "if",
        "as",
        "by",
        "with",
        "from",
        "each",
        "every",
        "after",
        "before",
        "so",
        "then",
        "is",
        "are",
        "was",
        "were",
        "that",
        "this",
        "these",
        "there",
        "altogether",
        "remaining",
        "remain",
        "the",
        "a",
        "an",
        "i",
        "hence",
        "therefore",
        "thus",
        "will",
        "would",
        "can",
    ];
    if found.contains(char::is_alphabetic) || !gold.contains(char::is_alphabetic) || gold.len() > 400 {
        return None;
    }
    let Ok(Expr::Quantity(_, unit)) = crate::parse::parse(gold) else { return None };
    let start =
        after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '*' | '$' | '\\' | ')' | ']' | ',' | '~'));
    let line = start.split(['.', ',', ';', '\n', '!', '?', '(', '*', '。', '，']).next().unwrap_or("");
    let behind: Vec<&str> = line.split_whitespace().take(6).collect();
    let first = behind.first()?;
    // If both start with a function word, they have to agree: `5 each` and `5 total`, `5 per hour` and `5 per day`.
    let function = |w: &str| FUNCTION.contains(&&*w.to_lowercase());
    let both = unit.split_whitespace().next().is_some_and(|w| function(w) || w == "/");
    if !first.starts_with(char::is_alphabetic)
        || (function(first) && !(both && PAIRED.contains(&&*first.to_lowercase())))
    {
        return None;
    }
    let agrees = (1..=behind.len()).any(|n| {
        let words = behind[..n].join(" ");
        same(&words, &unit)
            || matches!((crate::quantity::unit(&words), crate::quantity::unit(&unit)), (Some(a), Some(b)) if a == b)
    });
    (!agrees).then_some(BEHIND)
}

/// Function words that describe the number (`5 per hour`, `5 left`) and have to agree with those of the reference.
const PAIRED: [&str; 8] = ["per", "each", "every", "left", "more", "total", "remaining", "altogether"];

/// Whether words after a number change its value, so that they must not be dropped: `6 pm`, `5 or more`.
pub(super) fn altering(unit: &str) -> bool {
    const FIRST: [&str; 44] = [
        "or",
        "and",
        "am",
        "pm",
        "a.m.",
        "p.m.",
        "than",
        "except",
        "not",
        "no",
        "plus",
        "minus",
        "times",
        "if",
        "unless",
        "to",
        "until",
        "mod",
        "modulo",
        "over",
        "squared",
        "cubed",
        "doubled",
        "tripled",
        "quadrupled",
        "halved",
        "factorial",
        "factorials",
        "tenth",
        "tenths",
        "hundredth",
        "hundredths",
        "thousandth",
        "thousandths",
        "millionth",
        "millionths",
        "below",
        "bc",
        "bce",
        "b.c.",
        "hundred",
        "thousand",
        "million",
        "billion",
    ];
    const ANYWHERE: [&str; 5] = ["than", "except", "not", "or", "remainder"];
    let lower = unit.to_lowercase();
    let mut words = lower.split_whitespace();
    let first = words.next().unwrap_or("");
    // `5 is too large` changes the value; `5 is the answer` does not.
    let second = words.clone().next().unwrap_or("");
    let praised = matches!(second.trim_matches('.'), "the" | "my" | "our" | "correct" | "right");
    if matches!(first, "is" | "are" | "was" | "were") && !praised {
        return true;
    }
    let bare = first.trim_matches(|c: char| !c.is_alphanumeric());
    FIRST.contains(&first) || super::marks::is_scale(bare) || words.any(|w| ANYWHERE.contains(&w))
}

/// The reason why words inside two expressions prevent a comparison of their values, if they do: `2 apples + 3 pears`
/// and `3 apples + 2 pears`.
pub(super) fn inside(a: &Expr, b: &Expr) -> Option<&'static str> {
    fn collect<'e>(e: &'e Expr, out: &mut Vec<&'e str>) {
        match e {
            Expr::Quantity(inner, unit) => {
                out.push(unit);
                collect(inner, out);
            }
            Expr::Num { .. } | Expr::Sym(_) | Expr::Const(_) => {}
            other => other.children().into_iter().for_each(|c| collect(c, out)),
        }
    }
    let (mut u, mut v) = (Vec::new(), Vec::new());
    collect(a, &mut u);
    collect(b, &mut v);
    if u.is_empty() && v.is_empty() {
        return None;
    }
    let mut all = u.iter().chain(&v);
    let first = all.next()?;
    (!all.all(|w| same(first, w)) || altering(first)).then_some(BEHIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synonyms_and_plurals() {
        for (u, v) in [
            ("apples", "apple"),
            ("Apples", "apples"),
            ("people", "persons"),
            ("years old", "years"),
            ("boxes", "box"),
            ("units ^2", "square units"),
            ("N", "north"),
            ("berries", "berry"),
        ] {
            assert!(same(u, v), "{u} = {v}");
        }
        for (u, v) in [
            ("apples", "pears"),
            ("real roots", "complex roots"),
            ("above", "below"),
            ("N", "S"),
            ("n", "N"),
            ("m long", "m wide"),
            ("hours", "hours per week"),
        ] {
            assert!(!same(u, v), "{u} = {v}");
        }
    }
}
