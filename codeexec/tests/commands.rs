//! Tests the commands `run` (also resumed after a kill) and `extract` of the binary. `soak.rs` tests `serve`.

use crate::common;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use codeexec::record::{Job, Verdict};
use codeexec::run::run_all;
use serde_json::{Value, json};

fn codeexec() -> Command {
    Command::new(env!("CARGO_BIN_EXE_codeexec"))
}

/// A mix of correct, incorrect, failing and endless programs; one in twenty never ends.
fn mixed(count: usize) -> Vec<Value> {
    let codes = [
        "def f(x):\n    return x + 1",
        "def f(x):\n    return x",
        "def f(x):\n    raise ValueError(x)",
        "def f(",
        "import os\nos._exit(0)",
    ];
    (0..count)
        .map(|i| {
            let code = if i % 20 == 19 { "def f(x):\n    while True: pass" } else { codes[i % codes.len()] };
            json!({"id": i.to_string(), "code": code, "tests": [format!("assert f({i}) == {i} + 1")], "timeout": 0.5})
        })
        .collect()
}

/// The part of a verdict that must be the same on every machine and in every run.
fn gist(verdict: &Verdict) -> (String, bool, String, Vec<bool>) {
    let tests = verdict.tests.iter().map(|test| test.passed).collect();
    (verdict.id.clone(), verdict.passed, verdict.status.word().into(), tests)
}

#[test]
fn a_run_that_is_killed_goes_on_and_ends_the_same() {
    common::set_up();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("programs.jsonl");
    let lines: Vec<String> = mixed(120).iter().map(Value::to_string).collect();
    std::fs::write(&input, lines.join("\n")).unwrap();
    let output = folder.path().join("verdicts.jsonl");
    let partial = folder.path().join("verdicts.jsonl.partial");
    let start = || {
        let mut command = codeexec();
        command.arg("run").arg("--input").arg(&input).arg("--output").arg(&output).arg("--workers").arg("2");
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let mut child = start();
    // Kills the run when some verdicts are written. The second run must complete the file, whatever the first one did.
    for _ in 0..2000 {
        std::thread::sleep(Duration::from_millis(5));
        if std::fs::read_to_string(&partial).unwrap_or_default().lines().count() > 20 {
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!output.exists());
    assert!(start().wait().unwrap().success());
    let verdicts: Vec<Verdict> = dataset::jsonl::read_all(&output).unwrap();
    let jobs: Vec<Job> = mixed(120).into_iter().map(|value| Job::from_value(value).unwrap()).collect();
    let sequential = run_all(&common::pool(3.0), 1, &jobs).unwrap();
    assert_eq!(verdicts.iter().map(gist).collect::<Vec<_>>(), sequential.iter().map(gist).collect::<Vec<_>>());
}

#[test]
fn a_bad_line_stops_a_strict_run_and_is_set_aside_in_a_lenient_one() {
    common::set_up();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("programs.jsonl");
    std::fs::write(&input, "{\"code\": \"print(1)\", \"no_tests\": true}\n{\"code\": 1}\n").unwrap();
    let run = |more: &[&str]| {
        let output = folder.path().join("verdicts.jsonl");
        codeexec().arg("run").arg("--input").arg(&input).arg("--output").arg(&output).args(more).output().unwrap()
    };
    let strict = run(&[]);
    assert_eq!(strict.status.code(), Some(1));
    let said = String::from_utf8_lossy(&strict.stderr).into_owned();
    let sentence =
        "programs.jsonl:2: code: invalid type: integer `1`, expected a string; a record needs code, and its tests";
    assert!(said.contains(sentence), "{said}");
    std::fs::remove_file(folder.path().join("verdicts.jsonl.partial")).ok();
    let lenient = run(&["--skip-bad"]);
    assert!(lenient.status.success(), "{}", String::from_utf8_lossy(&lenient.stderr));
    assert!(folder.path().join("rejected.jsonl").exists());
    let said = String::from_utf8_lossy(&lenient.stderr).into_owned() + &String::from_utf8_lossy(&lenient.stdout);
    assert!(said.contains("1 program in ") && said.contains("1 line set aside in "), "{said}");
    assert!(said.contains("  1 x code: invalid type") && said.contains("programs.jsonl:2)"), "{said}");
    // Every error names the faulty field.
    for (record, sentence) in [
        (
            json!({"program": "print(1)", "tests": ["1"]}),
            "code: is missing; the record has tests, program; a record needs code",
        ),
        (json!({}), "code: is missing; the record is empty"),
        (json!({"code": "x", "tests": "assert x"}), "tests: invalid type: string \"assert x\", expected a sequence"),
        (json!({"id": [], "code": "x"}), "id: must be a string or a number, not []"),
        (json!({"code": "x"}), "the record has no tests: give tests, test, reference or expected_stdout"),
    ] {
        let error = Job::from_value(record).unwrap_err();
        assert!(error.starts_with(sentence), "{error}");
    }
}

#[test]
fn extract_reads_an_answer() {
    let mut child = codeexec().arg("extract").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Sure:\n```python\nx = 1\n```\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "x = 1\n");
}
