//! Hostile programs. None may pass its test, reach anything outside, hang past its limit, or be felt by the next program.
//!
//! `cargo test -p codeexec --test attacks` runs a sample of each class; with `-- --ignored` all of them.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod families;

use std::collections::BTreeMap;

use codeexec::record::{Job, Status, Verdict};
use codeexec::run::run_all;
use families::Attack;
use serde_json::json;

/// Wall clock of an attack in seconds, and how far beyond it a machine that is busy with other things may be.
const LIMIT: f64 = 0.5;
const HANG: f64 = 5.0;

fn job(attack: &Attack) -> Job {
    let mut job = Job::python(attack.name.clone(), attack.code.clone());
    job.language = attack.language.into();
    // No attack computes this.
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

/// Behaves only in an interpreter that nobody used before.
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
            _ => ("#include <cstdio>\nint f() { return fopen(\"/tmp/x\", \"r\") == nullptr; }", "assert(f() == 1);"),
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

fn check(attacks: &[Attack]) {
    let pool = common::pool(LIMIT);
    let mut jobs = Vec::new();
    for attack in attacks {
        jobs.extend([job(attack), canary(attack.language)]);
    }
    let verdicts = run_all(&pool, 2, &jobs).unwrap();
    let mut faults = Vec::new();
    let mut statuses: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut latest: f64 = 0.0;
    for (attack, pair) in attacks.iter().zip(verdicts.chunks(2)) {
        let [verdict, next] = pair else { panic!("a verdict is missing") };
        *statuses.entry((attack.language, attack.class, verdict.status.word())).or_default() += 1;
        // A sleeping program's clock is moved forward: what counts is that nobody waited.
        let waited = if attack.class == "sleep" { verdict.cpu_ms } else { verdict.wall_ms };
        latest = latest.max(waited / 1e3 - LIMIT);
        if let Some(fault) = fault(verdict, next, waited / 1e3) {
            faults.push(format!("{}: {fault}\n{}", attack.name, attack.code));
        }
    }
    for ((language, class, status), count) in statuses {
        println!("{language:<11} {class:<12} {status:<13} {count}");
    }
    println!("{} attacks; the latest ended {:.0} ms after the limit", attacks.len(), latest * 1e3);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n\n"));
}

fn fault(verdict: &Verdict, next: &Verdict, seconds: f64) -> Option<String> {
    if verdict.passed || verdict.status == Status::Passed || verdict.tests.iter().any(|test| test.passed) {
        return Some("a false pass".into());
    }
    if verdict.stdout.contains("ESCAPED") || verdict.stderr.contains("ESCAPED: ") {
        return Some(format!("it got out: {}{}", verdict.stdout, verdict.stderr));
    }
    if seconds > LIMIT + HANG {
        return Some(format!("it ran for {seconds:.1} s"));
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
    check(&attacks.into_iter().step_by(13).collect::<Vec<_>>());
}

#[test]
fn a_sample_in_other_languages() {
    for language in ["javascript", "php", "ruby", "cpp"] {
        common::set_up_language(language);
    }
    check(&families::others::all().into_iter().step_by(11).collect::<Vec<_>>());
}

/// `cargo test -p codeexec --test attacks -- --ignored --nocapture`
#[test]
#[ignore = "all attacks in other languages: a minute or two"]
fn all_attacks_in_other_languages() {
    for language in ["javascript", "php", "ruby", "cpp"] {
        common::set_up_language(language);
    }
    check(&families::others::all());
}

#[test]
#[ignore = "all attacks: several minutes"]
fn all_attacks() {
    check(&families::all());
}
