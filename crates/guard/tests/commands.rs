//! `herd safety guard train | eval | check` without libtorch, on records that are made here.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// The program of this crate's commands.
const GUARD: &str = env!("CARGO_BIN_EXE_herd-guard");

/// A word that only unsafe records have, and that no output may hold.
const SECRET: &str = "xyzzyplugh";

fn line(id: &str, text: &str, category: Option<&str>, source: &str, group: &str) -> String {
    let mut record = json!({"id": id, "messages": [{"role": "user", "content": text}], "label": "safe", "source": source,
        "language": "en", "group": group});
    if let Some(category) = category {
        record["label"] = "unsafe".into();
        record["categories"] = json!([category]);
    }
    format!("{record}\n")
}

/// Records of two categories and harmless ones with the same nouns; `part` makes them distinct.
fn records(part: &str, count: usize) -> String {
    let mut lines = String::new();
    for n in 0..count {
        for (category, noun) in [("S1", "apple"), ("S10", "banana")] {
            let (bad, good) = (format!("{SECRET} the {noun} {part}{n}"), format!("enjoy the {noun} {part}{n}"));
            lines +=
                &line(&format!("{part}-bad-{noun}-{n}"), &bad, Some(category), "plain", &format!("{part}{noun}{n}"));
            lines += &line(&format!("{part}-good-{noun}-{n}"), &good, None, "plain", &format!("{part}{noun}{n}"));
            let edge = format!("history of the {noun} {part}{n}");
            lines += &line(&format!("{part}-edge-{noun}-{n}"), &edge, None, "contrast", &format!("{part}{noun}{n}"));
        }
    }
    lines
}

struct Output {
    ok: bool,
    text: String,
}

fn guard(words: &[&str]) -> Output {
    let output = Command::new(GUARD).args(words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!text.contains(SECRET), "a harmful text was printed: {words:?}");
    Output { ok: output.status.success(), text }
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    ["linear.bin", "policy.toml", "seen.txt", "guard.toml"]
        .iter()
        .map(|name| fs::read(folder.join(name)).unwrap())
        .collect()
}

#[test]
fn a_guard_is_made_measured_and_asked() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    fs::write(at("train.jsonl"), records("t", 40)).unwrap();
    fs::write(at("test.jsonl"), records("v", 15)).unwrap();
    let (train, test) = (at("train.jsonl"), at("test.jsonl"));
    for folder in ["a", "b"] {
        let made = guard(&["train", "--data", &train, "--test-data", &test, "--output", &at(folder)]);
        assert!(made.ok, "{}", made.text);
        assert!(
            made.text.contains("threshold") && made.text.contains("unsafe records by category: S1"),
            "{}",
            made.text
        );
    }
    let folder = dir.path().join("a");
    assert_eq!(bytes(&folder), bytes(&dir.path().join("b")), "the same command gives the same bytes");
    let again = guard(&["train", "--data", &train, "--test-data", &test, "--output", &at("a")]);
    assert!(again.text.contains("is finished already"), "{}", again.text);

    // A run that was killed before its card goes on, with the same bytes.
    let before = bytes(&folder);
    for name in ["guard.toml", "seen.txt"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    let mut record: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    record["finished"] = false.into();
    fs::write(folder.join("run.json"), record.to_string()).unwrap();
    let again = guard(&["train", "--data", &train, "--test-data", &test, "--output", &at("a")]);
    assert!(again.ok && bytes(&folder) == before, "{}", again.text);

    let measured =
        guard(&["eval", "--guard", &at("a"), "--data", &test, "--output", &at("e"), "--toggles", "--robustness", "5"]);
    assert!(measured.ok, "{}", measured.text);
    let report: Value = serde_json::from_slice(&fs::read(at("e/report.json")).unwrap()).unwrap();
    let all = &report["parts"][0]["figures"];
    assert_eq!((&all["safe"], &all["unsafe_"]), (&json!(60), &json!(30)));
    assert!(all["auprc"].as_f64().unwrap() > 0.95, "{all}");
    // Records of a category turn safe without it, others stay.
    for toggle in report["toggles"].as_array().unwrap() {
        let (own, others) = (&toggle["own"], &toggle["others"]);
        assert!(own[0] == 15 && own[1].as_u64().unwrap() >= 12, "{toggle}");
        assert!(others[1].as_f64().unwrap() >= 0.95 * others[0].as_f64().unwrap(), "{toggle}");
    }
    assert_eq!(report["robustness"].as_array().unwrap().len(), 6);
    for name in ["e/items.jsonl", "e/report.json", "e/report.html", "e/run.json", "a/guard.toml", "a/run.json"] {
        assert!(!fs::read_to_string(at(name)).unwrap().contains(SECRET), "{name}");
    }
    assert_eq!(fs::metadata(at("e/items.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(at("e/items.jsonl")).unwrap().lines().count(), 90);

    // The command refuses to measure on the training data.
    let seen = guard(&["eval", "--guard", &at("a"), "--data", &train, "--output", &at("f")]);
    assert!(!seen.ok && seen.text.contains("240 of 240 records were trained or calibrated on"), "{}", seen.text);

    // Verdicts for pipes.
    let verdicts = guard(&["check", "--guard", &at("a"), "--input", &test]);
    let lines: Vec<Value> = verdicts.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["id"], &lines[0]["label"]), (90, &json!("v-bad-apple-0"), &json!("unsafe")));
    assert_eq!((&lines[0]["violated"][0], &lines[1]["label"]), (&json!("S1"), &json!("safe")));
    let off = guard(&["check", "--guard", &at("a"), "--guard-categories", "hate", "--input", &test]);
    let off: Vec<Value> = off.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let flagged = |noun: &str| {
        off.iter().filter(|one| one["label"] == "unsafe" && one["id"].as_str().unwrap().contains(noun)).count()
    };
    assert!(flagged("apple") <= 3 && flagged("banana") >= 12, "{} {}", flagged("apple"), flagged("banana"));
    assert!(off.iter().all(|one| one["categories"].as_object().unwrap().keys().eq(["S10"])));
    let text = guard(&["check", "--guard", &at("a"), "enjoy the apple"]);
    assert!(text.ok && text.text.contains("\"label\":\"safe\""), "{}", text.text);
    assert!(!guard(&["check", "--guard", &at("a"), "--guard-categories", "S99", "x"]).ok);
}

#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    fs::write(at("train.jsonl"), records("t", 60)).unwrap();
    let train = at("train.jsonl");
    let start = std::time::Instant::now();
    assert!(guard(&["train", "--data", &train, "--output", &at("whole")]).ok);
    let whole = start.elapsed();
    for part in 1..=6 {
        let mut killed = Command::new(GUARD)
            .args(["train", "--data", &train, "--output", &at("killed")])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole * part / 7);
        // SIGKILL.
        killed.kill().unwrap();
        killed.wait().unwrap();
    }
    let again = guard(&["train", "--data", &train, "--output", &at("killed")]);
    assert!(again.ok, "{}", again.text);
    assert_eq!(bytes(&dir.path().join("killed")), bytes(&dir.path().join("whole")));
}

#[test]
fn data_that_teaches_the_wrong_thing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (train, out) = (at("train.jsonl"), at("g"));
    let number = std::cell::Cell::new(0);
    let refused = |text: &str, more: &[&str], what: &str| {
        fs::write(&train, text).unwrap();
        let out = at(&format!("g{}", number.replace(number.get() + 1)));
        let made = guard(&[&["train", "--data", &train, "--output", &out], more].concat());
        assert!(!made.ok && made.text.contains(what), "{}", made.text);
    };
    let unsafe_only: String =
        records("t", 20).lines().filter(|line| line.contains(SECRET)).map(|l| format!("{l}\n")).collect();
    refused(&unsafe_only, &[], "records are unsafe: the guard would learn that");
    refused(&unsafe_only, &["--allow-unbalanced"], "have one label only");
    refused(
        &records("t", 20).replace("\"S10\"", "\"S100\""),
        &[],
        "train.jsonl:4: categories: \"S100\" is no category",
    );
    refused(&records("t", 20).replace("\"unsafe\"", "\"bad\""), &[], "train.jsonl:1: label is neither");
    refused(&records("t", 20), &["--fpr", "2"], "--fpr is 2; it must be at least 0 and below 1");
    refused(&records("t", 20), &["--calibrate-share", "0"], "nothing is held out to set a threshold on");
    refused(&records("t", 20), &["--policy", "ailuminate-12"], "is no category of the policy ailuminate-12");
    // A record of the test set in the training data.
    fs::write(at("test.jsonl"), records("t", 2)).unwrap();
    let test = at("test.jsonl");
    refused(&records("t", 20), &["--test-data", &test], "records of --data are in --test-data too");
    let made = guard(&["train", "--data", &train, "--output", &out, "--test-data", &test, "--drop-overlap"]);
    assert!(made.ok && made.text.contains("12 records left out of --data"), "{}", made.text);
    let none = guard(&["check", "--guard", &at("nowhere"), "x"]);
    assert!(!none.ok && none.text.contains("is not a guard: it has no guard.toml"), "{}", none.text);
}
