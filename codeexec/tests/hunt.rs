//! Searches for false passes: incorrect programs with tests in every form that public data sets use. No incorrect
//! program may pass, and the correct program of each task must pass.
//!
//! `cargo test -p codeexec --test main hunt` runs some of each form. For 10,000 incorrect programs in all languages:
//! `CODEEXEC_HUNT=10000 cargo test -p codeexec --test main hunt -- --ignored --nocapture`

use crate::common;
use crate::forms_made;

use std::collections::BTreeMap;

use codeexec::record::Job;
use codeexec::run::run_all;
use forms_made::{LANGUAGES, Made, made, weak};

/// Runs the programs, prints counts by form and status, and panics at a false pass or a false failure.
fn check(all: &[Made]) {
    let pool = common::pool(2.0);
    let jobs: Vec<Job> = all.iter().map(|made| Job::from_value(made.record.clone()).unwrap()).collect();
    let verdicts = run_all(&pool, 2, &jobs).unwrap();
    let mut counts: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut faults = Vec::new();
    for (made, verdict) in all.iter().zip(&verdicts) {
        let language = made.record["language"].as_str().unwrap();
        let kind = if made.wrong.is_some() { verdict.status.word() } else { "right" };
        *counts.entry((language, made.form, kind)).or_default() += 1;
        if verdict.passed == made.wrong.is_some() {
            let how = made.wrong.unwrap_or("right");
            faults.push(format!(
                "{language} {}, {how}: {:?} {:?}\n{:#}",
                made.form, verdict.status, verdict.detail, made.record
            ));
        }
    }
    for ((language, form, kind), count) in &counts {
        println!("{language:<11} {form:<32} {kind:<13} {count}");
    }
    let wrong = all.iter().filter(|made| made.wrong.is_some()).count();
    println!("{wrong} wrong programs, {} right ones, {} faults", all.len() - wrong, faults.len());
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults[..faults.len().min(10)].join("\n\n"));
}

#[test]
fn no_wrong_program_of_some_passes() {
    common::set_up();
    common::set_up_language("javascript");
    let all: Vec<Made> = [made("python", 90, 1), made("javascript", 30, 2)].into_iter().flatten().collect();
    check(&all);
}

#[test]
fn no_weak_test_passes_a_wrong_program() {
    common::set_up();
    let mut all = Vec::new();
    for language in ["python", "javascript", "php", "ruby", "c"] {
        common::set_up_language(language);
        all.extend(weak(language));
    }
    check(&all);
}

#[test]
#[ignore = "many: as CODEEXEC_HUNT says, or 10,000"]
fn no_wrong_program_of_many_passes() {
    let many: usize = std::env::var("CODEEXEC_HUNT").ok().and_then(|many| many.parse().ok()).unwrap_or(10_000);
    // Percentages of the programs by language. C and C++ have few, since compiling one takes a second.
    let shares = [("python", 60), ("javascript", 15), ("php", 10), ("ruby", 10), ("c", 2), ("cpp", 3)];
    assert_eq!(shares.map(|(language, _)| language), LANGUAGES);
    let mut all = Vec::new();
    for (seed, (language, share)) in shares.into_iter().enumerate() {
        common::set_up_language(language);
        all.extend(made(language, (many * share).div_ceil(100), seed as u64 + 10));
    }
    check(&all);
}
