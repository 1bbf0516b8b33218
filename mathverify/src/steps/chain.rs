//! Chains of equalities in formulas and in running text.

use std::ops::Range;

use super::judge::{Judged, has_operation, is_numeric, judge, judge_identity, judge_rounded};
use super::{Claim, StepStatus, annotation};
use crate::extract::segments;
use crate::numeric::eval::exact;
use crate::parse;

/// Longest piece that is looked at, in bytes.
const MAX_PIECE: usize = 3_000;
/// Most pieces of one step.
const MAX_PIECES: usize = 200;

/// Words in whose sentence an equality need not hold: hypotheses, refutations, other arithmetic.
const HYPOTHETICAL: [&str; 35] = [
    "if ",
    "suppose",
    "assum",
    "contradict",
    "hypothe",
    "instead",
    "would ",
    "could ",
    "not equal",
    "incorrect",
    "wrong",
    "mistake",
    "error",
    "wait",
    "try ",
    "trying",
    "guess",
    "check",
    "test ",
    "impossible",
    "doesn't",
    "does not",
    "isn't",
    "is not",
    "remainder",
    "base ",
    "digit",
    "binary",
    "octal",
    "clock",
    "approximat",
    "about ",
    "roughly",
    "estimat",
    "round",
];

/// Words in whose sentence a chain of expressions is a rewriting: every equality holds for all values.
const REWRITING: [&str; 9] = [
    "expand",
    "simplif",
    "factor",
    "distribut",
    "combin",
    "multiply out",
    "multiplying out",
    "complete the square",
    "like terms",
];
/// Words that say that something is known about the variables.
const CONDITIONS: [&str; 12] = [
    "since",
    "substitut",
    "given",
    "using",
    "where",
    "because",
    "solv",
    "equation",
    "when ",
    "know",
    "identity",
    "set ",
];

/// Which equalities of formulas count as identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identities {
    /// None: something is known about the variables.
    None,
    /// Those in one variable: relations between variables are what chains use.
    OneVariable,
    /// All: the sentence speaks of expanding, factoring and the like.
    All,
}

/// Whether the sentence around a formula rewrites it without using anything known about its variables.
fn identities(text: &str, span: &Range<usize>) -> Identities {
    let from = crate::extract::floor_boundary(text, span.start.saturating_sub(400));
    let before = text[from..span.start].to_lowercase();
    let sentence = &before[sentence_start(&before)..];
    if CONDITIONS.iter().any(|w| sentence.contains(w)) {
        return Identities::None;
    }
    if REWRITING.iter().any(|w| sentence.contains(w)) { Identities::All } else { Identities::OneVariable }
}

/// All claims of a step outside its annotations.
pub(super) fn claims(step: &str) -> Vec<Claim> {
    if !(step.contains('=') || step.contains("\\approx") || step.contains('≈') || step.contains("\\equiv"))
        || step.len() > 200_000
    {
        return Vec::new();
    }
    // A step that tries values or refutes something states equalities that need not hold.
    let lower = step.to_lowercase();
    if ["false", "not true", "try ", "trying", "verify", "contradict", "test ", "testing", "no solution", "not satisf"]
        .iter()
        .any(|w| lower.contains(w))
    {
        return Vec::new();
    }
    // Annotations are blanked, so that `20 + 5 = <<20+5=25>>25` reads `20 + 5 = 25`.
    let mut text = step.to_owned();
    for span in annotation::spans(step).into_iter().rev() {
        text.replace_range(span.clone(), &" ".repeat(span.len()));
    }
    let mut out = Vec::new();
    let mut at = 0;
    let formulas = segments(&text);
    for formula in formulas.iter().take(MAX_PIECES) {
        running(&text, at..formula.start, &mut out);
        at = formula.end;
        // A formula that goes on in the text behind it is no claim by itself.
        let word = text[..formula.start]
            .trim_end_matches(['$', '\\', '(', '[', ' '])
            .rsplit(char::is_whitespace)
            .next()
            .unwrap_or("");
        let glued = continues(&text, formula.clone()) || matches!(word, "of" | "times" | "plus" | "minus" | "by");
        if !glued && formula.len() <= MAX_PIECE && !hypothetical(&text, formula) {
            latex(&text, formula.clone(), &mut out);
        }
    }
    if formulas.len() <= MAX_PIECES {
        running(&text, at..text.len(), &mut out);
    }
    out
}

/// Whether the formula is only part of one: `$5$ + $3 = 8$`.
fn continues(text: &str, span: Range<usize>) -> bool {
    let before = text[..span.start].trim_end_matches(['$', '\\', '(', '[', ' ']);
    let after = text[span.end..].trim_start_matches(['$', '\\', ')', ']', ' ']);
    before.ends_with(['+', '-', '*', '/', '×', '=', '^', '≈']) || after.starts_with(['+', '*', '/', '×', '=', '^', '%'])
}

/// Whether the sentence around a place speaks of something that need not hold.
fn hypothetical(text: &str, span: &Range<usize>) -> bool {
    let from = crate::extract::floor_boundary(text, span.start.saturating_sub(400));
    let before = &text[from..span.start];
    let start = sentence_start(before);
    let to = crate::extract::floor_boundary(text, (span.end + 120).min(text.len()));
    let after = &text[span.end..to];
    let end = after.find(". ").or_else(|| after.find(['\n', '?', '!'])).map_or(after.len(), |i| i + 1);
    let words = format!("{} {}", &before[start..], &after[..end]).to_lowercase();
    HYPOTHETICAL.iter().any(|h| words.contains(h)) || after[..end].contains('?')
}

/// Where the last sentence starts.
fn sentence_start(before: &str) -> usize {
    [before.rfind(". "), before.rfind(['\n', '?', '!'])].into_iter().flatten().max().map_or(0, |i| i + 1)
}

/// The claims of one formula.
fn latex(text: &str, span: Range<usize>, out: &mut Vec<Claim>) {
    let content = &text[span.clone()];
    if content.contains("mod") {
        return congruences(content, span.start, out);
    }
    const OTHER: [&str; 14] = [
        "equiv", "neq", "ne ", "not", "cases", "\\lfloor", "\\lceil", "matrix", "array", "overline", "_", "\\mid",
        "\\dots", "...",
    ];
    if OTHER.iter().any(|o| content.contains(o)) {
        return;
    }
    // Lines and columns of aligned formulas; arrows and commas separate statements.
    let separators = [
        "\\\\",
        "\\implies",
        "\\Rightarrow",
        "\\Longrightarrow",
        "\\iff",
        "\\quad",
        "\\qquad",
        ",",
        ";",
        "\\text{and}",
        "\\to",
    ];
    for piece in pieces(content, &separators) {
        let piece_text = content[piece.clone()].replace('&', " ");
        // Where a row starts with `=`, its left side is the row before: not joined here.
        chain(&piece_text, span.start + piece.start, true, identities(text, &span), out);
    }
}

/// Splits at separators outside of braces and parentheses; `,` only when it is no thousands separator.
fn pieces(content: &str, separators: &[&str]) -> Vec<Range<usize>> {
    let bytes = content.as_bytes();
    let mut out = Vec::new();
    let (mut depth, mut start, mut i) = (0_i32, 0, 0);
    while i < bytes.len() {
        match bytes[i] {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        let found = separators.iter().find(|s| bytes[i..].starts_with(s.as_bytes()));
        if let Some(separator) = found
            && (depth <= 0 || *separator == "\\\\")
        {
            let digit = |j: usize| bytes.get(j).is_some_and(u8::is_ascii_digit);
            let thousands =
                *separator == "," && i > 0 && digit(i - 1) && (1..=3).all(|k| digit(i + k)) && !digit(i + 4);
            if !thousands {
                out.push(start..i);
                i += separator.len();
                start = i;
                continue;
            }
        }
        i += 1;
    }
    out.push(start..bytes.len());
    out
}

/// Splits a chain at its relations; the relation before each term but the first.
fn relations(piece: &str) -> Vec<(char, &str)> {
    const SIGNS: [(&str, char); 8] = [
        ("\\approx", '≈'),
        ("≈", '≈'),
        ("\\equiv", '≡'),
        ("≡", '≡'),
        ("==", '='),
        ("=", '='),
        ("\\doteq", '≈'),
        ("\\simeq", '≈'),
    ];
    let mut out = Vec::new();
    let (mut sign, mut start, mut at) = (' ', 0, 0);
    while at < piece.len() {
        if let Some((mark, found)) = SIGNS.iter().find(|(mark, _)| piece[at..].starts_with(mark)) {
            out.push((sign, &piece[start..at]));
            (sign, start) = (*found, at + mark.len());
            at = start;
        } else {
            at += piece[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    out.push((sign, &piece[start..]));
    out
}

/// Claims of neighbours in a chain. `latex`: text in the terms is units.
fn chain(piece: &str, offset: usize, latex: bool, identities: Identities, out: &mut Vec<Claim>) {
    let other = ["<", ">", "\\le", "\\ge", "\\in ", "\\pm", "!=", "≠", "≤", "≥", "\\ne"];
    let plain = piece.replace("\\left", "").replace("\\neg", "");
    if other.iter().any(|o| plain.contains(o)) {
        return;
    }
    let terms = relations(piece);
    let long = terms.len() > 2;
    for (place, pair) in terms.windows(2).enumerate() {
        let (sign, left, right) = (pair[1].0, pair[0].1.trim(), pair[1].1.trim());
        if left.is_empty() || right.is_empty() || left.len() > 400 || right.len() > 400 || sign == '≡' {
            continue;
        }
        let (l, r) = if latex {
            let (Some(l), Some(r)) = (without_units(left), without_units(right)) else { continue };
            // 6 inches = 6/12 feet converts; 4 hours = 4 * 60 too.
            if l.1 != r.1 && (!l.1.is_empty() && !r.1.is_empty() || l.2 || r.2) {
                continue;
            }
            (l.0, r.0)
        } else {
            (left.to_owned(), right.to_owned())
        };
        let (Ok(l), Ok(r)) = (parse::parse(&l), parse::parse(&r)) else { continue };
        let judged = if is_numeric(&l) && is_numeric(&r) {
            if !(has_operation(&l) || has_operation(&r)) {
                continue;
            }
            if sign == '≈' { judge_rounded(&l, &r) } else { judge(&l, &r, false) }
        } else if identities != Identities::None && long && sign == '=' && place > 0 {
            judge_identity(&l, &r, identities == Identities::OneVariable)
        } else {
            continue;
        };
        let (status, expected) = match judged {
            Judged::True => (StepStatus::Correct, None),
            Judged::False(expected) => (StepStatus::Wrong, Some(expected)),
            Judged::Unclear => (StepStatus::NotCheckable, None),
        };
        let text = format!("{left} {sign} {right}");
        out.push(Claim { text, status, expected, span: offset..offset + piece.len() });
    }
}

/// `a ≡ b (mod m)` for whole numbers.
fn congruences(content: &str, offset: usize, out: &mut Vec<Claim>) {
    let Some(at) = content.find("\\pmod").or_else(|| content.find("\\mod")).or_else(|| content.find("\\bmod")) else {
        return;
    };
    if content[at + 4..].contains("mod") || content.contains([',', ';']) || content.contains("\\\\") {
        return;
    }
    let modulus: String = content[at..].chars().filter(char::is_ascii_digit).collect();
    let closed = content[at..].trim_end_matches(|c: char| c.is_whitespace() || ".})".contains(c));
    if modulus.is_empty() || !closed.ends_with(&modulus) {
        return;
    }
    let left_side = content[..at].trim_end_matches(|c: char| c.is_whitespace() || c == '(');
    let terms = relations(left_side);
    for pair in terms.windows(2) {
        let (left, right) = (pair[0].1.trim(), pair[1].1.trim());
        if pair[1].0 == '≈' {
            continue;
        }
        let value = |t: &str| {
            parse::parse(t)
                .ok()
                .filter(is_numeric)
                .and_then(|e| exact(&e))
                .filter(num_rational::BigRational::is_integer)
        };
        let (Some(l), Some(r), Some(m)) = (value(left), value(right), value(&modulus)) else { continue };
        if m == crate::rational::int(0) {
            continue;
        }
        let holds = ((&l - &r) / &m).is_integer();
        let rest = &l - &m * (&l / &m).floor();
        let (status, expected) =
            if holds { (StepStatus::Correct, None) } else { (StepStatus::Wrong, Some(crate::rational::render(&rest))) };
        out.push(Claim {
            text: format!("{left} ≡ {right} (mod {modulus})"),
            status,
            expected,
            span: offset..offset + content.len(),
        });
    }
}

/// A term without `\text{...}`, its units, and whether it is a bare number with a unit; `None` when its words are a name
/// or change the value, or its units are mixed in a sum.
fn without_units(term: &str) -> Option<(String, Vec<String>, bool)> {
    let mut out = String::with_capacity(term.len());
    let mut rest = term;
    let mut units: Vec<String> = Vec::new();
    while let Some(at) = ["\\text", "\\mathrm", "\\mbox", "\\textbf"].iter().filter_map(|c| rest.find(c)).min() {
        let open = at + rest[at..].find('{')?;
        let close = open + rest[open..].find('}')?;
        units.push(rest[open + 1..close].trim().to_lowercase());
        out.push_str(&rest[..at]);
        // Words that do not stand behind a number are a name.
        if !units.last()?.is_empty()
            && !out.trim_end_matches([' ', '\\', ',', '}', ')', '~', '/']).ends_with(|c: char| c.is_ascii_digit())
        {
            return None;
        }
        out.push(' ');
        rest = &rest[close + 1..];
        // \text{cm}^2
        if let Some(tail) =
            rest.strip_prefix("^2").or_else(|| rest.strip_prefix("^3")).or_else(|| rest.strip_prefix("^{2}"))
        {
            rest = tail;
        }
    }
    out.push_str(rest);
    const SCALES: [&str; 12] = [
        "thousand",
        "million",
        "billion",
        "hundred",
        "dozen",
        "half",
        "quarter",
        "percent",
        "%",
        "base",
        "remainder",
        "of",
    ];
    if units.iter().any(|u| SCALES.iter().any(|s| u.contains(s))) {
        return None;
    }
    units.iter_mut().for_each(|u| *u = u.trim_end_matches('s').to_owned());
    units.retain(|u| !u.is_empty());
    units.dedup();
    let sum = out.trim_start_matches('-').contains(['+', '-']);
    let bare = !units.is_empty() && !out.trim_start_matches('-').contains(['+', '-', '*', '/', '\\', '(']);
    (!sum || units.len() <= 1).then_some((out, units, bare))
}

/// Claims in running text: runs of numbers and operators around an equals sign.
fn running(text: &str, span: Range<usize>, out: &mut Vec<Claim>) {
    let part = &text[span.clone()];
    if !part.contains('=') {
        return;
    }
    let mut from = 0;
    for _ in 0..MAX_PIECES {
        let Some(equals) = part[from..].find('=').map(|i| from + i) else { return };
        let run = run_around(part, equals);
        from = run.end.max(equals + 1);
        let content = &part[run.clone()];
        let placed = span.start + run.start..span.start + run.end;
        if content.len() > MAX_PIECE || hypothetical(text, &placed) {
            continue;
        }
        if let Some(clean) = tidy_run(part, run.clone()) {
            chain(&clean, placed.start, false, Identities::None, out);
        }
    }
}

fn arithmetic(c: char) -> bool {
    c.is_ascii_digit() || "+-−*×·/÷^()=.,$€£ ".contains(c)
}

/// The longest run of arithmetic around an equals sign; `x` between numbers is a multiplication sign.
fn run_around(text: &str, equals: usize) -> Range<usize> {
    let times = |i: usize| {
        let bytes = text.as_bytes();
        let before = text[..i].trim_end();
        let after = text[i + 1..].trim_start();
        matches!(bytes[i], b'x' | b'X')
            && before.ends_with(|c: char| c.is_ascii_digit() || c == ')')
            && after.starts_with(|c: char| c.is_ascii_digit() || c == '(' || c == '$')
    };
    let mut start = equals;
    for (i, c) in text[..equals].char_indices().rev() {
        if equals - i > MAX_PIECE || !(arithmetic(c) || (c.is_ascii_alphabetic() && times(i))) {
            break;
        }
        start = i;
    }
    let mut end = equals + 1;
    for (i, c) in text[end..].char_indices() {
        if i > MAX_PIECE || !(arithmetic(c) || (c.is_ascii_alphabetic() && times(equals + 1 + i))) {
            break;
        }
        end = equals + 1 + i + c.len_utf8();
    }
    start..end
}

/// A run without the ends that belong to the text around it; `None` when nothing is left to check.
fn tidy_run(text: &str, run: Range<usize>) -> Option<String> {
    let content = &text[run.clone()];
    let before = text[..run.start].chars().next_back();
    let after = &text[run.end..];
    let mut terms: Vec<String> =
        content.split('=').map(|t| t.replace(['×', '·'], "*").replace('÷', "/").replace('−', "-")).collect();
    for term in &mut terms {
        *term = multiplied(term).trim().trim_end_matches([',', '.', ' ', '(']).to_owned();
    }
    // The first term: what stands before it may belong to it.
    let glued_before = before.is_some_and(|c| !c.is_whitespace() && !"(\"“*>".contains(c)) && !content.starts_with(' ');
    let spaced_word = before.is_some_and(char::is_alphabetic) && content.starts_with(' ');
    let first = terms.first_mut()?;
    // Only the part behind the last comma or full stop: `in 2019, 3 + 4`.
    if let Some(cut) = first.rfind(", ").or_else(|| first.rfind(". ")) {
        *first = first[cut + 2..].to_owned();
    }
    let operator_first = first.trim_start().starts_with(['+', '*', '/', '-', '^', ')']);
    let last_word = text[..run.start].trim_end().rsplit(char::is_whitespace).next().unwrap_or("").to_lowercase();
    let number_word = [
        "dozen", "hundred", "thousand", "million", "half", "of", "percent", "times", "and", "by", "plus", "minus",
        "per",
    ]
    .contains(&&*last_word);
    // A variable alone before the run: `x 5 = 3` or `n (n-1)`.
    let variable = spaced_word && last_word.chars().count() == 1 && last_word != "a";
    if glued_before || operator_first || number_word || variable || before.is_some_and(|c| "%)]}°".contains(c)) {
        first.clear();
    }
    // The last term: a variable, a percent sign or a scale behind it.
    let next = after.chars().next();
    let glued_after = !content.ends_with(' ') && next.is_some_and(|c| c.is_alphabetic() || "_\\^%!°[{|'".contains(c));
    let next_word = after.trim_start().split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_lowercase();
    let changes = [
        "dozen",
        "hundred",
        "thousand",
        "million",
        "billion",
        "r",
        "remainder",
        "percent",
        "mod",
        "of",
        "cents",
        "times",
        "x",
        "or",
        "rem",
    ];
    let operator_last = terms.last()?.ends_with(['+', '*', '/', '-', '^']);
    let after_operator = after.trim_start().starts_with(['%', '^', '!', '\\', '{', '[', '≈', '~']);
    let single =
        next_word.chars().count() == 1 && next_word.chars().all(|c| c.is_ascii_alphabetic()) && next_word != "a";
    if glued_after || changes.contains(&&*next_word) || operator_last || after_operator || single {
        terms.last_mut()?.clear();
    }
    for term in &mut terms {
        // Unbalanced parentheses: part of a sentence in parentheses.
        let (open, close) = (term.matches('(').count(), term.matches(')').count());
        if open != close {
            if open == close + 1 && term.starts_with('(') {
                term.remove(0);
            } else if close == open + 1 && term.ends_with(')') {
                term.pop();
            } else {
                term.clear();
            }
        }
        // A list is not one term; `25 / 1/3` has two meanings.
        if term.contains(", ") || term.split(['+', '-']).any(|t| t.matches('/').count() > 1) {
            term.clear();
        }
    }
    (terms.iter().filter(|t| !t.is_empty()).count() >= 2).then(|| terms.join(" = "))
}

/// `3 x 4` with a multiplication sign.
fn multiplied(term: &str) -> String {
    term.replace(['x', 'X'], "*")
}
