//! Cases from public bug reports with the verdict that each report expects (`../shared/field/mathverify-open.jsonl`;
//! skipped if this file is missing).
use crate::common;

use std::collections::BTreeMap;

use mathverify::{Options, verify};

/// Ids of cases whose expected verdict is wrong in our view; each needs the reason in a comment.
const NOT_SHARED: [&str; 0] = [];

#[test]
fn public_reports() {
    let Some(path) = common::shared("field", "mathverify-open.jsonl") else { return };
    let mut kinds: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in common::rows(&path) {
        let id = row["id"].as_str().unwrap();
        let input = &row["input"];
        // Records of other shapes for the HTTP worker (M14) are tested in `serve.rs`.
        let (Some(pred), Some(gold)) = (input["pred"].as_str(), input["gold"].as_str()) else { continue };
        if !input["options"].is_null() {
            continue;
        }
        let expected = row["expected"].as_str().unwrap() == "equal";
        let verdict = verify(pred, gold, &Options::default());
        let kind = row["fault"].as_str().unwrap().split(' ').next().unwrap().to_owned();
        let count = kinds.entry(kind).or_default();
        count.0 += 1;
        if verdict.is_equal() == expected || NOT_SHARED.contains(&id) {
            count.1 += 1;
        } else {
            wrong.push(format!(
                "{id} {pred:?} and {gold:?}, expected {}: {:?} {:?} {:?}: {}",
                row["expected"], verdict.verdict, verdict.pred_answer, verdict.gold_answer, verdict.reason
            ));
        }
    }
    for (kind, (all, right)) in kinds {
        println!("{kind}: {right} of {all}");
    }
    assert!(wrong.is_empty(), "{} disagree:\n{}", wrong.len(), wrong.join("\n"));
}
