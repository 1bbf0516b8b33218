//! Computes the verdict from the judge's reports. The rules are the same for every language and backend.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::limits::Limits;
use crate::output::difference;
use crate::record::{Job, Status, TestResult, Verdict};
use crate::sandbox::{Ending, Stop};

/// The judge's report on one test.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Report {
    /// The test's name; empty for a report that carries only a traceback.
    #[serde(default)]
    pub name: String,
    /// Whether the test passed.
    #[serde(default)]
    pub passed: bool,
    /// The reason of a failure.
    #[serde(default)]
    pub message: String,
    /// `passed`, `failed` (an incorrect result), `memory` or `error`.
    #[serde(default)]
    pub kind: String,
    /// The traceback of an exception in the program.
    #[serde(default)]
    pub traceback: Option<String>,
}

impl Report {
    /// The report on a test that ended in an error.
    pub fn error(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into(), kind: "error".into(), ..Self::default() }
    }
}

/// The status of a program whose guest did not end by returning.
pub fn status_of(ending: &Ending) -> Status {
    match ending {
        Ending::Stopped(Stop::Exit(_) | Stop::Dismissed) | Ending::Stack => Status::Error,
        Ending::Stopped(Stop::Wall | Stop::Time) => Status::Timeout,
        Ending::Stopped(Stop::Output) => Status::OutputLimit,
        Ending::Trap(_) => Status::Crashed,
    }
}

/// Sets the status, detail and tests of the verdict. The status is `passed` only if `ended` is `None`, `done` is true
/// (the tests ran to their end), and there is at least one report and every report passed.
pub fn conclude(verdict: &mut Verdict, reports: Vec<Report>, done: bool, ended: Option<Ending>) {
    let all_passed = !reports.is_empty() && reports.iter().all(|report| report.passed);
    if let Some(ended) = ended {
        verdict.status = status_of(&ended);
        verdict.detail = Some(ended.to_string());
    } else if !done {
        verdict.status = Status::Error;
        verdict.detail = Some("the tests were not run to their end".into());
    } else if all_passed {
        verdict.status = Status::Passed;
    } else if let Some(first) = reports.iter().find(|report| !report.passed) {
        verdict.status = match first.kind.as_str() {
            "failed" => Status::Failed,
            "memory" => Status::Memory,
            _ if first.message.starts_with("MemoryError") => Status::Memory,
            _ => Status::Error,
        };
        verdict.detail = Some(first.message.clone());
    } else {
        verdict.detail = Some("there was no test".into());
    }
    verdict.tests.extend(reports.into_iter().map(|report| TestResult {
        name: report.name,
        passed: report.passed,
        message: report.message,
    }));
}

/// Compares the standard output of a program that ran to its end with the expected output. `checked` is the result of
/// the record's checker: `None` if there is no checker, `Some(None)` if it accepts the output, else its message.
pub fn compare_output(verdict: &mut Verdict, job: &Job, checked: Option<Option<String>>) {
    let (Status::Passed, Some(expected)) = (verdict.status, &job.expected_stdout) else { return };
    let found = checked.unwrap_or_else(|| difference(&verdict.stdout, expected, &job.rule()));
    if let Some(found) = found {
        verdict.status = Status::Failed;
        verdict.detail = Some(format!("standard output is not what was expected: {found}"));
    }
}

/// Sets the last fields: the status `memory` if an error follows a refused allocation, and `passed`, which is true
/// only for the status `passed`.
pub fn finish(verdict: &mut Verdict, memory_refused: bool) {
    let is_open = !matches!(verdict.status, Status::Passed | Status::Timeout | Status::OutputLimit | Status::Failed);
    if is_open && memory_refused {
        verdict.status = Status::Memory;
        verdict.detail = Some("the limit of memory was reached".into());
    }
    verdict.passed = verdict.status == Status::Passed;
    if verdict.passed {
        verdict.detail = None;
    }
}

/// Runs the program once for each entry of `tests` (standard input and expected output). All runs share one time
/// limit; after a timeout the remaining entries are not run.
///
/// # Errors
/// Errors of `run`.
pub fn stdin_cases(
    job: &Job,
    limits: &Limits,
    run: impl Fn(&Job, &Limits) -> anyhow::Result<Verdict>,
) -> anyhow::Result<Verdict> {
    let mut total = Verdict::without_run(&job.id, Status::Passed, "");
    total.detail = None;
    for (i, case) in job.tests.iter().enumerate() {
        let text = |name: &str| case.get(name).and_then(Value::as_str).map(str::to_owned);
        let number = |name: &str| case.get(name).and_then(Value::as_f64);
        let compare = case.get("compare").and_then(|compare| serde_json::from_value(compare.clone()).ok());
        let one = Job {
            tests: Vec::new(),
            stdin: text("stdin"),
            expected_stdout: text("expected_stdout"),
            compare: compare.or(job.compare),
            checker: text("checker").or_else(|| job.checker.clone()),
            atol: number("atol").or(job.atol),
            rtol: number("rtol").or(job.rtol),
            ..job.clone()
        };
        let spent = Duration::from_secs_f64((total.cpu_ms + total.slept_ms) / 1000.0);
        let passed = Duration::from_secs_f64(total.wall_ms / 1000.0);
        let (time, wall) = (limits.time.saturating_sub(spent), limits.wall.saturating_sub(passed));
        let limits = Limits { time, wall, ..limits.clone() };
        let one = run(&one, &limits)?;
        total.tests.push(TestResult {
            name: text("name").unwrap_or_else(|| format!("case {}", i + 1)),
            passed: one.passed,
            message: one.detail.clone().unwrap_or_default(),
        });
        total.wall_ms += one.wall_ms;
        total.cpu_ms += one.cpu_ms;
        total.slept_ms += one.slept_ms;
        total.peak_memory_bytes = total.peak_memory_bytes.max(one.peak_memory_bytes);
        total.parses = one.parses;
        if i == 0 || (total.status == Status::Passed && !one.passed) {
            (total.status, total.detail) = (one.status, one.detail);
            (total.stdout, total.stderr, total.extra) = (one.stdout, one.stderr, one.extra);
        }
        if one.status == Status::Timeout {
            break;
        }
    }
    total.passed = total.status == Status::Passed && total.tests.len() == job.tests.len();
    Ok(total)
}
