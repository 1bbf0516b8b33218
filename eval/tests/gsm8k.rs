//! Compares with lm-evaluation-harness's verdicts, stored by make_gsm8k.py.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use eval::score::{Filter, exact_match};
use mathverify::{Options, verify};
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    response: String,
    reference: String,
    verdicts: BTreeMap<String, (String, bool)>,
    correct: Option<bool>,
}

fn cases(path: &Path) -> Vec<Case> {
    let file = BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()));
    file.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// Returns the number of verdicts, and the cases whose extraction or verdict differs.
fn compare(cases: &[Case]) -> (usize, Vec<String>) {
    let mut differences = Vec::new();
    let mut verdicts = 0;
    for case in cases {
        for filter in [Filter::Strict, Filter::Flexible, Filter::Hashes, Filter::TheAnswerIs] {
            let (extracted, right) = &case.verdicts[filter.column()];
            let found = filter.apply(&case.response);
            verdicts += 1;
            if found != *extracted || exact_match(&found, &case.reference) != *right {
                differences
                    .push(format!("{filter:?}: {found:?} here, {extracted:?} {right} there: {:?}", case.response));
            }
        }
    }
    (verdicts, differences)
}

#[test]
fn every_stored_verdict_is_the_harnesss() {
    let cases = cases(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gsm8k.jsonl.gz").as_ref());
    for column in ["strict", "flexible", "hashes", "the-answer-is"] {
        let right = cases.iter().filter(|case| case.verdicts[column].1).count();
        assert!(right > 20 && right < cases.len() - 20, "{column}: {right} of {}", cases.len());
    }
    let (verdicts, differences) = compare(&cases);
    assert_eq!(verdicts, 2400);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The published model solutions, as `make_gsm8k.py SOLUTIONS OUT` judges them; run by hand:
/// `GSM8K_CASES=OUT cargo test -p eval --test main gsm8k -- --ignored --nocapture`.
#[test]
#[ignore = "needs a file of cases, see README.md"]
fn every_published_model_solution() {
    let cases = cases(std::env::var("GSM8K_CASES").unwrap().as_ref());
    let (verdicts, differences) = compare(&cases);
    println!("{} answers, {verdicts} verdicts, {} differ", cases.len(), differences.len());
    println!("{}", differences[..differences.len().min(10)].join("\n"));
    // This project's column beside the harness's, and the published verdicts.
    let options = Options::default();
    let mut counts: BTreeMap<(&str, bool, bool), usize> = BTreeMap::new();
    for case in &cases {
        let ours = verify(&case.response, &case.reference, &options).is_equal();
        *counts.entry(("flexible", ours, case.verdicts["flexible"].1)).or_default() += 1;
        *counts.entry(("published", ours, case.correct.unwrap())).or_default() += 1;
    }
    for ((other, ours, theirs), n) in counts {
        println!("accuracy {ours}, {other} {theirs}: {n}");
    }
}
