//! Verdicts of the published filters against datatrove 0.10.1 on 10,000 seeded texts (tests/make_verdicts.py made the fixture).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use pretrain_data::filters::{C4, C4Paragraphs, Filter, FineWeb, GopherQuality, GopherRepetition, View};
use pretrain_data::made;
use serde_json::Value;

fn verdict(filter: &dyn Filter, text: &str, with_text: bool) -> String {
    let outcome = filter.judge(&View::new(text));
    if let Some(failed) = outcome.failed() {
        return failed.rule.clone();
    }
    if with_text {
        let text = outcome.text.as_deref().unwrap_or(text);
        return format!("text {}", &dataset::digest::bytes(text.as_bytes())[..8]);
    }
    String::new()
}

/// Compares every verdict with datatrove's, and prints the differences. Returns their number.
fn differences(texts: &[String], file: &Path) -> usize {
    let mut json = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_end(&mut json).unwrap();
    let expected: BTreeMap<String, Value> = serde_json::from_slice(&json).unwrap();
    assert_eq!(expected["texts"], dataset::digest::bytes(texts.concat().as_bytes()), "verdicts of other texts");
    let without = C4 { without: vec!["no_terminal_punct".into()], ..C4::default() };
    let filters: [(&str, &dyn Filter); 6] = [
        ("gopher-repetition", &GopherRepetition::default()),
        ("gopher-quality", &GopherQuality::default()),
        ("c4", &C4::default()),
        ("c4-without-terminal-punctuation", &without),
        ("c4-paragraphs", &C4Paragraphs::default()),
        ("fineweb", &FineWeb::default()),
    ];
    let mut differ = 0;
    for (name, filter) in filters {
        let theirs = expected[name].as_array().unwrap();
        let mut counts: BTreeMap<(String, String), (usize, usize)> = BTreeMap::new();
        let mut rules: BTreeMap<String, usize> = BTreeMap::new();
        for (at, (text, theirs)) in texts.iter().zip(theirs).enumerate() {
            let theirs = theirs.as_str().unwrap();
            let theirs = if theirs.starts_with("< ") { "long_lines" } else { theirs };
            let ours = verdict(filter, text, name.starts_with("c4") && !name.ends_with("paragraphs"));
            let kind =
                |verdict: &str| if verdict.starts_with("text ") { "kept".to_owned() } else { verdict.to_owned() };
            *rules.entry(kind(theirs)).or_default() += 1;
            if ours != theirs {
                counts.entry((kind(theirs), kind(&ours))).or_insert((0, at)).0 += 1;
            }
        }
        let here: usize = counts.values().map(|(count, _)| count).sum();
        println!("{name}: {here} of {} verdicts differ; datatrove's rules {rules:?}", texts.len());
        counts.iter().for_each(|((theirs, ours), (count, first))| {
            println!("  {count} where datatrove says {theirs:?} and herd says {ours:?}, first text {first}");
        });
        differ += here;
    }
    differ
}

#[test]
fn verdicts_are_datatroves() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/datatrove-verdicts.json.gz");
    let texts: Vec<String> = (0..10_000).map(|n| made::text(7, n)).collect();
    assert_eq!(differences(&texts, &file), 0);
}

/// `DATATROVE_TEXTS=texts.jsonl DATATROVE_VERDICTS=verdicts.json.gz cargo test -p pretrain-data --test main datatrove -- --ignored --nocapture`
/// compares the verdicts on other texts, which make_verdicts.py writes.
#[test]
#[ignore = "needs texts and their verdicts"]
fn verdicts_on_other_texts() {
    let [texts, verdicts] = ["DATATROVE_TEXTS", "DATATROVE_VERDICTS"].map(|name| std::env::var(name).unwrap());
    let record = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
    let texts: Vec<String> = std::fs::read_to_string(texts).unwrap().lines().map(record).collect();
    println!("{} differ", differences(&texts, Path::new(&verdicts)));
}
