//! References of public data sets with one word, unit, sign, operator, name or digit changed.

use super::{Pair, Random, said};

const NOUNS: [&str; 12] = [
    "lanterns", "violins", "pebbles", "walnuts", "buckets", "sparrows", "miles", "hours", "boys", "girls", "adults",
    "rows",
];
/// Units, no two of which give the same value for the same number.
const UNITS: [&str; 20] = [
    "km", "m", "cm", "kg", "g", "s", "min", "h", "km/h", "m/s", "cm^2", "m^2", "m^3", "L", "°C", "N", "J", "W", "V",
    "\\%",
];
/// Words before a number, no two of which have the same meaning.
const BEFORE: [&str; 10] = [
    "at least",
    "at most",
    "more than",
    "less than",
    "not",
    "about twice",
    "maximum at",
    "minimum at",
    "a factor of",
    "a multiple of",
];
const BEHIND: [&str; 8] = [
    "or more",
    "or less",
    "times as many",
    "to the left",
    "to the right",
    "below zero",
    "in the morning",
    "in the evening",
];
const FUNCTIONS: [&str; 10] = ["\\sin", "\\cos", "\\tan", "\\cot", "\\ln", "\\cup", "\\cap", "\\max", "\\min", "\\gcd"];

/// The kinds of changes; a test makes equally many pairs of each.
pub const KINDS: [&str; 6] = ["word", "unit", "sign", "operator", "name", "digit"];

/// A pair of `reference` and its copy with one change of the given kind; `None` if no change at the chosen place makes
/// an answer that certainly differs.
pub fn pair(random: &mut Random, reference: &str, kind: &'static str) -> Option<Pair> {
    // A zero can cancel a change: `0/5`, `2^0`.
    if reference.len() > 120 || reference.trim().is_empty() || reference.contains('0') {
        return None;
    }
    // The value of a chain is its last term, so a change in another term may have no effect.
    if reference.matches('=').count() > 1 {
        return None;
    }
    let chars: Vec<char> = reference.chars().collect();
    let at = (random.next() % chars.len() as u64) as usize;
    let (original, changed) = match kind {
        "word" => words_around(random, &chars, at)?,
        "unit" => units(random, reference)?,
        "sign" => (reference.to_owned(), leading_sign(reference).or_else(|| sign(&chars, at))?),
        "operator" => (reference.to_owned(), operator(random, &chars, at)?),
        "name" => names(random, &chars, at)?,
        _ => (
            reference.to_owned(),
            Some(at).filter(|&at| chars[at].is_ascii_digit()).and_then(|at| digit(random, &chars, at))?,
        ),
    };
    let (pred, gold) = if random.chance(2) { (changed, original) } else { (original, changed) };
    Some(Pair { kind, pred: said(random, &pred), gold })
}

/// Whether a reference is one plain number, so that words and units can be added around it.
fn is_number(reference: &str) -> bool {
    reference.starts_with(|c: char| c.is_ascii_digit())
        && reference.chars().all(|c| c.is_ascii_digit() || c == '.')
        && reference.parse::<f64>().is_ok_and(|n| n > 1.0)
}

/// A reference with one word replaced; if the reference is a plain number, this number with two different words or
/// phrases before or after it.
fn words_around(random: &mut Random, chars: &[char], at: usize) -> Option<(String, String)> {
    let text: String = chars.iter().collect();
    if !is_number(&text) {
        let (kind, changed) = word(random, chars, at).filter(|_| chars[at].is_ascii_alphabetic())?;
        return (kind == "word").then_some((text, changed));
    }
    Some(match random.number(0, 4) {
        0 => {
            let (u, v) = random.two(&NOUNS);
            (format!("{text} {u}"), format!("{text} {v}"))
        }
        1 => {
            let (u, v) = random.two(&BEFORE);
            (format!("{u} {text}"), format!("{v} {text}"))
        }
        2 => {
            let (u, v) = random.two(&BEHIND);
            (format!("{text} {u}"), format!("{text} {v}"))
        }
        // A word on one side that changes the number.
        3 => (text.clone(), format!("{} {text}", random.pick(&BEFORE))),
        _ => {
            let (u, v) = random.two(&NOUNS);
            (format!("\\boxed{{{text}\\text{{ {u}}}}}"), format!("{text} {v}"))
        }
    })
}

/// A number with two different units.
fn units(random: &mut Random, reference: &str) -> Option<(String, String)> {
    if !is_number(reference) {
        return None;
    }
    let (u, v) = random.two(&UNITS);
    let spelt = |random: &mut Random, unit: &str| match random.number(0, 2) {
        0 => format!("{reference}\\,\\mathrm{{{unit}}}"),
        1 => format!("{reference}\\text{{ {unit}}}"),
        _ => format!("{reference} {unit}"),
    };
    Some((spelt(random, u), spelt(random, v)))
}

/// The opposite sign before an integer, fraction or root.
fn leading_sign(reference: &str) -> Option<String> {
    let positive = reference.strip_prefix('-').unwrap_or(reference);
    let is_one = positive.starts_with(|c: char| c.is_ascii_digit())
        || positive.starts_with("\\frac")
        || positive.starts_with("\\sqrt");
    let joins = ['+', '-', ',', '=', '<', '>', ';', ':', '/', 'i', 'x', '|'];
    // Only for a single number: in a longer text, the other sign at the start may not change the answer.
    let is_plain =
        !positive.contains(joins) && !positive.contains("pm") && !positive.contains("text") && !positive.contains("in");
    (is_one && is_plain && !positive.contains(' ')).then(|| match reference.strip_prefix('-') {
        Some(positive) => positive.to_owned(),
        None => format!("-{reference}"),
    })
}

/// The text with another operator, relation or function at index `at`.
fn operator(random: &mut Random, chars: &[char], at: usize) -> Option<String> {
    let text: String = chars.iter().collect();
    match chars[at] {
        '<' => return Some(put(chars, at, ">")),
        '>' => return Some(put(chars, at, "<")),
        _ => {}
    }
    let rest: String = chars[at..].iter().collect();
    let ends = |word: &str| !rest[word.len()..].starts_with(|c: char| c.is_ascii_alphabetic());
    for (a, b) in [("\\leq", "\\geq"), ("\\le", "\\ge"), ("\\ge", "\\le"), ("\\geq", "\\leq"), ("\\neq", "=")] {
        if rest.starts_with(a) && ends(a) {
            return Some(format!("{}{b}{}", &text[..text.len() - rest.len()], &rest[a.len()..]));
        }
    }
    if let Some(function) = FUNCTIONS.iter().find(|f| rest.starts_with(**f) && ends(f)) {
        // The other function is of the same kind: a union becomes an intersection, a sine a cosine.
        let family = FUNCTIONS.iter().position(|f| f == function)?;
        let same = |i: &usize| match family {
            0..=4 => (0..=4).contains(i),
            5 | 6 => (5..=6).contains(i),
            _ => (7..=9).contains(i),
        };
        let others: Vec<usize> = (0..FUNCTIONS.len()).filter(same).filter(|i| *i != family).collect();
        let other = FUNCTIONS[random.pick(&others)];
        return Some(format!("{}{other}{}", &text[..text.len() - rest.len()], &rest[function.len()..]));
    }
    // A sum becomes a product, or the reverse; 2 and 2 are the only positive integers with equal sum and product.
    let side = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(|c| c.is_alphanumeric());
    let sum = ['+', '*', '/'].contains(&chars[at]) && side(at.checked_sub(1)) && side(Some(at + 1));
    if !sum || text.contains(['\\', '^', '1', '|', '(', ',']) || text.contains("2+2") || text.contains("2*2") {
        return None;
    }
    Some(put(
        chars,
        at,
        match chars[at] {
            '+' => "*",
            '*' => "+",
            _ => "+",
        },
    ))
}

/// A reference with another variable at index `at`; if the reference is a plain number, this number as the value of
/// two different names.
fn names(random: &mut Random, chars: &[char], at: usize) -> Option<(String, String)> {
    const NAMES: [&str; 14] = [
        "AB",
        "BC",
        "x",
        "y",
        "f(1)",
        "f(2)",
        "a_1",
        "a_2",
        "P(A)",
        "P(B)",
        "\\angle ABC",
        "\\angle BCD",
        "S_3",
        "S_4",
    ];
    let text: String = chars.iter().collect();
    if is_number(&text) {
        let (p, q) = random.two(&NAMES);
        return Some((format!("{p} = {text}"), format!("{q} = {text}")));
    }
    let (kind, changed) = word(random, chars, at).filter(|_| chars[at].is_ascii_alphabetic())?;
    (kind == "letter").then_some((text, changed))
}

/// The text with the character at index `at` replaced.
fn put(chars: &[char], at: usize, with: &str) -> String {
    chars[..at].iter().collect::<String>() + with + &chars[at + 1..].iter().collect::<String>()
}

/// The text with another nonzero digit at index `at`; `None` for texts in which a digit may not change the value
/// (powers, factorials, LaTeX commands).
fn digit(random: &mut Random, chars: &[char], at: usize) -> Option<String> {
    // `1^2` and `1^3` have the same value, and so have `\frac{2}{2}` and `\frac{3}{3}`.
    let plain = !chars.contains(&'^') && !chars.contains(&'!') && !chars.contains(&'\\');
    if !plain {
        return None;
    }
    let old = chars[at];
    let new = loop {
        let new = char::from_digit(random.number(1, 9) as u32, 10)?;
        if new != old {
            break new;
        }
    };
    Some(put(chars, at, &new.to_string()))
}

/// The text with the opposite sign at index `at`; `None` at the start or end and for texts with powers, `±` or LaTeX.
fn sign(chars: &[char], at: usize) -> Option<String> {
    let text: String = chars.iter().collect();
    if !['+', '-'].contains(&chars[at])
        || text.contains(['^', '|', '±', '{', 'e', 'E'])
        || text.contains("pm")
        || text.contains("sqrt")
        || text.contains('\\')
    {
        return None;
    }
    Some(put(chars, at, if chars[at] == '+' { "-" } else { "+" })).filter(|_| at > 0 && chars.get(at + 1).is_some())
}

/// The text with the word at index `at` replaced: a single letter by another variable, a long word by a noun.
fn word(random: &mut Random, chars: &[char], at: usize) -> Option<(&'static str, String)> {
    let letter = |i: usize| chars.get(i).is_some_and(|c| c.is_alphabetic());
    let mut start = at;
    while start > 0 && letter(start - 1) {
        start -= 1;
    }
    let mut end = at + 1;
    while letter(end) {
        end += 1;
    }
    let command = start > 0 && chars[start - 1] == '\\';
    let text: String = chars.iter().collect();
    if command || text.contains("mathbb") || text.contains("begin") || text.contains("integer") {
        return None;
    }
    let join = |with: &str| chars[..start].iter().collect::<String>() + with + &chars[end..].iter().collect::<String>();
    let word: String = chars[start..end].iter().collect();
    if word.len() == 1 {
        // A parameter of solutions (k in `kπ`) or an argument may have any name, so its change makes no difference.
        let free = text.contains("f(") || text.contains("pi") || text.contains('π') || text.contains("in ");
        let other = random.pick(&["u", "v", "w", "q"]);
        let once = text.matches(&*word).count() == 1;
        return (!free && once && other != word && word != "e" && word != "i" && !text.contains('_'))
            .then(|| ("letter", join(other)));
    }
    (word.len() >= 5 && text.contains(char::is_numeric) && !text.contains('\\'))
        .then(|| ("word", join(random.pick(&NOUNS))))
}
