//! Cases from public bug reports with their expected results, if `../shared/field/codeexec-open.jsonl` exists.

use crate::common;

use std::process::Command;

use codeexec::extract::program;
use codeexec::record::{Job, Verdict};
use codeexec::run::run_all;
use serde_json::{Value, json};

/// Cases with an expectation that codeexec does not share: the id, and text that the verdict must contain instead.
const NOT_SHARED: [(&str, &str); 1] = [
    // The program does not define `f`; the report is about the wording of the error.
    ("e109", "the program defines no 'f'"),
];

/// A case: its input is a record (a program with tests) or a model's answer.
struct Case {
    id: String,
    input: Value,
    expected: String,
}

fn cases() -> Option<Vec<Case>> {
    let path = test_support::shared("field/codeexec-open.jsonl")?;
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    Some(
        rows.map(|row| Case { id: word(&row["id"]), input: row["input"].clone(), expected: word(&row["expected"]) })
            .collect(),
    )
}

/// Why a verdict does not meet the case's expectation; `None` if it does.
fn fault(case: &Case, verdict: &Verdict) -> Option<String> {
    let said = format!("{verdict:?}");
    let is_right = match NOT_SHARED.iter().find(|(id, _)| *id == case.id) {
        Some((_, sentence)) => !verdict.passed && said.contains(sentence),
        None if case.expected == "passed" => verdict.passed,
        None if case.expected.starts_with("failed") => verdict.status.word() == "failed",
        None => !verdict.passed,
    };
    (!is_right).then(|| format!("{}, expected {:?}: {}\n{said}", case.id, case.expected, case.input))
}

#[test]
fn public_reports() {
    let Some(cases) = cases() else { return };
    common::set_up();
    common::set_up_language("javascript");
    let (mut jobs, mut faults) = (Vec::new(), Vec::new());
    let mut judged = 0;
    for case in &cases {
        if let Some(answer) = case.input["answer"].as_str() {
            let arguments = case.input["args"].as_array().unwrap();
            let entry_point = arguments.last().and_then(Value::as_str);
            let found = program(answer, "python", entry_point);
            if case.expected != "passed" {
                judged += 1;
                if found.trim() != case.expected.trim() {
                    faults.push(format!("{}: {answer:?} gave {found:?}", case.id));
                }
                continue;
            }
            // The case gives no tests. In this data set, the function `sq` multiplies by four.
            let record = json!({"id": case.id, "code": found, "tests": ["assert sq(1) == 4"]});
            jobs.push((case, Job::from_value(record).unwrap()));
        } else if case.input["code"].is_string() {
            match Job::from_value(case.input.clone()) {
                Ok(job) => jobs.push((case, job)),
                // A refused record has no verdict, which is right only if the case expects an error.
                Err(error) => {
                    judged += 1;
                    let named = case.expected != "error naming the field" || error.starts_with("test_list");
                    if case.expected == "passed" || case.expected.starts_with("failed") || !named {
                        faults.push(format!("{}, expected {:?}: refused: {error}", case.id, case.expected));
                    }
                }
            }
        }
    }
    let pool = common::pool(10.0);
    let records: Vec<Job> = jobs.iter().map(|(_, job)| job.clone()).collect();
    for ((case, _), verdict) in jobs.iter().zip(run_all(&pool, 2, &records).unwrap()) {
        judged += 1;
        faults.extend(fault(case, &verdict));
    }
    // The case `k22` is a file of programs; the next test covers it.
    assert_eq!(judged + 1, cases.len());
    assert!(faults.is_empty(), "{} disagree:\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn a_language_that_is_not_set_up_is_named_with_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("programs.jsonl"), folder.path().join("verdicts.jsonl"));
    let record =
        json!({"id": "third", "language": "cpp", "code": "int f(int x) { return x; }", "tests": ["assert(f(1) == 1)"]});
    std::fs::write(&input, format!("{record}\n")).unwrap();
    let mut run = Command::new(env!("CARGO_BIN_EXE_codeexec"));
    run.env("HERD_CACHE", folder.path().join("cache"))
        .arg("run")
        .arg("--input")
        .arg(&input)
        .arg("--output")
        .arg(output);
    let said = run.output().unwrap();
    assert!(!said.status.success());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("programs.jsonl, record 1, id \"third\"") && said.contains("cpp is not set up"), "{said}");
    assert_eq!(said.matches("error:").count(), 1, "{said}");
}
