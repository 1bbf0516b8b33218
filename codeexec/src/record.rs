//! The input record ([`Job`]: a program with its tests) and the output record ([`Verdict`]).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::fields;
use crate::native::Backend;
use crate::output::{Compare, Rule};

/// A program to run with its tests: one JSON object of the input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The id of the program, which the verdict repeats. Default: empty.
    #[serde(default, deserialize_with = "text_or_number")]
    pub id: String,
    /// Name or alias of the language; default `python`.
    #[serde(default = "python")]
    pub language: String,
    /// The program's text.
    pub code: String,
    /// Tests, each with its own result, all of one kind: source text; calls of `entry_point`, written
    /// `{"args", "expected", "kwargs"?, "atol"?, "name"?}`; or runs of the whole program, written
    /// `{"stdin", "expected_stdout", "compare"?, "checker"?, "atol"?, "rtol"?, "name"?}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<Value>,
    /// All tests as one source text: statements, or a function `check(candidate)` that is called with `entry_point`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Code that runs before `tests`, such as their imports and helper functions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setup: Option<String>,
    /// Name of the function that the tests call, such as `inc` or `Solution().twoSum`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<String>,
    /// A correct solution with inputs: for each input, the program must return what the solution returns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
    /// Standard input of the program; default: empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// Expected standard output of a single run of the whole program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_stdout: Option<String>,
    /// How standard output is compared; default: line by line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare: Option<Compare>,
    /// Python source of `check(stdin, stdout, expected)`, which returns `True` if the output is correct; it replaces
    /// the comparison.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checker: Option<String>,
    /// Absolute tolerance for numbers in the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atol: Option<f64>,
    /// Relative tolerance for numbers in the output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rtol: Option<f64>,
    /// True if the record has no tests on purpose; the program passes if it ends without an exception.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_tests: bool,
    /// Whether to add a linter's findings to the verdict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lint: bool,
    /// Time limit of this program (processor time plus sleep) in seconds, instead of the command's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<f64>,
    /// Fields of the record that codeexec does not read.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
}

/// A reference solution and its inputs (EvalPlus): the solution's results are the expected results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Source of the reference solution.
    pub code: String,
    /// Python expression that gives a list of argument lists.
    pub inputs: String,
    /// Absolute tolerance for floats; 0 means EvalPlus's 1e-6 if floats are expected.
    #[serde(default)]
    pub atol: f64,
    /// Comparison rule other than equality: `set`, `not_none`, or `zero` (HumanEval/32).
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

/// Advice in the error for a record without tests.
const SAY_SO: &str = "a program that only has to run to its end says \"no_tests\": true";

/// Summary of a record's fields, for error messages.
const NEEDED: &str = "a record needs code, and its tests in one of tests, test, reference and expected_stdout; it may have id, \
                      language (python by default), entry_point, setup, stdin and others (docs/data.md)";

/// The error message for fields that cannot be read as a [`Job`]. It names the faulty field.
fn fault(read: Option<&Map<String, Value>>, meta: &Map<String, Value>, error: &serde_json::Error) -> String {
    let Some(read) = read else { return error.to_string() };
    if !read.contains_key("code") {
        let has: Vec<&str> = read.keys().chain(meta.keys()).map(String::as_str).collect();
        let has = if has.is_empty() { "is empty".to_owned() } else { format!("has {}", has.join(", ")) };
        return format!("code: is missing; the record {has}; {NEEDED}");
    }
    // Parses each field separately, since serde's error does not name the field of a wrong value.
    let wrong = read.iter().find_map(|(name, value)| {
        let alone = if name == "code" { json!({name: value}) } else { json!({"code": "", name: value}) };
        Job::deserialize(&alone).err().map(|error| (name, error.to_string()))
    });
    match wrong {
        Some((name, error)) if error.starts_with(&format!("{name}: ")) => error,
        Some((name, error)) => format!("{name}: {error}; {NEEDED}"),
        None => error.to_string(),
    }
}

/// A job that [`Job::from_value`] has checked; for readers of JSONL files.
#[derive(Debug, Clone)]
pub struct Checked(pub Job);

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Job::from_value(Value::deserialize(deserializer)?).map(Self).map_err(serde::de::Error::custom)
    }
}

impl Job {
    /// A Python program without tests yet.
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
            compare: None,
            checker: None,
            atol: None,
            rtol: None,
            no_tests: false,
            lint: false,
            timeout: None,
            meta: Map::new(),
        }
    }

    /// Marks the job to run without tests.
    #[must_use]
    pub fn without_tests(self) -> Self {
        Self { no_tests: true, ..self }
    }

    /// Reads and checks a job. The error message says what to change.
    ///
    /// # Errors
    /// When a field is missing, of the wrong type, or contradicts another.
    pub fn from_value(value: Value) -> Result<Self, String> {
        let Value::Object(fields) = value else { return Err("a record must be a JSON object".into()) };
        let is_list_empty = fields.get("tests").and_then(Value::as_array).is_some_and(Vec::is_empty);
        let (read, meta) = fields::split(fields)?;
        let read = Value::Object(read);
        let mut job = Self::deserialize(&read).map_err(|error| fault(read.as_object(), &meta, &error))?;
        job.meta = meta;
        if is_list_empty && !job.no_tests {
            return Err(format!("tests: the list is empty; {}", SAY_SO));
        }
        job.check()?;
        Ok(job)
    }

    /// Checks that the job can be judged.
    ///
    /// # Errors
    /// When fields contradict each other, tests have no known form, or there are no tests; the message says what to
    /// change.
    pub fn check(&self) -> Result<(), String> {
        let kinds = [
            (!self.tests.is_empty(), "tests"),
            (self.test.is_some(), "test"),
            (self.reference.is_some(), "reference"),
            (self.expected_stdout.is_some(), "expected_stdout"),
            (self.no_tests, "no_tests"),
        ];
        let given: Vec<&str> = kinds.iter().filter(|(given, _)| *given).map(|(_, name)| *name).collect();
        if given.len() > 1 {
            return Err(format!("{} and {} cannot both be given", given[0], given[1]));
        }
        if given.is_empty() {
            return Err(format!("the record has no tests: give tests, test, reference or expected_stdout; {SAY_SO}"));
        }
        if self.timeout.is_some_and(|t| !(t > 0.0 && t <= 3600.0)) {
            return Err("timeout: must be a number of seconds above 0 and up to 3600".into());
        }
        let kinds: Vec<TestKind> = self.tests.iter().map(TestKind::of).collect::<Result<_, _>>()?;
        if kinds.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err("tests: all of one kind, texts, calls or stdin cases".into());
        }
        let first = kinds.first().copied();
        if first == Some(TestKind::Call) && self.entry_point.is_none() {
            return Err("entry_point: is missing; tests with args call it".into());
        }
        let is_compared = self.expected_stdout.is_some() || first == Some(TestKind::Stdin);
        let of_output = [
            (self.compare.is_some(), "compare"),
            (self.checker.is_some(), "checker"),
            (self.atol.is_some(), "atol"),
            (self.rtol.is_some(), "rtol"),
        ];
        if let Some((_, name)) = of_output.iter().find(|(given, _)| *given && !is_compared) {
            return Err(format!("{name}: is for expected_stdout; entries of tests have their own"));
        }
        Ok(())
    }

    /// The rule for comparing the program's standard output.
    pub fn rule(&self) -> Rule {
        Rule { compare: self.compare.unwrap_or_default(), atol: self.atol, rtol: self.rtol }
    }

    /// The kind of the entries of `tests`; `None` if the list is empty or its first entry has no known form.
    pub fn test_kind(&self) -> Option<TestKind> {
        self.tests.first().and_then(|test| TestKind::of(test).ok())
    }
}

/// The kinds of entries of `tests`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestKind {
    /// Source text, such as an `assert` statement.
    Assert,
    /// A call of the entry point: arguments and the expected value.
    Call,
    /// A run of the whole program: standard input and expected standard output.
    Stdin,
}

impl TestKind {
    fn of(test: &Value) -> Result<Self, String> {
        let fields = match test {
            Value::String(_) => return Ok(Self::Assert),
            Value::Object(fields) => fields,
            other => return Err(no_test(other)),
        };
        let known = |names: &[&str]| match fields.keys().find(|key| !names.contains(&key.as_str())) {
            Some(name) => Err(format!("tests: {name} is not a field of such a test; use {}", names.join(", "))),
            None => Ok(()),
        };
        let is_number = |name: &str| match fields.get(name) {
            None => Ok(()),
            Some(value) if value.as_f64().is_some_and(|n| n >= 0.0) => Ok(()),
            Some(_) => Err(format!("tests: {name} must be a number of 0 or more")),
        };
        is_number("atol").and(is_number("rtol"))?;
        if fields.contains_key("expected") {
            known(&["args", "kwargs", "expected", "atol", "name", "id"])?;
            return match (fields.get("args"), fields.get("kwargs")) {
                (Some(args), _) if !args.is_array() => Err("tests: args must be a list".into()),
                (_, Some(kwargs)) if !kwargs.is_object() => Err("tests: kwargs must be an object".into()),
                _ => Ok(Self::Call),
            };
        }
        if fields.get("expected_stdout").is_some_and(Value::is_string) {
            known(&["stdin", "expected_stdout", "compare", "checker", "atol", "rtol", "name", "id"])?;
            if fields.get("stdin").is_some_and(|stdin| !stdin.is_string()) {
                return Err("tests: stdin must be a text".into());
            }
            if let Some(compare) = fields.get("compare") {
                serde_json::from_value::<Compare>(compare.clone()).map_err(|e| format!("tests: compare: {e}"))?;
            }
            if fields.get("checker").is_some_and(|checker| !checker.is_string()) {
                return Err("tests: checker must be a Python text".into());
            }
            return Ok(Self::Stdin);
        }
        Err(no_test(test))
    }
}

fn no_test(value: &Value) -> String {
    format!(
        "tests: {value} is not a test; use a string, {{\"args\", \"expected\"}} or {{\"stdin\", \"expected_stdout\"}}"
    )
}

/// The outcome of a program in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every test passed.
    Passed,
    /// A test found an incorrect result.
    Failed,
    /// An exception, an exit before the tests ended, tests that judge nothing, or source that does not parse.
    Error,
    /// The time limit or the wall-time limit was reached.
    Timeout,
    /// The memory limit was reached.
    Memory,
    /// The output limit was reached.
    OutputLimit,
    /// The guest trapped, or its worker process died.
    Crashed,
}

impl Status {
    /// The status as it is written in JSON.
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
    /// The given name, or else the text of the assertion or the call.
    pub name: String,
    /// Whether the test passed.
    pub passed: bool,
    /// Reason of the failure, as a sentence; empty if the test passed.
    pub message: String,
}

/// One finding of a linter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Line in the program, from 1.
    pub line: u32,
    /// Column in that line, from 1.
    pub column: u32,
    /// Kind of the finding, such as `UnusedImport`.
    pub code: String,
    /// The linter's message.
    pub message: String,
}

/// The verdict on a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The job's id.
    pub id: String,
    /// Whether every test ran and passed.
    pub passed: bool,
    /// The status.
    pub status: Status,
    /// Reason of a status other than `passed`, as a sentence; absent if the program passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Results of the tests that were reached, in order.
    pub tests: Vec<TestResult>,
    /// The program's standard output, up to the output limit.
    pub stdout: String,
    /// The program's standard error, up to the output limit; tracebacks name lines of the program.
    pub stderr: String,
    /// Whether the program parses; absent if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parses: Option<bool>,
    /// The linter's findings; absent if not requested, or if codeexec has no linter for the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lint: Option<Vec<Finding>>,
    /// Wall time in milliseconds.
    pub wall_ms: f64,
    /// Processor time in milliseconds.
    pub cpu_ms: f64,
    /// Time that the program slept, in milliseconds. In the sandbox, sleeping advances only the program's clock.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slept_ms: f64,
    /// Peak memory in bytes, including the interpreter: linear memory in the sandbox, resident size natively.
    pub peak_memory_bytes: u64,
    /// The backend that ran the program.
    #[serde(default)]
    pub backend: Backend,
    /// Further fields: `compile_ms` of C and C++, and fields of later versions.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Verdict {
    /// A verdict on a program that was not run, with that status and detail.
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
            slept_ms: 0.0,
            peak_memory_bytes: 0,
            backend: Backend::Wasm,
            extra: Map::new(),
        }
    }
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}
