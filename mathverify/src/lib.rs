//! Mathematical answers and step-by-step solutions: what is the answer, is it right, and is every step?
//!
//! - [`extract`] finds the final answer of a text and says in which form it stood.
//! - [`compare`] decides whether two answers are the same: equal, different, or unknown with a reason; [`Options`] names
//!   what graders disagree on.
//! - [`verify`] does both for a prediction and a reference.
//! - [`check_solution`] judges the steps of a solution; [`StepVerifier`] is where another judge plugs in.
//!
//! Everything here is a pure function without signals, threads or clocks. Work is bounded by the size of what is parsed,
//! the bits of its numbers and the number of operations, so no input hangs, and every thread gets the same answer.
//!
//! ```
//! use mathverify::{Options, Status, compare, verify};
//!
//! let options = Options::default();
//! assert!(verify("The roots are $\\boxed{1 \\pm \\sqrt{2}}$.", "1-\\sqrt2, 1+\\sqrt2", &options).is_equal());
//! assert_eq!(compare("1/2^{99}", "1/2^{98}", &options).status, Status::Different);
//! assert_eq!(compare("\\sec^2 y", "\\tan^2 y + 1", &options).status, Status::Equal);
//! ```

mod ast;
mod budget;
#[cfg(feature = "cli")]
pub mod command;
mod compare;
mod extract;
mod normal;
mod numeric;
mod options;
mod parse;
mod pattern;
mod quantity;
mod rational;
mod steps;
mod units;
mod verdict;
mod verify;

pub use extract::{Extraction, Form, extract, extract_choice};
pub use options::{Options, Percent, Units};
pub use steps::{
    Arithmetic, Claim, SolutionVerdict, StepContext, StepStatus, StepVerdict, StepVerifier, check_solution, check_with,
    split as split_steps,
};
pub use verdict::{Outcome, Status, Tier};
pub use verify::{Verdict, verify};

/// Compares two bare answers, without extraction.
#[must_use]
pub fn compare(pred: &str, gold: &str, options: &Options) -> Outcome {
    compare::compare(pred, gold, options)
}

/// Parses an answer and says whether it could be read; for fuzzing and diagnosis.
///
/// # Errors
/// What could not be read.
pub fn readable(answer: &str) -> Result<(), String> {
    parse::readings(answer).map(drop)
}
