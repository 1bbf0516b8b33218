//! References of public data sets with one change of form: bracket, index, power, domain, order, mark or scale.

use super::{Pair, Random, said};

/// The kinds of changes; a test makes equally many pairs of each.
pub const KINDS: [&str; 10] =
    ["scale", "denial", "bracket", "index", "power", "domain", "order", "wrapped", "mark", "case"];

/// A pair of `reference` and its copy with one change of the given kind; `None` if no change of this kind makes an
/// answer that certainly differs.
pub fn pair(random: &mut Random, reference: &str, kind: &'static str) -> Option<Pair> {
    let text = reference.trim().trim_matches('$').trim();
    if text.is_empty()
        || text.len() > 120
        || text.contains('$')
        || text.contains("boxed")
        || text.matches('=').count() > 1
    {
        return None;
    }
    let changed = match kind {
        "scale" => {
            let word =
                random.pick(&["dozen", "pairs", "halves", "quarters", "thirds", "tenths", "th", "squared", "score"]);
            plain_number(text).then(|| format!("{text} {word}"))?
        }
        "denial" => {
            let word = random.pick(&["rejected", "extraneous", "impossible", "not allowed", "excluded", "wrong"]);
            format!("{text} \\text{{ ({word})}}")
        }
        "bracket" => bracket(text)?,
        "index" => digit_behind(random, text, '_')?,
        "power" => digit_behind(random, text, '^')?,
        "domain" => return domain(random, text, kind),
        "order" => order(text)?,
        "wrapped" => wrapped(random, text)?,
        "mark" => letter(random, text, &|l| random_mark(l))?,
        _ => letter(random, text, &|l| {
            let upper = l.to_uppercase();
            if upper == l { l.to_lowercase() } else { upper }
        })?,
    };
    if changed == text {
        return None;
    }
    let original = text.to_owned();
    let (pred, gold) = if random.chance(2) { (changed, original) } else { (original, changed) };
    Some(Pair { kind, pred: said(random, &pred), gold })
}

/// The letter with a mark above it; the letter determines which mark.
fn random_mark(letter: &str) -> String {
    let marks = ["\\bar", "\\hat", "\\vec", "\\tilde"];
    format!("{}{{{letter}}}", marks[letter.bytes().map(usize::from).sum::<usize>() % marks.len()])
}

fn plain_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && text.parse::<f64>().is_ok_and(|n| n > 1.0)
}

/// The interval with its left end closed instead of open, or open instead of closed.
fn bracket(text: &str) -> Option<String> {
    let inner = &text.get(1..text.len() - 1)?;
    let two = inner.matches(',').count() == 1 && !inner.contains(['(', ')', '[', ']', '{', '}']);
    if !two || inner.contains("infty") {
        return None;
    }
    match (text.chars().next()?, text.chars().next_back()?) {
        ('(', ')' | ']') => Some(format!("[{}", &text[1..])),
        ('[', ')' | ']') => Some(format!("({}", &text[1..])),
        _ => None,
    }
}

/// The text with another digit after one `_` or `^`.
fn digit_behind(random: &mut Random, text: &str, sign: char) -> Option<String> {
    // Left out, since another digit may give the same value: powers of 1 and of its roots, and powers that cancel.
    if ["1^", "1}^", "1)^", "i^", "e^"].iter().any(|one| text.contains(one)) || text.contains("circ") {
        return None;
    }
    let places: Vec<usize> = text.match_indices(sign).map(|(at, _)| at + 1).collect();
    if places.is_empty() {
        return None;
    }
    let at = random.pick(&places);
    let at = if text[at..].starts_with('{') { at + 1 } else { at };
    let old = text[at..].chars().next().filter(|c| ('2'..='9').contains(c))?;
    if text[at + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let new = if old == '9' { '8' } else { char::from(old as u8 + 1) };
    Some(format!("{}{new}{}", &text[..at], &text[at + 1..]))
}

/// The formula with two different domains for one of its letters.
fn domain(random: &mut Random, text: &str, kind: &'static str) -> Option<Pair> {
    let letter = ["n", "k", "x", "a", "m"].into_iter().find(|l| {
        let chars: Vec<char> = text.chars().collect();
        chars.iter().enumerate().any(|(i, c)| {
            let alone =
                |j: Option<usize>| j.and_then(|j| chars.get(j)).is_none_or(|c| !c.is_alphabetic() && *c != '\\');
            c.to_string() == *l && alone(i.checked_sub(1)) && alone(Some(i + 1))
        })
    })?;
    if text.contains("mathbb") || text.contains("in ") || text.contains("text") {
        return None;
    }
    let (p, q) = random.two(&["\\mathbb{Z}", "\\mathbb{N}", "\\mathbb{R}", "\\mathbb{Q}", "\\mathbb{C}"]);
    let with = |set: &str| format!("{text}, {letter} \\in {set}");
    Some(Pair { kind, pred: said(random, &with(p)), gold: with(q) })
}

/// The text with the two parts of a tuple, a fraction or a ratio exchanged.
fn order(text: &str) -> Option<String> {
    let simple = |s: &str| !s.trim().is_empty() && !s.contains(['{', '}', '(', ')', ',', '[', ']', '/', ':']);
    if let Some((a, b)) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')).and_then(|t| t.split_once(',')) {
        return (simple(a) && simple(b) && a.trim() != b.trim() && plain(a) && plain(b)).then(|| format!("({b},{a})"));
    }
    for start in ["\\frac{", "\\dfrac{", "-\\frac{"] {
        if let Some((a, b)) =
            text.strip_prefix(start).and_then(|t| t.strip_suffix('}')).and_then(|t| t.split_once("}{"))
        {
            return (simple(a) && simple(b) && a != b && plain(a) && plain(b)).then(|| format!("{start}{b}}}{{{a}}}"));
        }
    }
    let (a, b) = text.split_once('/').or_else(|| text.split_once(':'))?;
    let sign = if text.contains('/') { '/' } else { ':' };
    (plain(a) && plain(b) && a != b).then(|| format!("{b}{sign}{a}"))
}

/// Whether a text has only digits and no leading zero, so that two different such texts are two different numbers.
fn plain(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit())
}

/// A plain number in a function or with another operand, or a formula without relations and lists in a sum.
fn wrapped(random: &mut Random, text: &str) -> Option<String> {
    if plain_number(text) && text.parse::<f64>().is_ok_and(|n| n > 2.0) {
        let form = random.pick(&[
            "-@",
            "1/@",
            "@^2",
            "\\sqrt{@}",
            "\\ln @",
            "2 \\cdot @",
            "@ + 1",
            "@\\pi",
            "@x",
            "@i",
            "e^{@}",
        ]);
        return Some(form.replace('@', text));
    }
    let formula = !text.contains([',', '=', '<', '>', ':', ';', '[', '|', '"'])
        && [
            "text",
            "pm",
            "infty",
            "{cm}",
            "in ",
            "le",
            "ge",
            "ne",
            "approx",
            "cup",
            "cap",
            "mathbb",
            "begin",
            "equiv",
            "mod",
            "\\{",
            "mathrm",
            "mp",
            "rightarrow",
            "circ",
            "%",
        ]
        .iter()
        .all(|word| !text.contains(word))
        && text.contains(['\\', '^', '+', '/'])
        && !text.contains("  ");
    let form = random.pick(&["(@) + 1", "2(@) + 3", "(@) + \\pi"]);
    formula.then(|| form.replace('@', text))
}

/// The text with a single letter that occurs once replaced by `with` of it.
fn letter(random: &mut Random, text: &str, with: &dyn Fn(&str) -> String) -> Option<String> {
    let free = ["f(", "g(", "pi", "π", "in ", "text", "mathbb", "begin", "mathrm", "_", "circ"];
    if free.iter().any(|word| text.contains(word)) || text.contains(',') && text.contains('=') {
        return None;
    }
    let chars: Vec<(usize, char)> = text.char_indices().collect();
    let single = |i: usize| {
        let alphabetic =
            |j: Option<usize>| j.and_then(|j| chars.get(j)).is_some_and(|(_, c)| c.is_ascii_alphabetic() || *c == '\\');
        let mut start = i;
        while start > 0 && chars[start - 1].1.is_ascii_alphabetic() {
            start -= 1;
        }
        let command = start > 0 && chars[start - 1].1 == '\\';
        chars[i].1.is_ascii_alphabetic() && !command && !alphabetic(i.checked_sub(1)) && !alphabetic(Some(i + 1))
    };
    let places: Vec<usize> = (0..chars.len()).filter(|&i| single(i)).collect();
    if places.is_empty() {
        return None;
    }
    let (at, c) = chars[random.pick(&places)];
    let once = places.iter().filter(|&&i| chars[i].1.eq_ignore_ascii_case(&c)).count() == 1;
    (once && !matches!(c, 'e' | 'i' | 'd' | 'E' | 'I')).then(|| {
        let name = with(&c.to_string());
        format!("{}{name}{}", &text[..at], &text[at + 1..])
    })
}
