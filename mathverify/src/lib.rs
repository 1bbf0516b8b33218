//! Judges mathematical answers and step-by-step solutions: finds the final answer of a text, compares it with a
//! reference, and checks the arithmetic and algebra in every step.
//!
//! - [`extract`] finds the final answer of a text and its form (box, answer phrase, last number, ...).
//! - [`compare`] compares two bare answers: equal, different, or unknown with a reason. [`Options`] has the policies
//!   on which graders disagree.
//! - [`verify`] extracts the answers of a prediction and of a reference, and compares them.
//! - [`check_solution`] judges the steps of a solution; [`StepVerifier`] is the interface for another judge.
//!
//! All functions are pure: they use no signals, threads or clocks. The size of the parsed text, the bits of its numbers
//! and the number of operations are limited. So no input hangs, and every thread gets the same verdict.
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

/// Parses a bare answer and discards the result; for fuzzing and diagnosis.
///
/// # Errors
/// When the answer is not parsed; the message says why.
pub fn readable(answer: &str) -> Result<(), String> {
    parse::readings(answer).map(drop)
}
