//! Agreement with the expected verdicts of public test suites and with those of human checkers.
use crate::common;

use std::collections::BTreeSet;

use mathverify::{Options, verify};

/// Confusion table of one source: counts of right verdicts, and the places of wrong ones.
#[derive(Default)]
struct Table {
    true_equal: usize,
    true_different: usize,
    false_equal: Vec<String>,
    missed: Vec<String>,
}

fn judge(name: &str, options: &Options) -> Option<Table> {
    let path = common::data(&format!("mathverify/{name}"))?;
    let mut table = Table::default();
    for row in common::rows(&path) {
        let (pred, gold) = (row["pred"].as_str().unwrap(), row["gold"].as_str().unwrap());
        let verdict = verify(pred, gold, options);
        let place = row["ref"].as_str().unwrap_or("").to_owned();
        match (row["expected"].as_bool().unwrap(), verdict.is_equal()) {
            (true, true) => table.true_equal += 1,
            (false, false) => table.true_different += 1,
            (false, true) => table.false_equal.push(place),
            (true, false) => {
                if std::env::var_os("MATHVERIFY_MISSED").is_some() {
                    println!("missed: {pred:?} and {gold:?}: {}", verdict.reason);
                }
                table.missed.push(place);
            }
        }
    }
    println!(
        "{name}: {} equal, {} different, {} false equal {:?}, {} missed",
        table.true_equal,
        table.true_different,
        table.false_equal.len(),
        table.false_equal,
        table.missed.len()
    );
    Some(table)
}

#[test]
fn gsm8k_model_outputs() {
    let Some(table) = judge("gsm8k_model_solutions.jsonl.gz", &Options::default()) else { return };
    assert_eq!(table.false_equal.len(), 0);
    let outputs = table.true_equal + table.true_different + table.missed.len();
    assert_eq!(outputs, 5_276);
    assert!(table.missed.len() * 1000 <= outputs, "{} missed", table.missed.len());
}

/// Math-Verify's own tests. The README lists every test that disagrees, with the reason.
#[test]
fn math_verify_own_tests() {
    let Some(table) = judge("math_verify.jsonl", &Options::default()) else { return };
    let places = |v: &[String]| v.iter().cloned().collect::<BTreeSet<_>>();
    let known = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
    // A formula with line breaks inside its delimiters, and a pair that Math-Verify calls equal in the other order.
    let false_equal = known(&["tests/test_all.py:132", "tests/test_all.py:133", "tests/test_all.py:907"]);
    // Pairs that differ here: `0.33` and `1/3`, `f(y)` and `f(x)`, `1 + 1/e` and `1 - 1/e`.
    let missed = known(&["tests/test_all.py:586", "tests/test_strict.py:8", "tests/test_yujianll.py:28"]);
    assert_eq!(places(&table.false_equal), false_equal);
    assert_eq!(places(&table.missed), missed);
}

#[test]
fn other_graders_tests() {
    if let Some(table) = judge("nemo_skills.jsonl", &Options::default()) {
        assert_eq!((table.false_equal.len(), table.missed.len()), (0, 0));
    }
    // Hendrycks' grader compares strings, so the order of a list counts.
    let ordered = Options { ordered_lists: true, ..Options::default() };
    if let Some(table) = judge("hendrycks_math.jsonl", &ordered) {
        assert_eq!((table.false_equal.len(), table.missed.len()), (0, 0));
    }
    if let Some(table) = judge("lighteval.jsonl", &Options::default()) {
        assert_eq!(table.false_equal.len(), 0);
        assert!(table.missed.len() <= 2, "{:?}", table.missed);
    }
}

/// Pairs from the tests of a LaTeX parser. Their source calls all of them equal, so only misses can occur.
#[test]
fn latex2sympy_pairs() {
    let Some(table) = judge("latex2sympy2_ext.jsonl", &Options::default()) else { return };
    // Here, a logarithm without a base does not equal `\ln x`, and `[x]` does not equal `x`.
    assert!(table.true_equal >= 966, "{} equal", table.true_equal);
}

/// Every reference answer equals itself, and equals another one only if both are the same number.
#[test]
fn references_against_themselves_and_others() {
    let mut golds: Vec<String> = Vec::new();
    for (file, field) in [
        ("cmath", "answer"),
        ("mawps", "target"),
        ("svamp", "Answer"),
        ("aqua", "correct"),
        ("olympiadbench", "final_answer"),
    ] {
        let Some(path) = common::data(&format!("math_more/{file}.jsonl.gz")) else { return };
        for row in common::rows(&path) {
            match &row[field] {
                serde_json::Value::Array(parts) => {
                    golds.push(parts.iter().filter_map(|p| p.as_str()).collect::<Vec<_>>().join(", "));
                }
                serde_json::Value::String(s) => golds.push(s.clone()),
                serde_json::Value::Null => {}
                other => golds.push(other.to_string()),
            }
        }
    }
    for file in ["train", "test"] {
        let Some(path) = common::data(&format!("gsm8k/{file}.jsonl.gz")) else { return };
        for row in common::rows(&path) {
            golds.push(row["answer"].as_str().unwrap().rsplit("####").next().unwrap().trim().to_owned());
        }
    }
    golds.retain(|g| !g.is_empty());
    println!("{} references", golds.len());
    assert!(golds.len() > 13_000);
    let options = Options::default();
    let mut crossed = 0;
    for (i, gold) in golds.iter().enumerate() {
        assert!(verify(gold, gold, &options).is_equal(), "{gold:?} against itself");
        for step in [1, 7, 31, 101, 257] {
            let other = &golds[(i + step) % golds.len()];
            if other != gold && verify(gold, other, &options).is_equal() {
                crossed += 1;
                assert!(same_number(gold, other), "{gold:?} = {other:?}");
            }
        }
    }
    println!("{crossed} pairs of different spelling say the same number");
}

/// Whether two different references are one number in two spellings: `3.0` and `$k=3$`, `12` and `12%`.
fn same_number(a: &str, b: &str) -> bool {
    let number = |s: &str| -> Option<f64> {
        let s = s.rsplit('=').next()?.trim_matches(|c: char| "$ %\\".contains(c)).replace(',', "");
        match s.split_once('/') {
            Some((n, d)) => Some(n.parse::<f64>().ok()? / d.parse::<f64>().ok()?),
            None => s.parse().ok(),
        }
    };
    matches!((number(a), number(b)), (Some(x), Some(y)) if (x - y).abs() < 1e-12)
}
