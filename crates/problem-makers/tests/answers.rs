//! Checks answers by independent means: mathverify judges the steps, the sandbox runs the programs.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::time::Duration;

use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};
use codeexec::record::Job;
use codeexec::run::run_all;
use dataset::{Kind, Problem};
use mathverify::{Options, StepStatus, check_solution, split_steps, verify};
use problem_makers::{Difficulty, Draft, Made, Maker, Split, Topic, families};

const DIFFICULTIES: [Difficulty; 3] = [Difficulty::Easy, Difficulty::Medium, Difficulty::Hard];

fn made(topics: &[Topic], n: usize) -> Vec<Made> {
    let mut all = Vec::new();
    for split in [Split::Train, Split::HeldOutNumbers, Split::HeldOutFamilies] {
        let mut maker = Maker::new(11, split);
        all.extend((0..n).map(|_| maker.next(topics, &DIFFICULTIES).unwrap()));
    }
    all
}

/// Every existing family and difficulty is among the problems.
fn assert_complete(problems: &[Made], topics: &[Topic]) {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for made in problems {
        let meta = made.record().meta.unwrap();
        *found.entry(format!("{} {}", made.family, meta["difficulty"].as_str().unwrap())).or_default() += 1;
    }
    for family in families().iter().filter(|family| topics.contains(&family.topic)) {
        for difficulty in family.difficulties {
            let name = format!("{} {}", family.name, difficulty.name());
            assert!(found.contains_key(&name), "no problem of {name}");
        }
    }
}

#[test]
fn every_step_holds_and_every_answer_is_the_solutions() {
    let topics = [Topic::Words, Topic::Arithmetic, Topic::Algebra];
    let problems = made(&topics, 1200);
    assert_complete(&problems, &topics);
    let options = Options::default();
    let mut unchecked: BTreeMap<&str, usize> = BTreeMap::new();
    for made in &problems {
        let record = made.record();
        assert_eq!(record.kind, Kind::Math);
        let (solution, answer) = (made.solution(), record.answer.unwrap());
        let checked = check_solution(Some(&made.prompt()), &split_steps(&solution), Some(&answer), &options);
        assert_eq!(checked.first_wrong, None, "{}\n{solution}\n{checked:?}", made.prompt());
        assert!(checked.verdict.unwrap().is_equal(), "{}\n{solution}", made.prompt());
        if checked.steps.iter().all(|step| step.status != StepStatus::Correct) {
            *unchecked.entry(made.family).or_default() += 1;
        } else {
            assert_ne!(checked.answer_follows, Some(false), "{}\n{solution}", made.prompt());
        }
        // The check must also reject wrong answers.
        let other = answer.strip_prefix('-').map_or_else(|| format!("7{answer}"), |rest| format!("-7{rest}"));
        assert!(!verify(&solution, &other, &options).is_equal(), "{solution}");
    }
    println!("without a step that can be checked: {unchecked:?} of {}", problems.len());
    assert!(unchecked.values().sum::<usize>() * 20 < problems.len(), "{unchecked:?}");
}

/// Drills whose question can itself be evaluated.
#[test]
fn questions_evaluate_to_their_answers() {
    let options = Options::default();
    let mut evaluated = 0;
    for made in made(&[Topic::Arithmetic, Topic::Algebra], 500) {
        let Draft::Math { question, answer, .. } = &made.draft else { panic!("{made:?}") };
        let text = question.trim_end_matches(['.', '?']);
        let text = text.split(['.', '?']).next().unwrap_or(text);
        let openings = [
            "What is ",
            "Calculate ",
            "Work out ",
            "Find the value of ",
            "Compute ",
            "Simplify ",
            "Combine like terms: ",
            "Expand ",
        ];
        let expression = match made.family {
            "expression" | "sum" | "negative-numbers" | "powers" | "add-fractions" | "multiply-fractions"
            | "like-terms" | "expand" => {
                openings.iter().find_map(|opening| text.strip_prefix(opening)).unwrap().to_owned()
            }
            // An equation holds when the solution replaces the unknown.
            "linear-equation" => {
                let (unknown, equation) = question.split_once(": ").unwrap();
                let unknown = unknown.split(' ').next_back().unwrap();
                let (left, right) = equation.split_once(" = ").unwrap();
                let put = |side: &str| side.replace(unknown, &format!("*({answer})"));
                let outcome = mathverify::compare(&put(left).replace("(*", "("), &put(right), &options);
                assert!(outcome.is_equal(), "{question} {answer}: {outcome:?}");
                evaluated += 1;
                continue;
            }
            _ => continue,
        };
        let outcome = mathverify::compare(&expression, answer, &options);
        assert!(outcome.is_equal(), "{question} {answer}: {outcome:?}");
        evaluated += 1;
    }
    assert!(evaluated > 300, "{evaluated}");
}

#[test]
fn reference_programs_pass_their_tests_in_the_sandbox() {
    let Some(program) = worker() else { return };
    let problems = made(&[Topic::Code], 100);
    assert_complete(&problems, &[Topic::Code]);
    let limits = Limits::within(Duration::from_secs(5));
    let pool = Pool::new(Launcher { program, arguments: vec!["child".into()] }, 2, limits, 0);
    let job = |made: &Made, code: String| {
        let record: Problem = made.record();
        let mut job = Job::python(record.id, code);
        job.tests = record.tests.unwrap().as_array().unwrap().clone();
        job.entry_point = record.entry_point;
        job
    };
    let reference = |made: &Made| codeexec::extract::program(&made.solution(), "python", None);
    let right: Vec<Job> = problems.iter().map(|made| job(made, reference(made))).collect();
    for (verdict, made) in run_all(&pool, 2, &right).unwrap().iter().zip(&problems) {
        assert!(verdict.passed, "{}\n{}\n{verdict:?}", made.prompt(), made.solution());
    }
    // A function that always returns the answer of the example.
    let constant = |made: &Made| {
        let Draft::Code { entry_point, tests, .. } = &made.draft else { panic!("{made:?}") };
        format!("def {entry_point}(*args):\n    return {}\n", tests[0].rsplit(" == ").next().unwrap())
    };
    let wrong: Vec<Job> = problems.iter().step_by(4).map(|made| job(made, constant(made))).collect();
    for verdict in run_all(&pool, 2, &wrong).unwrap() {
        assert!(!verdict.passed, "{verdict:?}");
    }
}

/// The sandbox's worker: the `codeexec` binary beside this test, set up. `None`, and the test is skipped, if it is
/// not built.
fn worker() -> Option<std::path::PathBuf> {
    let program = test_support::program("codeexec")?;
    let status = std::process::Command::new(&program).arg("setup").status().unwrap();
    assert!(status.success(), "codeexec setup failed");
    Some(program)
}
