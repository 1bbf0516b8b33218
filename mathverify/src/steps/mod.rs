//! Checks step-by-step solutions: finds the claims in each step, decides which of them are wrong, and whether the final
//! answer follows from them.
//!
//! A step is called wrong only if it makes a claim (an equality of numbers, an identity, the solution of an equation)
//! that is false under every reading. Claims that may be rounded, hypothetical, in another base or in other units are
//! not judged.

mod annotation;
mod chain;
mod congruence;
mod context;
mod judge;
mod rounding;
mod running;
mod solve;
mod split;
mod spoken;
mod units;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::judge::Judged;
use crate::budget::{Budget, Context};
use crate::extract::extract;
use crate::options::Options;
use crate::verdict::Status;
use crate::verify::{Verdict, verify};

pub use split::split;

/// The status of a claim or a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepStatus {
    /// Checked and true; for a step: at least one claim is true and none is wrong.
    Correct,
    /// Checked and false; for a step: at least one claim is false.
    Wrong,
    /// Not decided; for a step: no claim was decided.
    NotCheckable,
}

/// One claim of a step, usually `left = right`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The claim as written.
    pub text: String,
    /// The status of the claim.
    pub status: StepStatus,
    /// For a wrong claim: what is true instead, usually the exact value of the left side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// Byte range of the claim in the step.
    #[serde(skip)]
    pub span: Range<usize>,
}

impl Claim {
    fn judged(text: String, judged: Judged, span: Range<usize>) -> Self {
        let (status, expected) = match judged {
            Judged::True => (StepStatus::Correct, None),
            Judged::False(expected) => (StepStatus::Wrong, Some(expected)),
            Judged::Unclear => (StepStatus::NotCheckable, None),
        };
        Self { text, status, expected, span }
    }
}

/// One step and its claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepVerdict {
    /// Correct, wrong or not checkable.
    pub status: StepStatus,
    /// The claims of the step, in the order of the text.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub claims: Vec<Claim>,
}

impl StepVerdict {
    /// Derives the status from the claims: wrong if any claim is wrong, else correct if any is correct, else not
    /// checkable.
    #[must_use]
    pub fn of(claims: Vec<Claim>) -> Self {
        let has = |s| claims.iter().any(|c: &Claim| c.status == s);
        let status = if has(StepStatus::Wrong) {
            StepStatus::Wrong
        } else if has(StepStatus::Correct) {
            StepStatus::Correct
        } else {
            StepStatus::NotCheckable
        };
        Self { status, claims }
    }
}

/// The input of a [`StepVerifier`].
#[derive(Debug, Clone, Copy)]
pub struct StepContext<'a> {
    /// The problem statement, if it is known.
    pub problem: Option<&'a str>,
    /// All steps before this one.
    pub before: &'a [String],
    /// The step to judge.
    pub step: &'a str,
}

/// A judge of one step: [`Arithmetic`], or for example a step reward model or Monte-Carlo rollouts.
pub trait StepVerifier {
    /// Judges `context.step`.
    fn verify_step(&self, context: StepContext<'_>) -> StepVerdict;
}

/// The [`StepVerifier`] of this crate: checks the arithmetic of explicit claims.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arithmetic;

impl StepVerifier for Arithmetic {
    fn verify_step(&self, context: StepContext<'_>) -> StepVerdict {
        Checker { budget: Budget::of_solution() }.verify_step(context)
    }
}

/// Like [`Arithmetic`], for one solution: all its steps share one budget.
struct Checker {
    budget: Budget,
}

impl StepVerifier for Checker {
    fn verify_step(&self, context: StepContext<'_>) -> StepVerdict {
        let mut claims = annotation::claims(context.step, &self.budget);
        claims.extend(chain::claims(context.step, &self.budget));
        claims.extend(spoken::claims(context.step, &self.budget));
        claims.sort_by_key(|c| (c.span.start, c.span.end));
        StepVerdict::of(claims)
    }
}

/// The verdict on a whole solution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SolutionVerdict {
    /// One verdict per step.
    pub steps: Vec<StepVerdict>,
    /// Index of the first wrong step, from 0.
    pub first_wrong: Option<usize>,
    /// The final answer, if one was found.
    pub answer: Option<String>,
    /// Whether the final answer is the right side of a claim, or is written in a step before the last one; `None`
    /// without an answer or without claims.
    pub answer_follows: Option<bool>,
    /// The comparison of the answer with the reference, if one was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Checks the steps of a solution with this crate's arithmetic.
///
/// ```
/// use mathverify::{Options, StepStatus, check_solution};
///
/// let steps = ["3 boxes of 4 are 3*4 = <<3*4=12>>12.".to_owned(), "12 + 5 = 18, so 18.".to_owned()];
/// let checked = check_solution(None, &steps, Some("17"), &Options::default());
/// assert_eq!(checked.first_wrong, Some(1));
/// assert_eq!(checked.steps[1].claims[0].expected.as_deref(), Some("17"));
/// ```
#[must_use]
pub fn check_solution(
    problem: Option<&str>,
    steps: &[String],
    gold: Option<&str>,
    options: &Options,
) -> SolutionVerdict {
    check_with(&Checker { budget: Budget::of_solution() }, problem, steps, gold, options)
}

/// Number of bytes at the start of a solution that are checked; the steps after them are not checkable.
const MAX_READ: usize = 64_000;
/// Number of steps of a solution that are checked.
const MAX_STEPS: usize = 1_000;

/// Like [`check_solution`], with another verifier for the steps. Steps after the first 64,000 bytes, or after the
/// first thousand, are not checked.
#[must_use]
pub fn check_with(
    verifier: &impl StepVerifier,
    problem: Option<&str>,
    steps: &[String],
    gold: Option<&str>,
    options: &Options,
) -> SolutionVerdict {
    let mut read = 0;
    let verdicts: Vec<StepVerdict> = steps
        .iter()
        .enumerate()
        .map(|(i, step)| {
            read += step.len();
            if read > MAX_READ || i >= MAX_STEPS {
                return StepVerdict::of(Vec::new());
            }
            verifier.verify_step(StepContext { problem, before: &steps[..i], step })
        })
        .collect();
    let text = steps.join("\n\n");
    let found = extract(&text);
    let answer_follows = found.as_ref().and_then(|f| follows(&f.text, &verdicts, steps, options));
    SolutionVerdict {
        first_wrong: verdicts.iter().position(|v| v.status == StepStatus::Wrong),
        answer: found.map(|f| f.text),
        answer_follows,
        verdict: gold.map(|g| verify(&text, g, options)),
        steps: verdicts,
    }
}

/// Whether the answer equals the right side of one of the last 40 claims, or is written in one of the 20 steps before
/// the last; `None` without claims.
fn follows(answer: &str, verdicts: &[StepVerdict], steps: &[String], options: &Options) -> Option<bool> {
    let results: Vec<&str> = verdicts
        .iter()
        .flat_map(|v| &v.claims)
        .rev()
        .take(40)
        .filter_map(|c| c.text.rsplit(['=', '≈']).next())
        .collect();
    if results.is_empty() {
        return None;
    }
    // All comparisons share one budget.
    let context = Context::new(options);
    let same = |r: &&str| crate::compare::compare_within(r.trim(), answer, &context).status == Status::Equal;
    if results.iter().any(same) {
        return Some(true);
    }
    // Written in a step before the last one.
    Some(steps.iter().rev().skip(1).take(20).any(|s| written_in(s, answer.trim())))
}

/// Whether `answer` is written in `step`, not as a part of a longer number or word: `8` is not in `18`, `-8` or `8.5`.
fn written_in(step: &str, answer: &str) -> bool {
    // Scripts without spaces between words have no word boundaries.
    let letter = |c: char| c.is_alphabetic() && c < '\u{0E00}';
    let digit = |c: char| c.is_ascii_digit();
    let operand = |c: char| digit(c) || letter(c) || matches!(c, ')' | ']' | '}');
    // What may stand between two digits of a number.
    const MARKS: [&str; 5] = ["", ".", ",", "{,}", "\\,"];
    let (Some(first), Some(last)) = (answer.chars().next(), answer.chars().next_back()) else { return false };
    memchr::memmem::find_iter(step.as_bytes(), answer).any(|at| {
        let (before, after) = (&step[..at], &step[at + answer.len()..]);
        let starts_inside = if digit(first) {
            let sign = before.strip_suffix(['-', '−']).is_some_and(|left| !left.trim_end().ends_with(operand));
            sign || before.ends_with('.')
                || MARKS.iter().any(|m| before.strip_suffix(m).is_some_and(|left| left.ends_with(digit)))
        } else if matches!(first, '-' | '−') {
            before.ends_with(operand)
        } else {
            letter(first) && before.ends_with(letter)
        };
        let ends_inside = if digit(last) {
            MARKS.iter().any(|m| after.strip_prefix(m).is_some_and(|right| right.starts_with(digit)))
        } else {
            letter(last) && after.starts_with(letter)
        };
        !starts_inside && !ends_inside
    })
}

#[cfg(test)]
mod tests {
    use super::written_in;

    #[test]
    fn an_answer_is_written_only_as_a_whole() {
        for (step, answer) in [
            ("There are 8 boxes.", "8"),
            ("It is 8.", "8"),
            ("1, 8, 27", "8"),
            ("$x=8$", "8"),
            ("8cm", "8"),
            ("9-8", "8"),
            ("18 or 8", "8"),
            ("so x = -8", "-8"),
            ("so \\frac{1}{2} is left", "\\frac{1}{2}"),
            ("It is Tom.", "Tom"),
            ("他有苹果", "苹果"),
        ] {
            assert!(written_in(step, answer), "{answer} in {step}");
        }
        for (step, answer) in [
            ("9 + 9 = 18", "8"),
            ("80", "8"),
            ("1.8", "8"),
            ("8.5", "8"),
            ("8,000", "8"),
            ("1{,}008", "008"),
            ("x = -8", "8"),
            ("5-8", "-8"),
            ("Tomorrow", "Tom"),
            ("\\max", "x"),
        ] {
            assert!(!written_in(step, answer), "{answer} in {step}");
        }
    }
}
