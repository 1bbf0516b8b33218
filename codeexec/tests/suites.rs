//! Published benchmarks: canonical solutions pass, broken ones fail. The tests run a sample of the tasks. `-- --ignored`
//! runs every task but the canonical Python solutions, which `codeexec bench-suite` runs.

use crate::broken;
use crate::common;

use std::collections::BTreeMap;

use broken::{Broken, broken, oracle};
use codeexec::record::{Job, Status};
use codeexec::run::run_all;
use codeexec::suite::{Suite, Task, tasks};

/// Python benchmarks: suite, file, and n, where the sample is every n-th task.
const PYTHON: [(Suite, &str, usize); 5] = [
    (Suite::Humaneval, "humaneval/HumanEval.jsonl.gz", 6),
    (Suite::HumanevalPlus, "humaneval_plus/HumanEvalPlus.jsonl.gz", 40),
    (Suite::Mbpp, "mbpp/sanitized-mbpp.json.gz", 20),
    (Suite::MbppPlus, "mbpp_plus/MbppPlus.jsonl.gz", 60),
    (Suite::Mxeval, "mxeval/multilingual_humaneval/HumanEval.jsonl.gz", 20),
];
/// Benchmarks in other languages: language, suite, file, and n, where the sample is every n-th task. The files of
/// mxeval have tests but no solutions.
const OTHERS: [(&str, Suite, &str, usize); 5] = [
    ("javascript", Suite::HumanevalX, "humaneval_x/humaneval_js.jsonl.gz", 9),
    ("cpp", Suite::HumanevalX, "humaneval_x/humaneval_cpp.jsonl.gz", 16),
    ("javascript", Suite::Mxeval, "mxeval/multilingual_humaneval/HumanEval_javascript_v1.1.jsonl.gz", 9),
    ("php", Suite::Mxeval, "mxeval/multilingual_humaneval/HumanEval_php_v1.1.jsonl.gz", 9),
    ("ruby", Suite::Mxeval, "mxeval/multilingual_humaneval/HumanEval_ruby_v1.1.jsonl.gz", 9),
];
/// Faults that are errors of the data: the language, the start of the fault's text, and the reason.
const EXCUSED: [(&str, &str, &str); 12] = [
    ("python", "Mbpp OffByOne 82 ", "the tests of volumes allow for a thousandth"),
    ("python", "Mbpp OffByOne 85 ", "the tests of surfaces allow for a thousandth"),
    ("javascript", "JavaScript/112 ", "the solution returns (z, false), which is false"),
    ("javascript", "JavaScript/155 ", "the solution finds no digit in 0"),
    ("javascript", "HumanEval_javascript/92 ", "the tests tell 3.0 from 3"),
    ("javascript", "HumanEval_javascript/152 ", "the tests define a function of the program's name"),
    ("javascript", "Raise HumanEval_javascript/152 ", "as above"),
    ("javascript", "Loop HumanEval_javascript/152 ", "as above"),
    ("cpp", "None CPP/23 ", "the tests' strlen(\"x\") is the C library's"),
    ("cpp", "OffByOne CPP/23 ", "as above"),
    ("cpp", "Raise CPP/23 ", "as above"),
    ("cpp", "Loop CPP/23 ", "as above"),
];
/// The ways to break a program, with the expected status; `None` if any status but `passed` is right.
const WAYS: [(Broken, Option<Status>); 4] = [
    (Broken::None, None),
    (Broken::OffByOne, None),
    (Broken::Raise, Some(Status::Error)),
    (Broken::Loop, Some(Status::Timeout)),
];

/// Runs correct programs; describes those that do not pass.
fn failing(right: &[Task]) -> Vec<String> {
    let pool = common::pool(10.0);
    let jobs: Vec<Job> = right.iter().map(|task| task.job.clone()).collect();
    let verdicts = run_all(&pool, 2, &jobs).unwrap().into_iter().filter(|verdict| !verdict.passed);
    verdicts.map(|verdict| format!("{} {:?} {:?}", verdict.id, verdict.status, verdict.detail)).collect()
}

/// Breaks the program of every `step`-th task in four ways and runs it. Describes the broken programs that pass or get
/// another status than expected.
fn unnoticed(right: &[Task], step: usize) -> Vec<String> {
    let pool = common::pool(10.0);
    let mut faults = Vec::new();
    for (how, expected) in WAYS {
        let wrong: Vec<Job> = right.iter().step_by(step).filter_map(|task| broken(task, how)).collect();
        assert!(!wrong.is_empty(), "nothing is broken");
        let mut statuses = BTreeMap::<&str, usize>::new();
        for (job, verdict) in wrong.iter().zip(run_all(&pool, 2, &wrong).unwrap()) {
            *statuses.entry(verdict.status.word()).or_default() += 1;
            // A broken C++ program calls `abort` instead of raising, which is a crash.
            let crashed = job.language == "cpp" && verdict.status == Status::Crashed;
            if verdict.passed || expected.is_some_and(|status| status != verdict.status && !crashed) {
                faults.push(format!("{how:?} {} {:?} {:?}", verdict.id, verdict.status, verdict.detail));
            }
        }
        println!("  {how:?}: {} programs, {statuses:?}", wrong.len());
    }
    faults
}

fn faults(right: &[Task], step: usize) -> Vec<String> {
    [failing(right), unnoticed(right, step)].concat()
}

#[test]
fn python_solutions_pass_and_broken_ones_fail() {
    for (suite, file, step) in PYTHON {
        let Some(path) = common::data(file) else { return };
        let tasks: Vec<_> = tasks(suite, &path).unwrap().into_iter().step_by(step).collect();
        assert_eq!(faults(&tasks, 3), Vec::<String>::new(), "{suite:?}");
    }
}

/// Every `step`-th task of a file. A task without a solution gets a program that looks up the expected answers.
fn solved(suite: Suite, file: &str, step: usize) -> Vec<Task> {
    let Some(path) = common::data(file) else { return Vec::new() };
    let tasks = tasks(suite, &path).unwrap().into_iter().step_by(step);
    tasks.map(|task| if task.is_solved() { task } else { Task { job: oracle(&task).unwrap(), ..task } }).collect()
}

#[test]
fn other_languages_pass_and_broken_ones_fail() {
    for (language, suite, file, step) in OTHERS {
        common::set_up_language(language);
        let tasks = solved(suite, file, step);
        if !tasks.is_empty() {
            assert_eq!(faults(&tasks, 2), Vec::<String>::new(), "{language}");
        }
    }
}

/// Panics at a fault that [`EXCUSED`] does not list, and at a listed fault that did not occur.
fn judge(language: &str, faults: &[String]) {
    let excuses: Vec<&str> = EXCUSED.iter().filter(|(of, ..)| *of == language).map(|(_, start, _)| *start).collect();
    println!("{language}: {faults:#?}");
    let is_excused = |fault: &&String| excuses.iter().any(|start| fault.starts_with(start));
    assert_eq!(faults.iter().filter(|fault| !is_excused(fault)).collect::<Vec<_>>(), Vec::<&String>::new());
    for excuse in excuses {
        assert!(faults.iter().any(|fault| fault.starts_with(excuse)), "no excuse is needed for {excuse}");
    }
}

/// Runs every task of a language's files, as it is and broken in four ways.
fn all_of(language: &str) {
    common::set_up_language(language);
    let mut all = Vec::new();
    for (_, suite, file, _) in OTHERS.iter().filter(|(of, ..)| *of == language) {
        let tasks = solved(*suite, file, 1);
        if tasks.is_empty() {
            return;
        }
        println!("{file}: {} tasks", tasks.len());
        all.extend(faults(&tasks, 1));
    }
    judge(language, &all);
}

/// Run this and the tests below with `cargo test -p codeexec --test main suites -- --ignored --nocapture`.
#[test]
#[ignore = "every task in JavaScript: a minute"]
fn all_of_javascript() {
    all_of("javascript");
}

#[test]
#[ignore = "every task in PHP: a minute"]
fn all_of_php() {
    all_of("php");
}

#[test]
#[ignore = "every task in Ruby: a minute"]
fn all_of_ruby() {
    all_of("ruby");
}

#[test]
#[ignore = "every task in C++: minutes"]
fn all_of_cpp() {
    all_of("cpp");
}

/// Runs only broken programs. Check with `codeexec bench-suite` that the solutions pass: it gives slow tasks of
/// HumanEval+ and MBPP+ enough time.
#[test]
#[ignore = "every Python task broken in four ways: minutes"]
fn all_of_python_broken() {
    let mut all = Vec::new();
    for (suite, file, _) in PYTHON {
        let Some(path) = common::data(file) else { return };
        println!("{suite:?}");
        all.extend(unnoticed(&tasks(suite, &path).unwrap(), 1).into_iter().map(|fault| format!("{suite:?} {fault}")));
    }
    judge("python", &all);
}
