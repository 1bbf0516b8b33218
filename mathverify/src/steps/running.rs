//! Claims in running text: runs of numbers and operators around an equals sign.

use std::ops::Range;

use super::Claim;
use super::chain::{MAX_PIECE, MAX_PIECES, Terms, chain};
use super::context::{Identities, hypothetical};
use crate::budget::Budget;

/// Adds the claims of the text at `span`, which has no formulas, to `out`.
pub(super) fn claims(text: &str, span: Range<usize>, budget: &Budget, out: &mut Vec<Claim>) {
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
            let read = Terms { latex: false, identities: Identities::None, joined: false };
            chain(&clean, placed.start, read, budget, out);
        }
    }
}

/// Whether a character may be part of a run of arithmetic.
fn arithmetic(c: char) -> bool {
    c.is_ascii_digit() || "+-−–*×·/÷^()=.,$€£ ".contains(c)
}

/// Byte range of the longest run of arithmetic around the equals sign at byte `equals`; `x` between numbers is a
/// multiplication sign.
fn run_around(text: &str, equals: usize) -> Range<usize> {
    let times = |i: usize| {
        let bytes = text.as_bytes();
        let before = text[..i].trim_end();
        let after = text[i + 1..].trim_start();
        (bytes[i] == b'x' || (bytes[i] == b'X' && text[..i].ends_with(' ') && text[i + 1..].starts_with(' ')))
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

/// The run without its first or last term if that term belongs to the text around the run; `None` if fewer than two
/// terms remain.
fn tidy_run(text: &str, run: Range<usize>) -> Option<String> {
    let content = &text[run.clone()];
    let before = text[..run.start].chars().next_back();
    let after = &text[run.end..];
    let mut terms: Vec<String> =
        content.split('=').map(|t| t.replace(['×', '·'], "*").replace('÷', "/").replace(['−', '–'], "-")).collect();
    for term in &mut terms {
        *term = multiplied(term).trim().trim_end_matches([',', '.', ' ', '(']).to_owned();
    }
    // The first term is dropped if the text before it may belong to it.
    let glued_before = before.is_some_and(|c| !c.is_whitespace() && !"(\"“*>".contains(c)) && !content.starts_with(' ');
    let spaced_word = before.is_some_and(char::is_alphabetic) && content.starts_with(' ');
    let first = terms.first_mut()?;
    // Of the first term, only the part after the last comma or full stop counts: `in 2019, 3 + 4`.
    if let Some(cut) = first.rfind(", ").or_else(|| first.rfind(". ")) {
        // Unless the space is inside a number: `14, 400` and `.8 + . 84`.
        let (head, tail) = (&first[..cut], &first[cut + 2..]);
        let number =
            tail.bytes().take_while(u8::is_ascii_digit).count() == 3 && head.ends_with(|c: char| c.is_ascii_digit());
        let operator = head.trim_end().ends_with(['+', '-', '*', '/']);
        *first = if number || operator { String::new() } else { tail.to_owned() };
    }
    let operator_first = first.trim_start().starts_with(['+', '*', '/', '-', '^', ')']);
    let last_word = text[..run.start].trim_end().rsplit(char::is_whitespace).next().unwrap_or("").to_lowercase();
    let number_word = [
        "dozen", "hundred", "thousand", "million", "half", "of", "percent", "times", "and", "by", "plus", "minus",
        "per",
    ]
    .contains(&&*last_word);
    // A single letter before the run is a variable: `x 5 = 3` or `n (n-1)`.
    let variable = spaced_word && last_word.chars().count() == 1 && last_word != "a";
    // The first term is a label: `Week 2 = 35 + 35`, `Weeks 1-2 = 96 - 70`, `on day 1 * 2 = 20`,
    // `half a day (1/2) = ...`.
    let named = text[..run.start]
        .trim_end()
        .rsplit(char::is_whitespace)
        .next()
        .is_some_and(|w| w.starts_with(char::is_uppercase));
    let spoken = spaced_word || last_word.ends_with(char::is_alphabetic);
    let plain = first.trim();
    let bare = (named && plain.parse::<f64>().is_ok()) || (plain.starts_with('(') && plain.ends_with(')'));
    let range = plain.split_once('-').is_some_and(|(a, b)| match (a.parse::<u32>(), b.parse::<u32>()) {
        (Ok(a), Ok(b)) => a < b,
        _ => false,
    });
    const LABELS: [&str; 18] = [
        "day", "week", "month", "year", "step", "part", "hour", "page", "question", "problem", "case", "number",
        "grade", "level", "round", "game", "box", "person",
    ];
    let label = (spoken && (bare || range)) || LABELS.contains(&last_word.trim_end_matches('s'));
    if label || glued_before || operator_first || number_word || variable || before.is_some_and(|c| "%)]}°".contains(c))
    {
        first.clear();
    }
    // The last term is dropped if a variable, an operator, a percent sign or a scaling word follows it.
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
        // An unbalanced parenthesis belongs to a sentence in parentheses.
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
        // Not judged: a list, which is not one term, and terms with two readings such as `25 / 1/3` and `85/40*45`.
        let tight = !term.contains(' ') && term.find('/').is_some_and(|at| term[at..].contains('*'));
        if tight || term.contains(", ") || term.split(['+', '-']).any(|t| t.matches('/').count() > 1) {
            term.clear();
        }
    }
    (terms.iter().filter(|t| !t.is_empty()).count() >= 2).then(|| terms.join(" = "))
}

/// The term with `*` in place of `x`: `3 x 4` becomes `3 * 4`.
fn multiplied(term: &str) -> String {
    term.replace(['x', 'X'], "*")
}
