//! Searches for false equals and missed equals with generated pairs: of pairs that differ by construction, none may be
//! called equal; of pairs that are equal by construction, hardly any may be missed.
//!
//! `cargo test -p mathverify --test main false_equal` takes a second or two. With `-- --ignored --nocapture`, each of
//! the three long tests judges 50,000 pairs. `MATHVERIFY_HUNT=200000` sets another number, and `MATHVERIFY_SHOW=300`
//! prints the first 300 pairs of each test.
use crate::common;
use crate::hunt;

use std::collections::BTreeMap;

use hunt::{Pair, Random, changed, mutated, reshaped, respelled, structured};
use mathverify::{Options, verify};

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Judges pairs and prints the counts by kind; returns the pairs called equal, and the others.
fn judge(pairs: impl Iterator<Item = Pair>) -> (Vec<Pair>, Vec<Pair>) {
    let options = Options::default();
    let show = setting("MATHVERIFY_SHOW", 0);
    let mut kinds: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let (mut equal, mut rest) = (Vec::new(), Vec::new());
    for (i, pair) in pairs.enumerate() {
        let verdict = verify(&pair.pred, &pair.gold, &options);
        if i < show {
            println!("{}: {:?} | {:?} -> {:?}: {}", pair.kind, pair.pred, pair.gold, verdict.verdict, verdict.reason);
        }
        let count = kinds.entry(pair.kind).or_default();
        count.0 += 1;
        count.1 += usize::from(verdict.is_equal());
        if verdict.is_equal() { equal.push(pair) } else { rest.push(pair) }
    }
    for (kind, (all, equal)) in kinds {
        println!("{kind}: {equal} of {all} called equal");
    }
    (equal, rest)
}

fn none_equal(equal: &[Pair]) {
    let shown: Vec<String> =
        equal.iter().take(40).map(|p| format!("{}: {:?} = {:?}", p.kind, p.pred, p.gold)).collect();
    assert!(equal.is_empty(), "{} false equals:\n{}", equal.len(), shown.join("\n"));
}

fn templates(count: usize) {
    let mut random = Random::new(18);
    let (equal, rest) =
        judge((0..count).map(|i| if i % 2 == 0 { changed::pair(&mut random) } else { structured::pair(&mut random) }));
    assert_eq!(equal.len() + rest.len(), count);
    none_equal(&equal);
}

fn respellings(count: usize) -> usize {
    let mut random = Random::new(19);
    let (equal, rest) = judge((0..count).map(|_| respelled::pair(&mut random)));
    println!("{} of {} respellings missed", rest.len(), count);
    for pair in rest.iter().take(40) {
        println!("  missed, {}: {:?} and {:?}", pair.kind, pair.pred, pair.gold);
    }
    assert_eq!(equal.len() + rest.len(), count);
    rest.len()
}

#[test]
fn changed_answers_are_not_equal() {
    templates(4_000);
}

#[test]
fn respelled_answers_are_equal() {
    assert_eq!(respellings(2_000), 0);
}

#[test]
#[ignore = "long: 50,000 pairs"]
fn many_changed_answers_are_not_equal() {
    templates(setting("MATHVERIFY_HUNT", 50_000));
}

#[test]
#[ignore = "long: 50,000 pairs"]
fn many_respelled_answers_are_equal() {
    let count = setting("MATHVERIFY_HUNT", 50_000);
    let missed = respellings(count);
    assert!(missed * 1_000 <= count, "{missed} missed");
}

/// References of the public data sets beside the repository with one change; the kinds of changes are equally frequent.
#[test]
#[ignore = "long: 50,000 pairs of ../shared/data"]
fn changed_references_are_not_equal() {
    let count = setting("MATHVERIFY_HUNT", 50_000);
    let references = references();
    assert!(!references.is_empty(), "../shared/data is not there");
    let mut random = Random::new(setting("MATHVERIFY_SEED", 20) as u64);
    let mut made = 0;
    let pairs = std::iter::from_fn(|| {
        while made < count {
            let reference = &references[(random.next() % references.len() as u64) as usize];
            let kind = made % (mutated::KINDS.len() + reshaped::KINDS.len());
            let pair = match mutated::KINDS.get(kind) {
                Some(kind) => mutated::pair(&mut random, reference, kind),
                None => reshaped::pair(&mut random, reference, reshaped::KINDS[kind - mutated::KINDS.len()]),
            };
            if let Some(pair) = pair {
                made += 1;
                return Some(pair);
            }
        }
        None
    });
    let (equal, _) = judge(pairs);
    none_equal(&equal);
}

/// Reference answers of several public data sets.
fn references() -> Vec<String> {
    let mut out = Vec::new();
    for (file, field) in
        [("mawps", "target"), ("svamp", "Answer"), ("olympiadbench", "final_answer"), ("cmath", "answer")]
    {
        let Some(path) = common::data(&format!("math_more/{file}.jsonl.gz")) else { continue };
        for row in common::rows(&path) {
            match &row[field] {
                serde_json::Value::Array(parts) => {
                    out.extend(parts.iter().filter_map(|p| p.as_str()).map(str::to_owned));
                }
                serde_json::Value::String(s) => out.push(s.clone()),
                _ => {}
            }
        }
    }
    for file in ["math_verify", "nemo_skills", "hendrycks_math"] {
        let Some(path) = common::data(&format!("mathverify/{file}.jsonl")) else { continue };
        out.extend(common::rows(&path).iter().filter_map(|r| r["gold"].as_str().map(str::to_owned)));
    }
    out
}
