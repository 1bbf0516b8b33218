//! Published benchmarks: canonical solutions pass, broken ones fail. A sample here; all of them by `codeexec bench-suite`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use codeexec::record::{Job, Status};
use codeexec::run::run_all;
use codeexec::suite::{Broken, Suite, broken, tasks};

const FILES: [(Suite, &str, usize); 5] = [
    (Suite::Humaneval, "humaneval/HumanEval.jsonl.gz", 6),
    (Suite::HumanevalPlus, "humaneval_plus/HumanEvalPlus.jsonl.gz", 40),
    (Suite::Mbpp, "mbpp/sanitized-mbpp.json.gz", 20),
    (Suite::MbppPlus, "mbpp_plus/MbppPlus.jsonl.gz", 60),
    (Suite::Mxeval, "mxeval/multilingual_humaneval/HumanEval.jsonl.gz", 20),
];

#[test]
fn canonical_solutions_pass_and_broken_ones_fail() {
    let pool = common::pool(10.0);
    for (suite, file, step) in FILES {
        let Some(path) = common::data(file) else { return };
        let tasks: Vec<_> = tasks(suite, &path).unwrap().into_iter().step_by(step).collect();
        let right: Vec<Job> = tasks.iter().map(|task| task.job.clone()).collect();
        for verdict in run_all(&pool, 2, &right).unwrap() {
            assert!(verdict.passed, "{suite:?} {verdict:?}");
        }
        for (how, expected) in [
            (Broken::None, None),
            (Broken::OffByOne, None),
            (Broken::Raise, Some(Status::Error)),
            (Broken::Loop, Some(Status::Timeout)),
        ] {
            let wrong: Vec<Job> = tasks.iter().step_by(3).map(|task| broken(task, how)).collect();
            for verdict in run_all(&pool, 2, &wrong).unwrap() {
                assert!(!verdict.passed, "{suite:?} {how:?} {verdict:?}");
                assert!(expected.is_none_or(|status| status == verdict.status), "{suite:?} {how:?} {verdict:?}");
            }
        }
    }
}
