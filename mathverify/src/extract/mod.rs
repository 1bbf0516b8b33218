//! Finds the final answer in a text, with its form and its byte range.
//!
//! The forms are tried in this order: a box, the whole text if it is itself an answer, `#### x`, a phrase such as "the
//! answer is", bold text, the last formula, the last number.

mod boxed;
mod choice;
mod formula;
mod number;
mod phrase;
mod says;
mod visible;

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub(crate) use choice::letter as choice_letter;
pub(crate) use formula::segments;

/// The form in which an answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// The whole text is the answer.
    Whole,
    /// `\boxed{}`; several boxes that belong together are one list.
    Boxed,
    /// `#### x`, as in GSM8K.
    Hashes,
    /// "The answer is x" in one of the known languages.
    Phrase,
    /// `**x**`, Markdown's bold text.
    Bold,
    /// The last formula of the text.
    Formula,
    /// The last number of the text.
    Number,
    /// The letter of a multiple-choice answer.
    Choice,
}

/// An answer found in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Extraction {
    /// The answer as written in the text; several boxes are joined by commas.
    pub text: String,
    /// The form in which it was found.
    pub form: Form,
    /// Byte range of the answer in the input.
    pub span: Range<usize>,
}

/// Number of bytes at the end of a text that are searched for answers other than boxes.
const TAIL: usize = 32_000;
/// Longest text that may itself be an answer, in bytes.
const WHOLE: usize = 1_200;

/// The nearest character boundary at or before byte `at`.
pub(crate) fn floor_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Finds the final answer of `text`; `None` if it has none.
///
/// ```
/// use mathverify::{Form, extract};
///
/// let found = extract("So 3 + 4 = 7.\nThe answer is **7** apples.").unwrap();
/// assert_eq!((found.text.as_str(), found.form), ("7", Form::Phrase));
/// ```
#[must_use]
pub fn extract(text: &str) -> Option<Extraction> {
    find(text, false, false)
}

/// Finds the letter of a multiple-choice answer.
///
/// ```
/// assert_eq!(mathverify::extract_choice("It is not A, therefore I think it's B").unwrap().text, "B");
/// ```
#[must_use]
pub fn extract_choice(text: &str) -> Option<Extraction> {
    find(text, true, false)
}

/// Like [`extract`], or with `choice` like [`extract_choice`]. With `unfinished`, also searches reasoning that never
/// ends or that no text follows.
pub(crate) fn extract_with(text: &str, choice: bool, unfinished: bool) -> Option<Extraction> {
    find(text, choice, unfinished)
}

/// The contents of the boxes in the last paragraph with boxes, joined by commas. Used if the reference is a list.
pub(crate) fn boxes_as_list(text: &str, unfinished: bool) -> Option<String> {
    boxed::of_paragraph(&text[visible::visible(text, unfinished)?])
}

/// The visible part of a model's output: the text after the reasoning, without the chat template's turn markers.
pub(crate) fn said(text: &str, unfinished: bool) -> Option<&str> {
    visible::visible(text, unfinished).map(|range| &text[range])
}

fn find(text: &str, choice: bool, unfinished: bool) -> Option<Extraction> {
    let range = visible::visible(text, unfinished)?;
    let (base, seen) = (range.start, &text[range]);
    if seen.is_empty() {
        return None;
    }
    let at = |form: Form, span: Range<usize>, answer: Cow<'_, str>| {
        let answer = answer.trim();
        (!answer.is_empty()).then(|| Extraction {
            text: answer.to_owned(),
            form,
            span: base + span.start..base + span.end,
        })
    };
    if let Some((span, answer)) = boxed::find(seen) {
        // "Final answer: ..." after the box takes precedence.
        let behind = &seen[span.end..];
        if !choice
            && behind.len() < TAIL
            && let Some(phrase) = phrase::final_answer(behind)
            && let Some(inner) = phrase::answer_in(&behind[phrase.clone()])
        {
            let found = phrase.start + inner.start..phrase.start + inner.end;
            let words = behind[found.clone()].to_owned();
            if words.contains(|c: char| c.is_ascii_digit()) {
                return at(Form::Phrase, span.end + found.start..span.end + found.end, Cow::Owned(words));
            }
        }
        let inner = if choice { choice_letter(&answer).map(|c| c.to_string()) } else { None };
        // A line that states the letter takes precedence over a box without one.
        if choice
            && inner.is_none()
            && let Some((span, letter)) = choice::announced(seen)
        {
            return at(Form::Choice, span, Cow::Owned(letter.to_string()));
        }
        return at(Form::Boxed, span, inner.map_or(answer.into(), Cow::Owned));
    }
    if choice {
        let (span, letter) = choice::find(seen)?;
        return at(Form::Choice, span, Cow::Owned(letter.to_string()));
    }
    if let Some(span) = phrase::spoken_brackets(seen) {
        let answer = &seen[span.clone()];
        return at(Form::Formula, span, Cow::Borrowed(answer));
    }
    if says::deduced(seen).is_none()
        && is_whole(seen)
        && !(seen.contains(char::is_alphabetic) && phrase::find(seen).is_some())
    {
        return at(Form::Whole, 0..seen.len(), Cow::Borrowed(seen));
    }
    // `Hence x = 5`: the answer is the text after the introducing words.
    if let Some(lead) = says::deduced(seen)
        && is_whole(&seen[lead..])
        && phrase::find(seen).is_none()
    {
        let end = seen.trim_end().trim_end_matches(['.', '。']).len().max(lead);
        return at(Form::Whole, lead..end, Cow::Borrowed(&seen[lead..end]));
    }
    let tail_start = floor_boundary(seen, seen.len().saturating_sub(TAIL));
    let tail = &seen[tail_start..];
    let shifted = |span: Range<usize>| tail_start + span.start..tail_start + span.end;
    if let Some(span) = phrase::hashes(tail) {
        let answer = tail[span.clone()].to_owned();
        return at(Form::Hashes, shifted(span), Cow::Owned(answer));
    }
    if let Some(span) = phrase::find(tail)
        && let Some(inner) = phrase::answer_in(&tail[span.clone()])
    {
        let span = span.start + inner.start..span.start + inner.end;
        let answer = tail[span.clone()].to_owned();
        return at(Form::Phrase, shifted(span), Cow::Owned(answer));
    }
    if let Some(span) = phrase::bold(tail) {
        let inner = phrase::answer_in(&tail[span.clone()]).unwrap_or(0..span.len());
        let span = span.start + inner.start..span.start + inner.end;
        let answer = tail[span.clone()].to_owned();
        return at(Form::Bold, shifted(span), Cow::Owned(answer));
    }
    let Some((span, is_formula)) = formula::last(tail) else {
        // No value is stated: a single line of at most 12 words is the answer as a whole.
        let short = seen.len() <= WHOLE && !seen.contains('\n') && seen.split_whitespace().count() <= 12;
        return if short { at(Form::Whole, 0..seen.len(), Cow::Borrowed(seen)) } else { None };
    };
    let answer = tail[span.clone()].to_owned();
    at(if is_formula { Form::Formula } else { Form::Number }, shifted(span), Cow::Owned(answer))
}

/// Whether the text is itself an answer: it parses as mathematics, or is a few words.
fn is_whole(text: &str) -> bool {
    if text.len() > WHOLE || text.contains('\n') && !text.contains("\\begin") {
        return false;
    }
    let bytes = text.as_bytes();
    // A single number with its sign and separators.
    if bytes.iter().all(|b| b.is_ascii_digit() || b",.-".contains(b)) {
        return true;
    }
    // A formula with words outside its delimiters is a sentence. A formula alone between delimiters is an answer.
    let dollars = memchr::memchr_iter(b'$', bytes).count();
    let trimmed = text.trim();
    let enclosed = (trimmed.starts_with('$') && trimmed.ends_with('$') && dollars == 2)
        || (trimmed.starts_with("\\(") && trimmed.ends_with("\\)") && trimmed.matches("\\(").count() == 1);
    if (dollars >= 2 || text.contains("\\(") || text.contains("\\[")) && !enclosed && !text.starts_with("\\$") {
        let outside = formula::outside(text);
        let word = |w: &str| w.chars().filter(|c| c.is_alphabetic()).count() >= 2 && !is_connector(w);
        if outside.split_whitespace().any(word) {
            return false;
        }
    }
    match crate::parse::readings(text) {
        Ok(readings) => readings.first().is_some_and(answer_like),
        Err(_) => {
            if crate::quantity::read(text).is_some() {
                return true;
            }
            // A formula between dollars that does not parse, and a short text without numbers, are whole answers.
            let alone = dollars == 2 && bytes.starts_with(b"$") && bytes.ends_with(b"$");
            let words = text.split_whitespace().count();
            alone
                || (words <= 6
                    && !bytes.iter().any(u8::is_ascii_digit)
                    && !text.contains(':')
                    && number::last(text).is_none())
        }
    }
}

/// Words that join the items of a list, in several of the languages of `phrase.rs`.
const CONNECTORS: [&str; 18] =
    ["and", "or", "et", "ou", "und", "oder", "y", "o", "e", "oraz", "lub", "i", "или", "и", "和", "或", "或者", "、"];

fn is_connector(word: &str) -> bool {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    CONNECTORS.contains(&word) || matches!(word, "percent" | "pct" | "degrees")
}

/// Whether a parsed text is an answer and not a sentence that happens to parse. A product of words alone (units) is an
/// answer.
fn answer_like(e: &crate::ast::Expr) -> bool {
    use crate::ast::Expr;
    match e {
        Expr::Text(t) => t.split_whitespace().count() <= 12,
        Expr::Quantity(value, unit) => unit.split_whitespace().count() <= 6 && answer_like(value),
        // A formula with words among its factors is part of a sentence; a name such as "Area" may come before `=`.
        Expr::Mul(factors) => {
            !factors.iter().any(|f| matches!(f, Expr::Text(_)))
                || factors.iter().all(|f| matches!(f, Expr::Text(_) | Expr::Sym(_)))
        }
        // `Therefore, the solutions are x = 1 and x = -2` is a sentence.
        Expr::List(items) => {
            let words = items.iter().filter(|i| matches!(i, Expr::Text(_))).count();
            (words == 0 || words == items.len()) && items.iter().all(answer_like)
        }
        Expr::Relation(items, _) => items.iter().all(answer_like) && !verb_inside(&items[0]),
        Expr::Tuple(_) | Expr::Set(_) | Expr::Brackets(_) | Expr::Ratio(_) | Expr::Matrix(_) | Expr::Union(_) => {
            e.children().into_iter().all(answer_like)
        }
        // Words that are added, divided or raised to a power are not a value: "the sum is -3" is not a difference.
        _ => !e.any(&|e| match e {
            Expr::Text(_) => true,
            Expr::Quantity(_, unit) => unit.split_whitespace().count() > 3,
            _ => false,
        }),
    }
}

/// Whether the left side of a relation is the start of a sentence: `the solutions are x`.
fn verb_inside(e: &crate::ast::Expr) -> bool {
    use crate::ast::Expr;
    e.any(&|e| match e {
        Expr::Text(t) => t.split_whitespace().any(|w| matches!(w, "is" | "are" | "was" | "were" | "have" | "has")),
        _ => false,
    })
}

/// Finds the answer in a reference: a box, `####`, a phrase, bold text, or else the whole text.
pub(crate) fn reference(text: &str) -> Extraction {
    let whole = || Extraction { text: text.trim().to_owned(), form: Form::Whole, span: 0..text.len() };
    match extract(text) {
        // Without one of these markers, the whole reference is the answer: no number or formula is cut out of it.
        Some(found) if matches!(found.form, Form::Number | Form::Formula) => whole(),
        // The words beside the value inside the bold text belong to the reference.
        Some(found) if found.form == Form::Bold => {
            let open = text[..found.span.start].rfind("**").map(|at| at + 2);
            let close = text[found.span.end..].find("**").map(|at| found.span.end + at);
            match (open, close) {
                (Some(open), Some(close)) if text[open..close].trim().trim_end_matches('.') != found.text => {
                    Extraction { text: text[open..close].trim().to_owned(), form: Form::Bold, span: open..close }
                }
                _ => found,
            }
        }
        Some(found) => found,
        None => whole(),
    }
}
