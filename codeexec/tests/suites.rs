//! Published benchmarks: canonical solutions pass, broken ones fail. A sample here; all of them with `-- --ignored`, or by
//! `codeexec bench-suite`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod broken;
mod common;

use broken::{Broken, broken, oracle};
use codeexec::record::{Job, Status};
use codeexec::run::run_all;
use codeexec::suite::{Suite, Task, tasks};

const PYTHON: [(Suite, &str, usize); 5] = [
    (Suite::Humaneval, "humaneval/HumanEval.jsonl.gz", 6),
    (Suite::HumanevalPlus, "humaneval_plus/HumanEvalPlus.jsonl.gz", 40),
    (Suite::Mbpp, "mbpp/sanitized-mbpp.json.gz", 20),
    (Suite::MbppPlus, "mbpp_plus/MbppPlus.jsonl.gz", 60),
    (Suite::Mxeval, "mxeval/multilingual_humaneval/HumanEval.jsonl.gz", 20),
];
const X: [(&str, &str, usize); 2] =
    [("javascript", "humaneval_x/humaneval_js.jsonl.gz", 9), ("cpp", "humaneval_x/humaneval_cpp.jsonl.gz", 16)];
/// Tests without solutions.
const UNSOLVED: [(&str, &str, usize); 3] = [
    ("javascript", "mxeval/multilingual_humaneval/HumanEval_javascript_v1.1.jsonl.gz", 9),
    ("php", "mxeval/multilingual_humaneval/HumanEval_php_v1.1.jsonl.gz", 9),
    ("ruby", "mxeval/multilingual_humaneval/HumanEval_ruby_v1.1.jsonl.gz", 9),
];
const WAYS: [(Broken, Option<Status>); 4] = [
    (Broken::None, None),
    (Broken::OffByOne, None),
    (Broken::Raise, Some(Status::Error)),
    (Broken::Loop, Some(Status::Timeout)),
];

/// Runs programs that are right and those of every `step`th task broken; the tasks that do not do as they should.
fn faults(right: &[Task], step: usize) -> Vec<String> {
    let pool = common::pool(10.0);
    let jobs: Vec<Job> = right.iter().map(|task| task.job.clone()).collect();
    let mut faults = Vec::new();
    for verdict in run_all(&pool, 2, &jobs).unwrap() {
        if !verdict.passed {
            faults.push(format!("{} {:?} {:?}", verdict.id, verdict.status, verdict.detail));
        }
    }
    for (how, expected) in WAYS {
        let wrong: Vec<Job> = right.iter().step_by(step).filter_map(|task| broken(task, how)).collect();
        assert!(!wrong.is_empty(), "nothing is broken");
        for (job, verdict) in wrong.iter().zip(run_all(&pool, 2, &wrong).unwrap()) {
            // C++'s `abort` is a crash.
            let crashed = job.language == "cpp" && verdict.status == Status::Crashed;
            if verdict.passed || expected.is_some_and(|status| status != verdict.status && !crashed) {
                faults.push(format!("{how:?} {} {:?} {:?}", verdict.id, verdict.status, verdict.detail));
            }
        }
    }
    faults
}

#[test]
fn python_solutions_pass_and_broken_ones_fail() {
    for (suite, file, step) in PYTHON {
        let Some(path) = common::data(file) else { return };
        let tasks: Vec<_> = tasks(suite, &path).unwrap().into_iter().step_by(step).collect();
        assert_eq!(faults(&tasks, 3), Vec::<String>::new(), "{suite:?}");
    }
}

/// Solved tasks of a file, and unsolved ones with the answers that their tests expect.
fn others(thorough: bool) -> Vec<(String, Vec<Task>)> {
    let mut all = Vec::new();
    for (suite, files) in [(Suite::HumanevalX, &X[..]), (Suite::Mxeval, &UNSOLVED[..])] {
        for (language, file, step) in files {
            let Some(path) = common::data(file) else { continue };
            common::set_up_language(language);
            let tasks = tasks(suite, &path).unwrap().into_iter().step_by(if thorough { 1 } else { *step });
            let tasks =
                tasks.map(|task| if task.is_solved() { task } else { Task { job: oracle(&task).unwrap(), ..task } });
            all.push((format!("{suite:?} {language}"), tasks.collect()));
        }
    }
    all
}

#[test]
fn other_languages_pass_and_broken_ones_fail() {
    for (what, tasks) in others(false) {
        assert_eq!(faults(&tasks, 2), Vec::<String>::new(), "{what}");
    }
}

/// `cargo test -p codeexec --test suites -- --ignored --nocapture`
#[test]
#[ignore = "every task of every file in other languages than Python: minutes"]
fn all_of_the_other_languages() {
    let mut count = 0;
    for (what, tasks) in others(true) {
        let faults = faults(&tasks, 1);
        println!("{what}: {} tasks, {} faults", tasks.len(), faults.len());
        for fault in &faults {
            println!("  {fault}");
        }
        count += faults.len();
    }
    assert_eq!(count, 0);
}
