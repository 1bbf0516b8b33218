//! `mathverify steps`: checks the steps of solutions.

use anyhow::Result;
use run::counted;
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

/// One record of the input: a solution as a list of steps.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Fields")]
pub(super) struct Solution {
    id: Option<Value>,
    problem: Option<String>,
    steps: Vec<String>,
    gold: Option<Answer>,
}

/// The fields of a record, for error messages.
const NEEDED: &str =
    "a record needs `solution` (a text) or `steps` (a list of texts); it may have `id`, `problem` and `gold`";

#[derive(Debug, Clone, Deserialize)]
#[serde(expecting = "a solution: an object with `solution` or `steps`")]
struct Fields {
    id: Option<Value>,
    problem: Option<Text>,
    solution: Option<Text>,
    steps: Option<Steps>,
    gold: Option<Gold>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "`problem` and `solution` have to be texts")]
enum Text {
    Is(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "`steps` has to be a list of texts; a text is the `solution`")]
enum Steps {
    Are(Vec<String>),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, expecting = "`gold` has to be a text or a number")]
enum Gold {
    Is(Answer),
}

impl TryFrom<Fields> for Solution {
    type Error = String;

    fn try_from(f: Fields) -> Result<Self, String> {
        let steps = match (f.steps, f.solution) {
            (Some(Steps::Are(steps)), None) => steps,
            (None, Some(Text::Is(solution))) => split(&solution),
            (Some(_), Some(_)) => return Err("give \"solution\" or \"steps\", not both".to_owned()),
            (None, None) => return Err(format!("`solution` is missing: {NEEDED}")),
        };
        let problem = f.problem.map(|Text::Is(problem)| problem);
        Ok(Self { id: f.id, problem, steps, gold: f.gold.map(|Gold::Is(gold)| gold) })
    }
}

/// Checks one solution; the verdict as JSON, with the id of the record.
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
    let (solutions, steps) = (counted(solutions, "solution"), counted(steps, "step"));
    eprintln!("{solutions}, {steps}: {correct} correct, {wrong} wrong, {rest} not checkable{aside}");
    Ok(())
}
