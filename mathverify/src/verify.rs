//! Extracts the final answers of two texts and compares them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::compare::{compare, differing_words, normalised};
use crate::extract::{Extraction, Form, boxes_as_list, choice_letter, extract_with, reference, said};
use crate::options::{Options, Units};
use crate::verdict::{Outcome, Status, Tier};

/// Maximum length of an answer that is parsed, in bytes. Longer answers are compared only as text.
const MAX_ANSWER: usize = 24_000;

/// The result of [`verify`]: whether the final answer of a prediction equals the reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Equal, different or unknown.
    pub verdict: Status,
    /// The answer extracted from the prediction; `None` if there is none.
    pub pred_answer: Option<String>,
    /// The form of that answer in the prediction.
    pub pred_form: Option<Form>,
    /// The answer extracted from the reference.
    pub gold_answer: Option<String>,
    /// The method that decided; `None` if no answer was found in the prediction.
    pub tier: Option<Tier>,
    /// One clause that says what was compared, or why the result is unknown.
    pub reason: Cow<'static, str>,
}

impl Verdict {
    /// Whether the prediction equals the reference.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.verdict == Status::Equal
    }
}

/// Compares the final answer of `pred` with that of `gold`; both may be whole solutions or bare answers.
///
/// A pure function: the verdict is the same on every thread, and the number of operations and the memory are limited.
///
/// ```
/// use mathverify::{Options, verify};
///
/// assert!(verify("Half of it: $\\boxed{\\frac{1}{2}}$.", "0.5", &Options::default()).is_equal());
/// assert!(!verify("x > 5", "x < 5", &Options::default()).is_equal());
/// ```
#[must_use]
pub fn verify(pred: &str, gold: &str, options: &Options) -> Verdict {
    let reference = reference(gold);
    let expected_letter = choice_letter(&reference.text).or_else(|| choice_in_reference(gold, &reference));
    let found = extract_with(pred, false, options.unfinished_thinking);
    let verdict = |outcome: Outcome, found: Option<Extraction>, gold: String| Verdict {
        verdict: outcome.status,
        tier: found.as_ref().map(|_| outcome.tier),
        pred_form: found.as_ref().map(|f| f.form),
        pred_answer: found.map(|f| f.text),
        gold_answer: Some(gold),
        reason: outcome.reason,
    };
    if reference.text.is_empty() {
        return verdict(Outcome::unknown("an empty reference"), None, reference.text);
    }
    let Some(said) = said(pred, options.unfinished_thinking) else {
        let why = "the reasoning never ends, or nothing follows it, so no answer is read";
        return verdict(Outcome::unknown(why), None, reference.text);
    };
    // Identical texts are equal even if they are not formulas: `July 4`, a sentence.
    if reference.form == Form::Whole && same_text(said, &reference.text)
        || reference.form == Form::Bold && same_text(said, gold)
    {
        let found = Extraction { text: said.to_owned(), form: Form::Whole, span: 0..pred.len() };
        return verdict(Outcome::equal(Tier::Text, "the same text"), Some(found), reference.text);
    }
    if let Some(letter) = expected_letter {
        return choice(pred, letter, &reference, found, options, verdict);
    }
    let Some(found) = found else {
        return verdict(Outcome::unknown("no answer found in the prediction"), None, reference.text);
    };
    let mut outcome = compare_found(&found.text, &reference.text, options);
    // "The answer is 5!": the mark may be a factorial or an exclamation mark.
    if outcome.is_equal()
        && !matches!(found.form, Form::Whole | Form::Boxed)
        && found.text.ends_with('!')
        && !pred[found.span.end..].trim_start().starts_with(['$', '\\'])
    {
        outcome = Outcome::unknown("a factorial, or the end of a sentence");
    }
    // The words after a number in a sentence count: "she has 5 apples" does not equal `5 pears`.
    if outcome.is_equal()
        && options.units != Units::Ignored
        && !matches!(found.form, Form::Whole | Form::Boxed)
        && let Some(why) = differing_words(&pred[found.span.end..], &found.text, &reference.text)
    {
        outcome = Outcome::unknown(why);
    }
    if outcome.is_equal()
        && options.strip_names
        && !options.ignore_names
        && !matches!(found.form, Form::Whole | Form::Boxed)
        && other_name(&pred[..found.span.start], &reference.text)
    {
        outcome = Outcome::unknown("the same value under two names");
    }
    // The reference is a list: the boxes of one paragraph may be its items.
    if !outcome.is_equal()
        && found.form == Form::Boxed
        && reference.text.contains([',', ';'])
        && let Some(list) = boxes_as_list(pred, options.unfinished_thinking)
        && compare_found(&list, &reference.text, options).is_equal()
    {
        let found = Extraction { text: list, ..found };
        return verdict(
            Outcome::equal(Tier::Structure, "the boxes of the last paragraph"),
            Some(found),
            reference.text,
        );
    }
    verdict(outcome, Some(found), reference.text)
}

/// Whether the prediction assigns the value to another name than the reference does: "We get y' = 3" and `y = 3`.
/// `before` is the text of the prediction before the value.
fn other_name(before: &str, gold: &str) -> bool {
    let before = before.trim_end_matches(|c: char| c.is_whitespace() || "$\\([*".contains(c));
    let Some(left) = before.strip_suffix('=').filter(|left| !left.ends_with(['<', '>', '!', ':'])) else {
        return false;
    };
    let Some((expected, rest)) = gold.split_once('=') else { return false };
    if rest.contains('=') || expected.ends_with(['<', '>', '!']) || !expected.contains(char::is_alphabetic) {
        return false;
    }
    let clause = left.rsplit([',', ';', '\n']).next().unwrap_or(left);
    let first = clause.split('=').next().unwrap_or(clause);
    let (name, expected) = (normalised(first), normalised(expected));
    if let Some(start) = name.strip_suffix(&*expected) {
        let goes_on = |c: char| c.is_alphanumeric() || "+-*/^_'\\{}()|".contains(c);
        return start.ends_with(goes_on);
    }
    // A word such as "total" before the `=` is not a name in a formula.
    let last = name.rsplit(' ').next().unwrap_or("");
    let word = |s: &str| s.chars().count() > 2 && s.chars().all(char::is_alphabetic);
    last.contains(char::is_alphabetic) && (!word(last) || word(&expected))
}

/// Whether two whole texts are equal after normalisation, which changes no digit. Compares the digits first, because
/// most predictions already differ from the reference in one of the first digits.
fn same_text(a: &str, b: &str) -> bool {
    let same_digits = || a.bytes().filter(u8::is_ascii_digit).eq(b.bytes().filter(u8::is_ascii_digit));
    a == b || (a.len() < MAX_ANSWER && b.len() < MAX_ANSWER && same_digits() && normalised(a) == normalised(b))
}

/// Compares two answers; beyond [`MAX_ANSWER`] only as text.
fn compare_found(pred: &str, gold: &str, options: &Options) -> Outcome {
    if pred.len() > MAX_ANSWER || gold.len() > MAX_ANSWER {
        return if pred == gold {
            Outcome::equal(Tier::Text, "the same text")
        } else {
            Outcome::unknown("a very long answer")
        };
    }
    compare(pred, gold, options)
}

/// The multiple-choice letter of a reference such as `(D) Alina`, `C Cecile` or `C`.
fn choice_in_reference(gold: &str, reference: &Extraction) -> Option<char> {
    if matches!(reference.form, Form::Boxed | Form::Hashes) || gold.len() > 400 {
        return None;
    }
    let lines = || [gold.trim().lines().next_back(), gold.trim().lines().next()].into_iter().flatten();
    lines().find_map(choice_letter).or_else(|| {
        // `C Cecile`: a letter, followed by a name.
        lines().find_map(|line| {
            let mut parts = line.split_whitespace();
            let letter = parts.next().filter(|p| p.len() == 1 && ("A"..="J").contains(p))?;
            parts.next().filter(|p| p.starts_with(char::is_uppercase) && p.len() > 1)?;
            letter.chars().next()
        })
    })
}

/// The verdict for a reference that is a letter, which may be a multiple-choice label or a variable.
fn choice(
    pred: &str,
    letter: char,
    reference: &Extraction,
    found: Option<Extraction>,
    options: &Options,
    verdict: impl Fn(Outcome, Option<Extraction>, String) -> Verdict,
) -> Verdict {
    // If the answers are equal, it does not matter whether the letter is a choice, a variable or part of a name.
    if let Some(found) = &found {
        let outcome = compare_found(&found.text, &reference.text, options);
        if outcome.is_equal() {
            return verdict(outcome, Some(found.clone()), reference.text.clone());
        }
    }
    // A formula is not a choice: `2E` differs from `E`.
    if let Some(Extraction { text, form, .. }) = &found
        && (*form == Form::Whole || *form == Form::Phrase && text.contains(['^', '_']))
        && choice_letter(text).is_none()
        && crate::compare::is_formula(text)
    {
        return verdict(Outcome::different(Tier::Structure, "a formula and a letter"), found, letter.to_string());
    }
    match extract_with(pred, true, options.unfinished_thinking) {
        Some(chosen) => {
            let same = chosen.text == letter.to_string();
            // `A (excluded)`: the text takes the choice back.
            let whole = found.as_ref().filter(|f| matches!(f.form, Form::Whole | Form::Boxed));
            let outcome = if same && whole.is_some_and(|f| crate::compare::marks::denies(&f.text)) {
                Outcome::unknown("a choice that is taken back")
            } else if same {
                Outcome::equal(Tier::Text, "the same choice")
            } else {
                Outcome::different(Tier::Text, "different choices")
            };
            verdict(outcome, Some(chosen), letter.to_string())
        }
        None => verdict(Outcome::unknown("no choice found in the prediction"), found, letter.to_string()),
    }
}
