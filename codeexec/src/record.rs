//! What goes in and what comes out: a program with its tests, and the verdict on it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::native::Backend;

/// A program to run, one JSON object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Names the program in the verdict. Default: empty.
    #[serde(default, deserialize_with = "text_or_number")]
    pub id: String,
    /// The language; default `python`.
    #[serde(default = "python")]
    pub language: String,
    /// The program's text.
    pub code: String,
    /// Tests, each with a result of its own: assert statements as strings, `{"args", "expected", "kwargs"?, "atol"?,
    /// "name"?}` for calls of `entry_point`, or `{"stdin", "expected_stdout", "name"?}` for runs of the whole program.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<Value>,
    /// One text of tests: statements, or a function `check(candidate)`, which is called with `entry_point`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Run before `tests`, such as imports and helper functions of theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
    /// The function that the tests call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<String>,
    /// A right solution and inputs: the program has to give what the solution gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// What has to be on standard output; white space at the ends of lines and of the text does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_stdout: Option<String>,
    /// A linter's findings are wanted, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lint: bool,
    /// Seconds of wall clock for this program instead of the command's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
}

/// Inputs whose right outputs a reference solution gives (EvalPlus).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The right solution.
    pub code: String,
    /// A Python expression: the list of argument lists.
    pub inputs: String,
    /// Absolute tolerance for floats; 0: EvalPlus's 1e-6 where floats are expected.
    #[serde(default)]
    pub atol: f64,
    /// Another rule than equality: `set`, `not_none`, or `zero` (HumanEval/32).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

fn python() -> String {
    "python".into()
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("id: must be a string or a number, not {other}"))),
    }
}

/// A job that has been checked, for readers of files.
#[derive(Debug, Clone)]
pub struct Checked(pub Job);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Job::from_value(Value::deserialize(deserializer)?).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Job {
    /// A Python program without tests.
    pub fn python(id: impl Into<String>, code: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            language: python(),
            code: code.into(),
            tests: Vec::new(),
            test: None,
            setup: None,
            entry_point: None,
            reference: None,
            stdin: None,
            expected_stdout: None,
            lint: false,
            timeout: None,
        }
    }

    /// Reads a job; the error is a sentence about what to change.
    ///
    /// # Errors
    /// When a field is missing, of the wrong type, or contradicts another.
    pub fn from_value(value: Value) -> Result<Self, String> {
        let job: Self = serde_json::from_value(value).map_err(|e| e.to_string())?;
        job.check()?;
        Ok(job)
    }

    fn check(&self) -> Result<(), String> {
        let kinds = [
            (!self.tests.is_empty(), "tests"),
            (self.test.is_some(), "test"),
            (self.reference.is_some(), "reference"),
            (self.expected_stdout.is_some(), "expected_stdout"),
        ];
        let given: Vec<&str> = kinds.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
        if given.len() > 1 {
            return Err(format!("{} and {} cannot both be given", given[0], given[1]));
        }
        if self.timeout.is_some_and(|t| !(t > 0.0 && t <= 3600.0)) {
            return Err("timeout: must be a number of seconds above 0 and up to 3600".into());
        }
        let mut kinds = self.tests.iter().map(TestKind::of);
        let first = match kinds.next() {
            Some(kind) => kind?,
            None => return Ok(()),
        };
        for kind in kinds {
            if kind? != first {
                return Err("tests: all of one kind, asserts, calls or stdin cases".into());
            }
        }
        if first == TestKind::Call && self.entry_point.is_none() {
            return Err("entry_point: is missing; tests with args call it".into());
        }
        Ok(())
    }

    /// The kind of the tests in the list.
    pub fn test_kind(&self) -> Option<TestKind> {
        self.tests.first().and_then(|test| TestKind::of(test).ok())
    }
}

/// The forms of a test in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestKind {
    /// A statement.
    Assert,
    /// Arguments and an expected value.
    Call,
    /// Standard input and expected standard output.
    Stdin,
}

impl TestKind {
    fn of(test: &Value) -> Result<Self, String> {
        match test {
            Value::String(_) => Ok(Self::Assert),
            Value::Object(fields) if fields.contains_key("expected") => match fields.get("args") {
                None | Some(Value::Array(_)) => Ok(Self::Call),
                Some(_) => Err("tests: args must be a list".into()),
            },
            Value::Object(fields) if fields.get("expected_stdout").is_some_and(Value::is_string) => Ok(Self::Stdin),
            other => Err(format!(
                "tests: {other} is no test; use a string, {{\"args\", \"expected\"}} or {{\"stdin\", \"expected_stdout\"}}"
            )),
        }
    }
}

/// How a program did, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every test passed.
    Passed,
    /// A test found a wrong result.
    Failed,
    /// An exception, an exit before the tests were done, or text that is not a program.
    Error,
    /// A limit of time.
    Timeout,
    /// The limit of memory.
    Memory,
    /// The limit of output.
    OutputLimit,
    /// The interpreter crashed.
    Crashed,
}

impl Status {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::OutputLimit => "output_limit",
            Self::Crashed => "crashed",
        }
    }
}

/// One test's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// The assert's text, the call, or the given name.
    pub name: String,
    /// True when it passed.
    pub passed: bool,
    /// Why it did not, in a sentence.
    pub message: String,
}

/// What a linter finds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// The finding's kind, such as `UnusedImport`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// The verdict on a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The job's id.
    pub id: String,
    /// Every test ran and passed.
    pub passed: bool,
    /// How it went.
    pub status: Status,
    /// One sentence about a status that is not `passed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The tests that were reached.
    pub tests: Vec<TestResult>,
    /// Standard output.
    pub stdout: String,
    /// Standard error, with tracebacks that point into the program.
    pub stderr: String,
    /// Whether the text parses; absent where that is not known before it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parses: Option<bool>,
    /// What a linter finds in the text; absent where that was not asked for, or the language has none here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lint: Option<Vec<Finding>>,
    /// Wall clock in milliseconds, what the program slept included.
    pub wall_ms: f64,
    /// Processor time in milliseconds.
    pub cpu_ms: f64,
    /// Largest size of the program's memory in bytes, the interpreter's included.
    pub peak_memory_bytes: u64,
    /// What ran it.
    #[serde(default)]
    pub backend: Backend,
    /// Every other field, kept for readers of later versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Verdict {
    /// A verdict that nothing ran for.
    pub fn without_run(id: &str, status: Status, detail: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            passed: false,
            status,
            detail: Some(detail.into()),
            tests: Vec::new(),
            stdout: String::new(),
            stderr: String::new(),
            parses: None,
            lint: None,
            wall_ms: 0.0,
            cpu_ms: 0.0,
            peak_memory_bytes: 0,
            backend: Backend::Wasm,
            extra: Map::new(),
        }
    }
}

/// Equality of outputs: line by line without white space at the ends of lines, and without empty lines at the end.
pub fn same_output(got: &str, expected: &str) -> bool {
    fn lines(text: &str) -> impl Iterator<Item = &str> {
        text.trim_end().lines().map(str::trim_end)
    }
    lines(got).eq(lines(expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_compared_without_trailing_space() {
        for (got, expected, same) in [
            ("8\n", "8", true),
            ("8  \n9\n\n", "8\n9", true),
            ("8\r\n9", "8\n9\n", true),
            (" 8", "8", false),
            ("8\n\n9", "8\n9", false),
            ("", "\n", true),
            ("8", "8\n9", false),
        ] {
            assert_eq!(same_output(got, expected), same, "{got:?} {expected:?}");
        }
    }
}
