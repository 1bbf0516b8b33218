//! The meaning of the sentence around a claim: hypotheses, rewriting, conditions.

use std::ops::Range;

use crate::extract::floor_boundary;

/// Words that mark a sentence whose equalities need not hold: hypotheses, refutations, other arithmetic.
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

/// Words that mark a sentence whose chain of expressions is a rewriting: every equality holds for all values.
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
/// Words that indicate that something is known about the variables.
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

/// The equalities of formulas that count as identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identities {
    /// None, since something is known about the variables.
    None,
    /// Those in one variable, since chains also use relations between variables.
    OneVariable,
    /// All, since the sentence is about expanding, factoring or similar.
    All,
    /// Like `All`, and "can be written as" is directly before the formula: its only equality is an identity too.
    Rewritten,
}

/// Whether "can be factored as", "expands to" or a similar phrase leads to the formula.
pub(super) fn written_as(text: &str, span: &Range<usize>) -> bool {
    const LEADS: [&str; 8] = [
        "can be factored as",
        "can be factored into",
        "factors as",
        "factors into",
        "factored as",
        "expands to",
        "can be factored",
        "we can factor",
    ];
    // For expressions that are certainly not equations, other words are sufficient.
    const NAMED: [&str; 4] = ["expression", "polynomial", "fraction", "numerator"];
    const LOOSE: [&str; 5] = ["as", "as follows", "written as", "simplifies to", "expressed as"];
    let from = floor_boundary(text, span.start.saturating_sub(90));
    let before = text[from..span.start].trim_end_matches(['$', '\\', '(', '[', ' ', '\n', ':']).to_lowercase();
    let sentence = before[sentence_start(&before)..].trim_end_matches(" it");
    let named = NAMED.iter().any(|n| sentence.contains(n)) && LOOSE.iter().any(|l| sentence.ends_with(l));
    (named || LEADS.iter().any(|l| sentence.ends_with(l))) && !sentence.contains("equation")
}

/// Whether the sentence around a formula rewrites it without using knowledge about its variables.
pub(super) fn identities(text: &str, span: &Range<usize>) -> Identities {
    let from = floor_boundary(text, span.start.saturating_sub(400));
    let before = text[from..span.start].to_lowercase();
    let sentence = &before[sentence_start(&before)..];
    if CONDITIONS.iter().any(|w| sentence.contains(w)) {
        return Identities::None;
    }
    if REWRITING.iter().any(|w| sentence.contains(w)) { Identities::All } else { Identities::OneVariable }
}

/// Whether the formula is only a part of a larger one: `$5$ + $3 = 8$`.
pub(super) fn continues(text: &str, span: Range<usize>) -> bool {
    let before = text[..span.start].trim_end_matches(['$', '\\', '(', '[', ' ']);
    let after = text[span.end..].trim_start_matches(['$', '\\', ')', ']', ' ']);
    before.ends_with(['+', '-', '*', '/', '×', '=', '^', '≈'])
        || after.starts_with(['+', '*', '/', '×', '=', '^', '%', '!'])
}

/// Whether the sentence around a place is about something that need not hold.
pub(super) fn hypothetical(text: &str, span: &Range<usize>) -> bool {
    let from = floor_boundary(text, span.start.saturating_sub(400));
    let before = &text[from..span.start];
    let start = sentence_start(before);
    let to = floor_boundary(text, (span.end + 120).min(text.len()));
    let after = &text[span.end..to];
    let end = after.find(". ").or_else(|| after.find(['\n', '?', '!'])).map_or(after.len(), |i| i + 1);
    let words = format!("{} {}", &before[start..], &after[..end]).to_lowercase();
    HYPOTHETICAL.iter().any(|h| words.contains(h)) || after[..end].contains('?')
}

/// The start of the last sentence.
pub(super) fn sentence_start(before: &str) -> usize {
    [before.rfind(". "), before.rfind(['\n', '?', '!'])].into_iter().flatten().max().map_or(0, |i| i + 1)
}
