//! Hostile programs. None may pass its tests, reach anything outside the sandbox, run past its limit, or affect the
//! next program.
//!
//! `cargo test -p codeexec --test main attacks` runs a sample of each class. With `-- --ignored` it runs all of them, and
//! requires each verdict within 100 ms after the limit. That needs an idle machine and an optimised build:
//! `cargo test --config 'profile.test.package.codeexec.opt-level=3' -p codeexec --test main attacks -- --ignored --test-threads 1`.

use crate::common;
use crate::families;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use codeexec::pool::Pool;
use codeexec::record::{Job, Status, Verdict};
use families::Attack;
use serde_json::json;

/// Time limit of an attack in seconds.
const LIMIT: f64 = 0.5;
/// Allowed delay of a verdict after the limit in seconds, on an idle machine.
const HANG: f64 = 0.1;
/// Allowed delay of a verdict after the limit in seconds, on a busy machine.
const HANG_WHEN_BUSY: f64 = 5.0;

fn job(attack: &Attack) -> Job {
    let mut job = Job::python(attack.name.clone(), attack.code.clone());
    job.language = attack.language.into();
    // No attack computes these values.
    let test = |x: i32, y: i32| match attack.language {
        "python" => format!("assert f({x}) == {y}"),
        "javascript" => format!("console.assert(f({x}) === {y})"),
        "php" => format!("assert(f({x}) === {y});"),
        "ruby" => format!("raise 'wrong' unless f({x}) == {y}"),
        _ => format!("assert(f({x}) == {y});"),
    };
    job.tests = vec![json!(test(3, 1234567)), json!(test(4, 7654321))];
    job
}

/// A program that passes only in an interpreter that looks unused: default files, environment and built-ins.
fn canary(language: &str) -> Job {
    if language != "python" {
        let (code, test) = match language {
            "javascript" => (
                "function f() { return [typeof leak, JSON.stringify([1]), [1, 2].every(x => x > 1), Object.is(1, 2), typeof console.assert] }",
                "assert.deepStrictEqual(f(), ['undefined', '[1]', false, false, 'function'])",
            ),
            "php" => (
                "<?php function f() { return [scandir('/tmp'), ini_get('zend.assertions'), getenv('HOME'), function_exists('leak')]; }",
                "assert(f() === [['.', '..'], '1', false, false]);",
            ),
            "ruby" => (
                "def f = [Dir.children('/tmp'), 1 == 2, ENV['HOME'], defined?(leak), JSON.generate([1])]",
                "raise f.inspect unless f == [[], false, nil, nil, '[1]']",
            ),
            _ => ("#include <stdio.h>\nint f() { return fopen(\"/tmp/x\", \"r\") == 0; }", "assert(f() == 1);"),
        };
        let mut job = Job::python("canary", code);
        job.language = language.into();
        job.tests = vec![json!(test)];
        return job;
    }
    let code = "import sys, os, builtins, math, random, json
def f():
    here = sorted(os.listdir('/tmp')) + sorted(os.listdir('/'))
    return (len([1, 2]), math.pi, json.dumps([1]), here, sorted(os.environ), hasattr(builtins, 'leak'),
            sys.getrecursionlimit(), print.__name__)";
    let mut job = Job::python("canary", code);
    job.tests = vec![json!(
        "assert f() == (2, 3.141592653589793, '[1]', ['tmp', 'usr'], ['PYTHONTZPATH', 'TMPDIR'], False, 1000, 'print')"
    )];
    job
}

/// The verdicts on an attack and on the canary after it.
struct Outcome {
    verdict: Verdict,
    /// Time in seconds from the call of the pool to the attack's verdict, without compiling.
    seconds: f64,
    /// The verdict on the canary.
    next: Verdict,
}

/// Runs each attack, followed by the canary of its language, on two threads, and measures the time in the caller.
fn outcomes(pool: &Pool, attacks: &[Attack]) -> Vec<Outcome> {
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        let work = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(attack) = attacks.get(index) else { return };
                let start = Instant::now();
                let verdict = pool.run(&job(attack)).unwrap();
                let compiler = verdict.extra.get("compile_ms").and_then(serde_json::Value::as_f64).unwrap_or(0.0);
                let seconds = start.elapsed().as_secs_f64() - compiler / 1e3;
                let next = pool.run(&canary(attack.language)).unwrap();
                outcomes.lock().unwrap().insert(index, Outcome { verdict, seconds, next });
            }
        };
        (0..2).for_each(|_| drop(scope.spawn(work)));
    });
    outcomes.into_inner().unwrap().into_values().collect()
}

/// Runs the attacks and panics if any outcome is wrong, a verdict is missing, or a worker was lost.
fn check(attacks: &[Attack], hang: f64) {
    let pool = common::pool(LIMIT);
    // Lets both workers open every language before the measurement.
    let canaries = ["python", "javascript", "php", "ruby", "c", "cpp"].map(canary);
    let languages: std::collections::BTreeSet<&str> = attacks.iter().map(|attack| attack.language).collect();
    let used = || canaries.iter().filter(|canary| languages.contains(canary.language.as_str()));
    std::thread::scope(|scope| {
        let warm = || used().for_each(|canary| assert!(pool.run(canary).unwrap().passed, "{}", canary.language));
        (0..2).for_each(|_| drop(scope.spawn(warm)));
    });
    let mut faults = Vec::new();
    let mut statuses: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut lateness = Vec::new();
    let outcomes = outcomes(&pool, attacks);
    assert_eq!(outcomes.len(), attacks.len(), "a verdict is missing");
    for (attack, outcome) in attacks.iter().zip(&outcomes) {
        *statuses.entry((attack.language, attack.class, outcome.verdict.status.word())).or_default() += 1;
        lateness.push((((outcome.seconds - LIMIT) * 1e3) as i64, &attack.name));
        if let Some(fault) = fault(outcome, hang) {
            faults.push(format!("{}: {fault}\n{}", attack.name, attack.code));
        }
    }
    for ((language, class, status), count) in statuses {
        println!("{language:<11} {class:<12} {status:<13} {count}");
    }
    lateness.sort_unstable_by(|a, b| b.cmp(a));
    println!("{} attacks; the latest, in ms after the limit: {:?}", attacks.len(), &lateness[..3.min(lateness.len())]);
    assert_eq!(pool.replaced.load(Ordering::Relaxed), 0, "a worker was killed, or silent beyond the limit");
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n\n"));
}

/// What is wrong with an outcome: a false pass, an escape, a late verdict, or a canary that failed.
fn fault(outcome: &Outcome, hang: f64) -> Option<String> {
    let Outcome { verdict, seconds, next } = outcome;
    if verdict.passed || verdict.status == Status::Passed || verdict.tests.iter().any(|test| test.passed) {
        return Some("a false pass".into());
    }
    if verdict.stdout.contains("ESCAPED") || verdict.stderr.contains("ESCAPED: ") {
        return Some(format!("it got out: {}{}", verdict.stdout, verdict.stderr));
    }
    if *seconds > LIMIT + hang {
        return Some(format!("its verdict came after {seconds:.3} s"));
    }
    (!next.passed).then(|| format!("the next program felt it: {:?} {:?}", next.status, next.detail))
}

#[test]
fn every_class_has_sixty_different_attacks() {
    let attacks = families::all();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut codes = std::collections::BTreeSet::new();
    for attack in &attacks {
        assert!(codes.insert(&attack.code), "twice: {}", attack.code);
        *counts.entry(attack.class).or_default() += 1;
    }
    println!("{} attacks: {counts:?}", attacks.len());
    for (class, count) in counts {
        assert!(count >= 60, "{class}: {count}");
    }
}

#[test]
fn a_sample_of_each_class() {
    let attacks = families::all();
    check(&attacks.into_iter().step_by(13).collect::<Vec<_>>(), HANG_WHEN_BUSY);
}

#[test]
fn a_sample_in_other_languages() {
    for language in ["javascript", "php", "ruby", "c", "cpp"] {
        common::set_up_language(language);
    }
    check(&families::others::all().into_iter().step_by(11).collect::<Vec<_>>(), HANG_WHEN_BUSY);
}

/// `cargo test -p codeexec --test main attacks -- --ignored --nocapture`
#[test]
#[ignore = "all attacks in other languages: a minute or two"]
fn all_attacks_in_other_languages() {
    for language in ["javascript", "php", "ruby", "c", "cpp"] {
        common::set_up_language(language);
    }
    check(&families::others::all(), HANG);
}

#[test]
#[ignore = "all attacks: several minutes"]
fn all_attacks() {
    check(&families::all(), HANG);
}
