//! Small Python functions with tests. Rust computes the expected values of the tests. A test of this crate checks the
//! reference program against them in the sandbox.

mod lists;
mod numbers;
mod pipeline;
mod structures;
mod text;
mod value;

use crate::family::{Draft, Family};
use value::Value;

pub(crate) fn families() -> Vec<Family> {
    [&pipeline::FAMILIES[..], &lists::FAMILIES, &numbers::FAMILIES, &structures::FAMILIES, &text::FAMILIES].concat()
}

/// A task: what `name(parameters)` does, a program, and calls with their results.
struct Task {
    name: String,
    parameters: &'static str,
    /// Continues "Write a Python function `f(x)` that ...".
    does: String,
    /// The lines of the function's body, without the first indentation.
    body: Vec<String>,
    /// Lines before the function, such as imports.
    before: Vec<&'static str>,
    calls: Vec<(Vec<Value>, Value)>,
}

impl Task {
    fn draft(self) -> Option<Draft> {
        let Self { name, parameters, does, body, before, calls } = self;
        let mut reference: Vec<String> = before.iter().map(|line| (*line).to_owned()).collect();
        if !reference.is_empty() {
            reference.extend([String::new(), String::new()]);
        }
        reference.push(format!("def {name}({parameters}):"));
        reference.extend(body.iter().map(|line| format!("    {line}")));
        let mut tests: Vec<String> = Vec::new();
        for (arguments, result) in calls {
            let arguments: Vec<String> = arguments.iter().map(Value::to_string).collect();
            let test = format!("assert {name}({}) == {result}", arguments.join(", "));
            if !tests.contains(&test) {
                tests.push(test);
            }
        }
        // A function that always returns the same value would pass one-sided tests.
        let results: std::collections::HashSet<&str> =
            tests.iter().filter_map(|test| test.rsplit(" == ").next()).collect();
        (tests.len() >= 3 && results.len() >= 2).then(|| Draft::Code {
            question: format!("Write a Python function `{name}({parameters})` that {does}"),
            entry_point: name,
            reference: reference.join("\n") + "\n",
            tests,
        })
    }
}

/// Lines of a body.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
