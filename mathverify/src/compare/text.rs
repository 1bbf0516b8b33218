//! Compares answers as text: the first tier, and answers in words.

use std::sync::LazyLock;

use num_bigint::BigInt;
use regex::Regex;

use crate::ast::Expr;
use crate::pattern::pattern;
use crate::verdict::{Outcome, Tier};

/// The text without parts that never change an answer: white space, math delimiters, size and spacing commands.
pub(crate) fn normalised(answer: &str) -> String {
    const DROPPED: [&str; 16] = [
        "\\left",
        "\\right",
        "\\!",
        "\\,",
        "\\;",
        "\\:",
        "\\ ",
        "\\(",
        "\\)",
        "\\[",
        "\\]",
        "\\displaystyle",
        "\\qquad",
        "\\quad",
        "\\bigl",
        "\\bigr",
    ];
    let trimmed = answer.trim().trim_end_matches(['.', '。']).trim();
    let mut out = String::with_capacity(trimmed.len());
    let mut rest = trimmed;
    while let Some(c) = rest.chars().next() {
        if c == '\\' {
            // `\leftarrow` is not `\left`.
            let dropped = DROPPED.iter().find(|d| {
                rest.starts_with(**d)
                    && !(d.as_bytes()[1].is_ascii_alphabetic()
                        && rest[d.len()..].starts_with(|c: char| c.is_ascii_alphabetic()))
            });
            if let Some(d) = dropped {
                rest = &rest[d.len()..];
                continue;
            }
            if let Some(tail) = rest.strip_prefix("\\dfrac").or_else(|| rest.strip_prefix("\\tfrac")) {
                out.push_str("\\frac");
                rest = tail;
                continue;
            }
            out.push(c);
            rest = &rest[1..];
            let name = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            out.push_str(&rest[..name]);
            rest = &rest[name..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c == '$' {
            continue;
        }
        if c.is_whitespace() {
            // A space counts between two words, between two numbers, and where it prevents an exponent (`1 e3`).
            let (before, after) = (out.chars().next_back(), rest.trim_start().chars().next());
            let zero = out.ends_with('0');
            let exponent = |c: char| matches!(c, 'e' | 'E') || (zero && matches!(c, 'x' | 'X' | 'b' | 'o'));
            let counts = matches!((before, after), (Some(b), Some(a)) if b.is_alphanumeric() && a.is_alphanumeric()
                && (b.is_alphabetic() == a.is_alphabetic() || exponent(b) || exponent(a)));
            if counts && !out.ends_with(' ') {
                out.push(' ');
            }
            continue;
        }
        out.push(if c == '−' { '-' } else { c });
    }
    out
}

/// The value of an integer that is written only with digits and an optional minus sign.
pub(crate) fn plain_integer(text: &str) -> Option<BigInt> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || digits.len() > 18_000 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if digits.len() <= 18 {
        return text.parse::<i64>().ok().map(BigInt::from);
    }
    text.parse().ok()
}

/// Whether a text is two digits around a comma, as in `3,4`, which may be two numbers or one decimal. `0,5`, `12,5`
/// and `2,75` are decimals.
pub(super) fn is_short_decimal(normalised: &str) -> bool {
    let Some((whole, decimals)) = normalised.strip_prefix('-').unwrap_or(normalised).split_once(',') else {
        return false;
    };
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    digits(whole) && whole.len() == 1 && whole != "0" && digits(decimals) && decimals.len() == 1
}

/// Words in lower case without articles and punctuation.
pub(crate) fn words(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() {
            clean.extend(c.to_lowercase());
        } else if c == '\'' || c == '’' {
        } else if ('\u{2190}'..='\u{2bff}').contains(&c) {
            // Symbols such as △ and ∠ count; punctuation does not.
            clean.extend([' ', c, ' ']);
        } else {
            clean.push(' ');
        }
    }
    let kept: Vec<&str> = clean.split_whitespace().filter(|w| !matches!(*w, "the" | "a" | "an")).collect();
    if kept.is_empty() { clean.trim().to_owned() } else { kept.join(" ") }
}

/// The words of an answer in words or of a single symbol, as in [`words`]; else `None`.
fn words_of(e: &Expr) -> Option<String> {
    match e {
        Expr::Text(t) => Some(words(t)),
        Expr::Mul(factors) => {
            // Words that were parsed as a product, such as a variable before a word.
            let all = factors.iter().all(|f| matches!(f, Expr::Text(_) | Expr::Sym(_)));
            let some = factors.iter().any(|f| matches!(f, Expr::Text(_)));
            (all && some).then(|| {
                let parts = factors.iter().map(|f| match f {
                    Expr::Text(t) | Expr::Sym(t) => t.as_str(),
                    _ => "",
                });
                words(&parts.collect::<Vec<_>>().join(" "))
            })
        }
        Expr::Sym(s) => Some(words(s)),
        _ => None,
    }
}

/// Words joined by "and" or commas, as a list.
pub(crate) fn listed_words(e: &Expr) -> Option<Expr> {
    let Expr::Text(text) = e else { return None };
    let joined = text.replace(" and ", ", ").replace(" or ", ", ");
    let parts: Vec<Expr> =
        joined.split(',').map(str::trim).filter(|p| !p.is_empty()).map(|p| Expr::Text(p.to_owned())).collect();
    (parts.len() > 1).then_some(Expr::List(parts))
}

/// Compares two answers, at least one of which is in words; `None` if neither is, or if one is a list, set or relation.
pub(crate) fn compare_words(a: &Expr, b: &Expr) -> Option<Outcome> {
    let text = |e: &Expr| matches!(e, Expr::Text(_)) || (matches!(e, Expr::Mul(_)) && words_of(e).is_some());
    if !text(a) && !text(b) {
        return None;
    }
    let list = |e: &Expr| matches!(e, Expr::List(_) | Expr::Set(_) | Expr::Relation(..));
    if list(a) || list(b) {
        return None;
    }
    // The other side may have been parsed as a product of letters: `Odd`.
    let letters = |e: &Expr| match e {
        Expr::Mul(f) => f
            .iter()
            .map(|f| match f {
                Expr::Sym(s) => Some(s.clone()),
                Expr::Const(crate::ast::Constant::E) => Some("e".into()),
                Expr::Const(crate::ast::Constant::I) => Some("i".into()),
                _ => None,
            })
            .collect::<Option<String>>()
            .map(|s| s.to_lowercase()),
        _ => None,
    };
    let (x, y) = (words_of(a).or_else(|| letters(a)), words_of(b).or_else(|| letters(b)));
    Some(match (x, y) {
        (Some(x), Some(y)) if x == y && !x.is_empty() => Outcome::equal(Tier::Text, "the same words"),
        (Some(x), Some(y)) if same_truth(&x, &y) => Outcome::equal(Tier::Text, "the same truth value"),
        (Some(x), Some(y)) if same_phrase(&x, &y) => Outcome::equal(Tier::Text, "the same words"),
        (Some(x), Some(y)) if x.is_empty() || y.is_empty() => Outcome::unknown("words without letters"),
        (Some(_), Some(_)) => Outcome::different(Tier::Text, "different words"),
        _ => Outcome::different(Tier::Structure, "words and a formula"),
    })
}

/// Whether two phrases differ only in plural endings, in "there are" before them, or in spellings of "does not exist".
fn same_phrase(a: &str, b: &str) -> bool {
    fn plain(phrase: &str) -> Vec<String> {
        let rest =
            ["there is ", "there are ", "it "].iter().find_map(|lead| phrase.strip_prefix(lead)).unwrap_or(phrase);
        let rest = if matches!(rest, "dne" | "doesnt exist" | "do not exist") { "does not exist" } else { rest };
        rest.split(' ').map(super::words::canonical).collect()
    }
    plain(a) == plain(b)
}

fn same_truth(a: &str, b: &str) -> bool {
    let truth = |w: &str| match w {
        "yes" | "true" => Some(true),
        "no" | "false" => Some(false),
        _ => None,
    };
    matches!((truth(a), truth(b)), (Some(x), Some(y)) if x == y)
}

/// Compares two texts of which at least one does not parse; `left` and `right` are the parser's messages.
pub(crate) fn compare_unread(pred: &str, gold: &str, left: Option<String>, right: Option<String>) -> Outcome {
    let (p, g) = (unwrapped(pred), unwrapped(gold));
    let letters = |s: &str| s.chars().filter(|c| c.is_alphabetic()).count();
    // Texts are equal if all words and signs agree.
    let (a, b) = (prose(&p), prose(&g));
    if a == b && letters(&p) >= 2 {
        return Outcome::equal(Tier::Text, "the same words");
    }
    let plain = |raw: &str| !raw.contains(['\\', '^', '=', '_', '<', '>', '$', '+']);
    if left.is_some() && right.is_some() && plain(&p) && plain(&g) && letters(&p) >= 3 && letters(&g) >= 3 {
        let digits = |s: &str| s.chars().any(|c| c.is_ascii_digit());
        if !digits(&p) && !digits(&g) {
            return Outcome::different(Tier::Text, "different words");
        }
    }
    let why = match (left, right) {
        (Some(why), _) => format!("the answer is not readable: {why}"),
        (None, Some(why)) => format!("the reference is not readable: {why}"),
        (None, None) => "not readable".to_owned(),
    };
    Outcome::unknown(why)
}

/// Words and signs of a text, in order: words of more than two letters in lower case, without articles and sentence
/// punctuation. Every other sign counts, because it may be an operator.
fn prose(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut out: Vec<String> = Vec::new();
    // The names of commands and environments differ by case: vmatrix and Vmatrix.
    let has_commands = text.contains('\\');
    let (mut at, mut quoted, mut marked) = (0, false, 0);
    while at < chars.len() {
        let c = chars[at];
        // `x^{2}` and `x^2`
        if matches!(c, '^' | '_') && chars.get(at + 1) == Some(&'{') && chars.get(at + 3) == Some(&'}') {
            out.extend([c.to_string(), chars[at + 2].to_string()]);
            at += 4;
            continue;
        }
        if c.is_alphanumeric() {
            let start = at;
            // Points, commas and colons inside numbers and apostrophes inside words do not end a word.
            let inside = |i: usize| {
                let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
                let letter = |i: usize| chars.get(i).is_some_and(|c| c.is_alphabetic());
                match chars[i] {
                    '.' | ',' | ':' => digit(i - 1) && digit(i + 1),
                    '\'' | '’' => letter(i - 1) && letter(i + 1),
                    _ => false,
                }
            };
            while at < chars.len() && (chars[at].is_alphanumeric() || inside(at)) {
                at += 1;
            }
            let word: String = chars[start..at].iter().filter(|c| !matches!(c, '\'' | '’')).collect();
            let lower = word.to_lowercase();
            let short = word.chars().count() <= 2 && !sentence_word(&lower);
            if !matches!(&*lower, "the" | "a" | "an") || (short && word == "A" && start > 0) {
                let exact = short || has_commands || word.chars().any(|c| c.is_numeric());
                out.push(if exact { word } else { lower });
            }
            continue;
        }
        at += 1;
        let ends = |i: usize| chars.get(i).is_none_or(|c| c.is_whitespace());
        let letters = at >= 2 && chars[at - 2].is_alphabetic() && chars.get(at).is_some_and(|c| c.is_alphabetic());
        match c {
            c if c.is_whitespace() => {}
            '.' | ',' | ';' | '。' | '，' | '、' | '!' | '?' if ends(at) => {}
            // A quotation, or the minutes and seconds of an angle: 15' and 15".
            '"' | '“' | '”' | '\'' | '’' | '‘' => {
                let digit = at >= 2 && chars[at - 2].is_ascii_digit();
                // The second mark of `15''`.
                let second = marked == at - 1 && marked > 0;
                if (digit || second) && !quoted {
                    out.push(c.to_string());
                    marked = at;
                } else {
                    quoted = !quoted && (at < 2 || !chars[at - 2].is_alphanumeric());
                }
            }
            // The hyphen in "well-known".
            '-' | '–' if letters => {}
            '−' => out.push("-".into()),
            c => out.push(c.to_string()),
        }
    }
    out
}

/// Short words of sentences. Their case does not count, since it changes at the start of a sentence.
fn sentence_word(word: &str) -> bool {
    matches!(
        word,
        "is" | "it"
            | "in"
            | "on"
            | "at"
            | "of"
            | "to"
            | "or"
            | "as"
            | "by"
            | "if"
            | "no"
            | "so"
            | "we"
            | "he"
            | "be"
            | "do"
            | "an"
            | "a"
    )
}

/// Whether two texts are the same chemical formula in different spellings: `\ce{H2O}`, `H_2O`, `H₂O`.
pub(crate) fn same_chemistry(a: &str, b: &str) -> bool {
    matches!((chemistry(a), chemistry(b)), (Some(x), Some(y)) if x == y)
}

/// A chemical formula or equation without its markup; `None` if the text is not one.
fn chemistry(text: &str) -> Option<String> {
    static FORMULA: LazyLock<Regex> = LazyLock::new(|| {
        let element = "(?:A[cglmrstu]|B[aehikr]?|C[adeflmnorsu]?|D[bsy]|E[rsu]|F[elmr]?|G[ade]|H[efgos]?|I[nr]?|Kr?|L[airuv]|\
             M[cdgnot]|N[abdehiop]?|O[gs]?|P[abdmortu]?|R[abefghnu]|S[bcegimnr]?|T[abcehilms]|U|V|W|Xe|Yb?|Z[nr])";
        let group = format!(r"(?:{element}\d*|\((?:{element}\d*)+\)\d*)");
        let species = format!(r"\d*(?:{group})+(?:\^?\d?[+-])?(?:\((?:aq|s|l|g)\))?");
        pattern(&format!(r"^{species}(?:(?:\+|->|<=>|=){species})*$"))
    });
    if text.len() > 200 || !text.contains(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    let mut out = text.trim().trim_end_matches('.').to_owned();
    for (from, to) in [
        ("\\rightarrow", "->"),
        ("\\longrightarrow", "->"),
        ("\\to", "->"),
        ("→", "->"),
        ("\\rightleftharpoons", "<=>"),
        ("⇌", "<=>"),
        ("\\ce", ""),
        ("\\mathrm", ""),
        ("\\text", ""),
        ("\\rm", ""),
        ("\\,", ""),
        ("\\ ", ""),
    ] {
        out = out.replace(from, to);
    }
    let out: String = out
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '{' | '}' | '_' | '$'))
        .map(|c| match c {
            '₀'..='₉' => char::from_digit(u32::from(c) - 0x2080, 10).unwrap_or(c),
            '⁺' => '+',
            '⁻' => '-',
            other => other,
        })
        .collect();
    // One letter is a variable.
    (out.chars().count() > 1 && FORMULA.is_match(&out)).then_some(out)
}

/// Text without `\text{...}` and similar commands around its parts.
fn unwrapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // For each open brace, whether it belongs to such a command.
    let mut open: Vec<bool> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let command =
            ["\\text{", "\\textbf{", "\\mathrm{", "\\textit{", "\\mbox{"].iter().find(|c| rest.starts_with(**c));
        if let Some(command) = command {
            open.push(true);
            out.push(' ');
            rest = &rest[command.len()..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        let escaped = out.ends_with('\\');
        match c {
            '{' if !escaped => open.push(false),
            '}' if !escaped && open.pop() == Some(true) => {
                out.push(' ');
                continue;
            }
            _ => {}
        }
        out.push(c);
    }
    let plain = out.replace('$', " ").replace("\\ ", " ");
    // Asterisks of bold text around the whole answer.
    plain.trim().trim_matches('*').trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spacing_and_delimiters_do_not_count() {
        assert_eq!(normalised("$\\left( 1,\\, 2 \\right)$."), "(1,2)");
        assert_eq!(normalised("\\dfrac{1}{2}"), normalised(" \\frac{1} {2} "));
        assert_ne!(normalised("1 2"), normalised("12"));
        assert_eq!(normalised("\\leftarrow"), "\\leftarrow");
    }

    #[test]
    fn words_lose_case_and_articles() {
        assert_eq!(words("The Midpoints, form a hexagon!"), "midpoints form hexagon");
        assert_eq!(words("A"), "a");
    }
}
