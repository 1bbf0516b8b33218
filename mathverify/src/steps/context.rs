//! Reads the sentence around a claim: it may be a hypothesis, announce a rewriting, or state conditions.

use std::ops::Range;

use crate::extract::floor_boundary;

/// Words that mark a sentence whose equalities need not hold: hypotheses, refutations, approximations, other bases.
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

/// Words that mark a sentence that rewrites an expression: its equalities have to hold for all values of the variables.
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
/// Words that mark a sentence that uses conditions on the variables.
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

/// Which equalities of formulas count as identities, which have to hold for all values of the variables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Identities {
    /// None, since the sentence may use conditions on the variables.
    None,
    /// Equalities in one variable; with several variables, a chain may use relations between them.
    OneVariable,
    /// All, since the sentence is about expanding, factoring or similar.
    All,
    /// Like `All`; in addition, "can be factored as" or a similar phrase is directly before the formula, so that a
    /// single equality `left = right` counts too.
    Rewritten,
}

/// Whether "can be factored as", "expands to" or a similar phrase is directly before the formula.
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
    // If the sentence names something that is no equation, weaker phrases are sufficient.
    const NAMED: [&str; 4] = ["expression", "polynomial", "fraction", "numerator"];
    const LOOSE: [&str; 5] = ["as", "as follows", "written as", "simplifies to", "expressed as"];
    let from = floor_boundary(text, span.start.saturating_sub(90));
    let before = text[from..span.start].trim_end_matches(['$', '\\', '(', '[', ' ', '\n', ':']).to_lowercase();
    let sentence = before[sentence_start(&before)..].trim_end_matches(" it");
    let named = NAMED.iter().any(|n| sentence.contains(n)) && LOOSE.iter().any(|l| sentence.ends_with(l));
    (named || LEADS.iter().any(|l| sentence.ends_with(l))) && !sentence.contains("equation")
}

/// Which equalities of a formula count as identities, according to the sentence before it.
pub(super) fn identities(text: &str, span: &Range<usize>) -> Identities {
    let from = floor_boundary(text, span.start.saturating_sub(400));
    let before = text[from..span.start].to_lowercase();
    let sentence = &before[sentence_start(&before)..];
    if CONDITIONS.iter().any(|w| sentence.contains(w)) {
        return Identities::None;
    }
    if REWRITING.iter().any(|w| sentence.contains(w)) { Identities::All } else { Identities::OneVariable }
}

/// Whether the formula is only a part of a larger expression: `$5$ + $3 = 8$`.
pub(super) fn continues(text: &str, span: Range<usize>) -> bool {
    let before = text[..span.start].trim_end_matches(['$', '\\', '(', '[', ' ']);
    let after = text[span.end..].trim_start_matches(['$', '\\', ')', ']', ' ']);
    before.ends_with(['+', '-', '*', '/', '×', '=', '^', '≈'])
        || after.starts_with(['+', '*', '/', '×', '=', '^', '%', '!'])
}

/// Whether the sentence around a byte range is a hypothesis, a question, or one whose equalities need not hold.
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

/// Byte offset at which the last sentence of a text starts.
pub(super) fn sentence_start(before: &str) -> usize {
    [before.rfind(". "), before.rfind(['\n', '?', '!'])].into_iter().flatten().max().map_or(0, |i| i + 1)
}
