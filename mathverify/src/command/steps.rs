//! `mathverify steps`.

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::Policies;
use super::rows::{self, Answer, Files};
use crate::options::Options;
use crate::steps::{check_solution, split};

/// Flags of `mathverify steps`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    policies: Policies,
}

/// One solution.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Fields")]
pub(super) struct Solution {
    id: Option<Value>,
    problem: Option<String>,
    steps: Vec<String>,
    gold: Option<Answer>,
}

#[derive(Debug, Clone, Deserialize)]
struct Fields {
    id: Option<Value>,
    problem: Option<String>,
    solution: Option<String>,
    steps: Option<Vec<String>>,
    gold: Option<Answer>,
}

impl TryFrom<Fields> for Solution {
    type Error = String;

    fn try_from(f: Fields) -> Result<Self, String> {
        let steps = match (f.steps, f.solution) {
            (Some(steps), None) => steps,
            (None, Some(solution)) => split(&solution),
            (Some(_), Some(_)) => return Err("give \"solution\" or \"steps\", not both".to_owned()),
            (None, None) => return Err("\"solution\" or \"steps\" is missing".to_owned()),
        };
        Ok(Self { id: f.id, problem: f.problem, steps, gold: f.gold })
    }
}

/// The verdict on one solution, with its id.
pub(super) fn judge(solution: &Solution, options: &Options) -> Value {
    let gold = solution.gold.as_ref().map(Answer::text);
    let verdict = check_solution(solution.problem.as_deref(), &solution.steps, gold.as_deref(), options);
    rows::with_id(solution.id.as_ref(), &verdict)
}

pub(super) fn run(args: &Args) -> Result<()> {
    let options = args.policies.options();
    let (mut steps, mut correct, mut wrong) = (0_usize, 0_usize, 0_usize);
    let count = |verdict: &Value| {
        for step in verdict["steps"].as_array().into_iter().flatten() {
            steps += 1;
            correct += usize::from(step["status"] == "correct");
            wrong += usize::from(step["status"] == "wrong");
        }
    };
    let (solutions, aside) = rows::each(&args.files, "steps", &options, |s: &Solution| judge(s, &options), count)?;
    let rest = steps - correct - wrong;
    eprintln!("{solutions} solutions, {steps} steps: {correct} correct, {wrong} wrong, {rest} not checkable{aside}");
    Ok(())
}
