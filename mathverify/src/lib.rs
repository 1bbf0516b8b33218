//! Mathematical answers and step-by-step solutions: what is the answer, is it right, and is every step?
mod ast;
mod compare;
mod extract;
mod verify;
mod normal;
mod numeric;
mod options;
mod parse;
mod rational;
mod steps;
mod units;
mod verdict;
pub use extract::{Extraction, Form, extract, extract_choice};
pub use steps::{Arithmetic, Claim, SolutionVerdict, StepContext, StepStatus, StepVerdict, StepVerifier, check_solution, check_with, split as split_steps};
pub use verify::{Verdict, verify};
pub use options::{Options, Percent, Units};
pub use verdict::{Outcome, Status, Tier};
/// x
pub fn compare(a: &str, b: &str, o: &Options) -> Outcome { compare::compare(a, b, o) }
/// x
pub fn parse_debug(a: &str) -> String { format!("{:?}", parse::readings(a)) }
