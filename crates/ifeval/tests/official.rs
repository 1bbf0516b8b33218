//! Compares with verdicts of the official checkers, stored by make_official.py. They are equal, except for the listed
//! ones.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};

use ifeval::{Instruction, Verdict, check};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    ids: Vec<String>,
    kwargs: Vec<Value>,
    response: String,
    #[serde(flatten)]
    official: Verdict,
}

fn cases(path: &std::path::Path) -> Vec<Case> {
    let file = BufReader::new(flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()));
    file.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// Compares the verdicts. Returns their number, and the differing ones by type.
fn compare(cases: &[Case]) -> (usize, BTreeMap<String, Vec<String>>) {
    let mut differences: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut verdicts = 0;
    for case in cases {
        let instructions: Vec<Instruction> =
            case.ids.iter().zip(&case.kwargs).map(|(id, kwargs)| Instruction::new(id, kwargs).unwrap()).collect();
        let ours = check(&instructions, &case.response);
        for (i, id) in case.ids.iter().enumerate() {
            for (word, ours, official) in
                [("strict", ours.strict[i], case.official.strict[i]), ("loose", ours.loose[i], case.official.loose[i])]
            {
                verdicts += 1;
                if ours != official {
                    let what = format!("{word}: {ours} here, {:?} {:?}", case.kwargs[i], case.response);
                    differences.entry(id.clone()).or_default().push(what);
                }
            }
        }
    }
    (verdicts, differences)
}

#[test]
fn every_stored_verdict_is_the_official_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/official.jsonl.gz");
    let cases = cases(path.as_ref());
    let kinds: std::collections::BTreeSet<&String> = cases.iter().flat_map(|case| &case.ids).collect();
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ifeval::INSTRUCTIONS);
    for kind in ifeval::INSTRUCTIONS {
        let of_kind = || cases.iter().filter(|case| case.ids[0] == kind).map(|case| case.official.strict[0]);
        assert!(of_kind().any(|followed| followed) && of_kind().any(|followed| !followed), "{kind}: only one verdict");
    }
    let (verdicts, differences) = compare(&cases);
    assert_eq!(verdicts, 2000);
    assert!(differences.is_empty(), "{differences:#?}");
}

/// The published prompts with several responses each, made by `make_official.py IFEVAL TEXTS OUT`; run by hand:
/// `IFEVAL_CASES=OUT cargo test -p ifeval -- --ignored --nocapture`.
#[test]
#[ignore = "needs a file of cases, see README.md"]
fn every_prompt_of_the_published_set() {
    let path = std::env::var("IFEVAL_CASES").unwrap();
    let cases = cases(path.as_ref());
    let (verdicts, differences) = compare(&cases);
    let different: usize = differences.values().map(Vec::len).sum();
    println!("{} responses, {verdicts} verdicts, {different} differ", cases.len());
    for (kind, list) in &differences {
        println!(
            "{kind}: {}\n  {}",
            list.len(),
            list[..list.len().min(4)].join("\n  ").chars().take(3000).collect::<String>()
        );
    }
}
