//! Answers as language models spell them, with the expected verdicts. The rows of `cases.jsonl` have the fields `kind`,
//! `pred`, `gold` and `equal`; they are written for this crate. `benches/peer.rs` runs Math-Verify on the same rows.
use std::collections::BTreeMap;

use mathverify::{Options, verify};
use serde_json::Value;

#[test]
fn spellings_of_model_outputs() {
    let options = Options::default();
    let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in include_str!("cases.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let (pred, gold) = (row["pred"].as_str().unwrap(), row["gold"].as_str().unwrap());
        let expected = row["equal"].as_bool().unwrap();
        let verdict = verify(pred, gold, &options);
        let count = kinds.entry(row["kind"].as_str().unwrap().to_owned()).or_default();
        count.0 += 1;
        if verdict.is_equal() == expected {
            count.1 += 1;
        } else {
            wrong.push(format!("{pred:?} and {gold:?}, expected {expected}: {verdict:?}"));
        }
        // A reference is always equal to itself.
        assert!(verify(gold, gold, &options).is_equal(), "{gold:?} against itself");
    }
    for (kind, (all, right)) in kinds {
        println!("{kind}: {right} of {all}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
