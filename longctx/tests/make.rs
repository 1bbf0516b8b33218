//! `longctx make`.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Place, prose, read, said};

#[test]
fn the_same_seed_gives_the_same_bytes_and_every_answer_is_found_again() {
    let place = Place::new();
    let sizes = ["--buckets", "1k,2k,4k", "--count", "120", "--seed", "5"];
    let one = place.make("one", &[&sizes[..], &["--threads", "1"]].concat());
    assert!(one.status.success(), "{}", said(&one));
    let many = place.make("many", &[&sizes[..], &["--threads", "3"]].concat());
    assert!(many.status.success(), "{}", said(&many));
    let (one, many) = (read(&place.path("one/train.jsonl")), read(&place.path("many/train.jsonl")));
    assert!(one == many && one.lines().count() == 120);
    let checked = place.run(&["verify", "one/train.jsonl", "--tokenizer", "tokenizer"]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(
        said(&checked).contains("120 records, 120 right") && said(&checked).contains("0 wrong"),
        "{}",
        said(&checked)
    );
    for record in one.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()) {
        let meta = &record["meta"];
        let filled = meta["length_tokens"].as_f64().unwrap() / meta["bucket"].as_f64().unwrap();
        assert!((0.95..=1.0).contains(&filled), "{}: {filled}", record["id"]);
        assert_eq!(meta["licences"][0] == "CC0-1.0", meta["task"] != "key-value");
        assert_eq!((&record["capability"], &meta["split"]), (&"long-context".into(), &"train".into()));
    }
    let absent = one.lines().filter(|line| line.contains("\"not_in_text\":true")).count();
    assert_eq!(absent, 12);
    // Another seed, other records.
    let seeded = |output: &str, seed: &str| {
        let flags = ["--buckets", "2k", "--count", "20", "--tasks", "extract,facts", "--seed", seed];
        let made = place.make(output, &flags);
        assert!(made.status.success(), "{}", said(&made));
        read(&place.path(output).join("train.jsonl"))
    };
    assert!(seeded("six", "6") != seeded("seven", "7"));
    // A finished run is not made again; another configuration in its folder is refused.
    let again = place.make("one", &[&sizes[..], &["--threads", "1"]].concat());
    assert!(said(&again).contains("is finished already"), "{}", said(&again));
    let refused = place.make("one", &["--buckets", "1k", "--count", "120", "--seed", "5"]);
    assert!(!refused.status.success() && said(&refused).contains("buckets"), "{}", said(&refused));
}

#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let place = Place::new();
    let flags = ["--buckets", "2k,4k", "--count", "400", "--seed", "2", "--threads", "1"];
    assert!(place.make("whole", &flags).status.success());
    let whole = read(&place.path("whole/train.jsonl"));
    let mut killed = 0;
    for (number, share) in [0.02, 0.3, 0.6].into_iter().enumerate() {
        let output = format!("killed-{number}");
        let words =
            ["make", "--texts", "texts", "--tokenizer", "tokenizer", "--licence", "CC0-1.0", "--output", &output];
        let mut child =
            place.command(&[&words[..], &flags].concat()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let partial = place.path(&output).join("train.jsonl.partial");
        let wanted = (whole.len() as f64 * share) as u64;
        let begun = Instant::now();
        while std::fs::metadata(&partial).map_or(0, |file| file.len()) < wanted
            && child.try_wait().unwrap().is_none()
            && begun.elapsed() < Duration::from_secs(60)
        {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += usize::from(!place.path(&output).join("train.jsonl").exists());
        let again = place.make(&output, &flags);
        assert!(again.status.success(), "{}", said(&again));
        assert!(read(&place.path(&output).join("train.jsonl")) == whole, "killed at {share}");
    }
    assert!(killed > 0, "no run was killed before its end");
}

#[test]
fn training_and_evaluation_share_no_document_and_no_key() {
    let place = Place::new();
    let flags = ["--buckets", "2k", "--count", "60"];
    assert!(place.make("train", &flags).status.success());
    let held_out = place.make("evaluation", &[&flags[..], &["--split", "evaluation"]].concat());
    assert!(held_out.status.success(), "{}", said(&held_out));
    let listed = |file: &str, field: &str| -> std::collections::BTreeSet<String> {
        let text = read(&place.path(file));
        let records = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of = |record: serde_json::Value| record["meta"][field].as_array().unwrap().clone();
        records.flat_map(of).map(|value| value.as_str().unwrap().to_owned()).collect()
    };
    for field in ["haystacks", "keys", "templates"] {
        let (train, held_out) = (listed("train/train.jsonl", field), listed("evaluation/evaluation.jsonl", field));
        assert!(!train.is_empty() && !held_out.is_empty());
        assert_eq!(train.intersection(&held_out).count(), 0, "{field}");
    }
    let checked = place.run(&["verify", "evaluation/evaluation.jsonl", "--tokenizer", "tokenizer"]);
    assert!(checked.status.success(), "{}", said(&checked));
}

#[test]
fn documents_that_share_a_window_with_the_other_side_are_left_out_and_named() {
    let place = Place::new();
    let paragraph = prose(3, 1);
    std::fs::write(place.path("other.txt"), format!("Before it.\n\n{}", paragraph.trim())).unwrap();
    let made = place.make("out", &["--buckets", "1k", "--count", "10", "--decontaminate", "other.txt"]);
    assert!(made.status.success(), "{}", said(&made));
    assert!(said(&made).contains("1 documents that share 13 words with --decontaminate"), "{}", said(&made));
    assert!(said(&made).contains("left out: 03.txt shares \""), "{}", said(&made));
}

#[test]
fn what_cannot_be_made_is_a_sentence() {
    let place = Place::new();
    let sentence = |more: &[&str]| said(&place.make("none", more));
    let long = sentence(&["--buckets", "128k", "--count", "10"]);
    assert!(long.contains("no extract of 131072 tokens") && long.contains("the texts of the split have"), "{long}");
    assert!(sentence(&["--tasks", "needles"]).contains("--tasks needles: known are all, extract, order"));
    assert!(sentence(&["--buckets", "16q"]).contains("--buckets: 16q: give tokens as 4096 or 16k"));
    let without = place.run(&["make", "--tokenizer", "tokenizer", "--output", "x", "--count", "10"]);
    assert!(
        said(&without).contains("--tasks extract: give --texts, or a task that needs none (key-value"),
        "{}",
        said(&without)
    );
    let keys = place.run(&[
        "make",
        "--tokenizer",
        "tokenizer",
        "--output",
        "k",
        "--tasks",
        "key-value",
        "--buckets",
        "2k",
        "--count",
        "20",
    ]);
    assert!(keys.status.success(), "{}", said(&keys));
}
