//! A whole round of post-training, every stage on the output of the one before it: uninterrupted, and killed
//! repeatedly.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::common::{herd_run, kill, results, said};
use serde_json::Value;

/// The quick recipe with one epoch of demonstrations, which is enough for some right answers.
fn quick(output: &Path) -> Command {
    let mut command = herd_run(Path::new("recipes/quick.toml"), output);
    command.args(["--set", "epochs=1"]);
    command
}

fn succeed(output: &Path) -> String {
    let output = quick(output).output().unwrap();
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    text
}

/// The only test in every run that runs every stage on the output of the stage before it.
#[test]
fn the_quick_round_runs_through_and_is_not_run_twice() {
    let folder = tempfile::tempdir().unwrap();
    let text = succeed(folder.path());
    assert!(text.contains("after against before, paired by item") && text.contains("11 stages done"), "{text}");
    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    for part in
        ["<h2>Results</h2>", "<h2>Answers</h2>", "<h2>Training</h2>", "\">dpo</a><td>done", "herd average --models"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let text = succeed(folder.path());
    assert_eq!(text.matches("done before").count(), 11, "{text}");
    records_have_the_same_keys(folder.path());
    // The stages that are repeated in seconds; the ignored test repeats all of them.
    for stage in ["03-practice", "09-dpo", "10-average/model"] {
        repeated(folder.path(), stage);
    }
}

/// The keys of every `run.json` of a round, except those below `stage`; for a list, those of its elements.
fn records_have_the_same_keys(round: &Path) {
    fn keys(place: &str, value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(key, value)| {
                let place = format!("{place}/{key}");
                if !["/stage/config", "/stage/figures"].contains(&&*place) {
                    keys(&place, value, found);
                }
                found.insert(place);
            }),
            Value::Array(items) => items.iter().for_each(|item| keys(&format!("{place}[]"), item, found)),
            _ => {}
        }
    }
    let all: Vec<(&str, BTreeSet<String>)> = RECORDS
        .iter()
        .map(|stage| {
            let mut found = BTreeSet::new();
            keys(
                "",
                &serde_json::from_slice(&fs::read(round.join(stage).join("run.json")).unwrap()).unwrap(),
                &mut found,
            );
            // Lists that may be empty.
            found.retain(|key| !key.starts_with("/inputs[]") && !key.starts_with("/resumed[]"));
            (*stage, found)
        })
        .collect();
    let (first, expected) = &all[0];
    assert!(expected.contains("/stage/figures") && expected.contains("/hardware/threads"), "{expected:?}");
    for (stage, found) in &all {
        assert_eq!(found, expected, "{stage} and {first} have different keys");
    }
}

/// The folders of the quick round that have a record, for every kind of command.
const RECORDS: [&str; 10] = [
    "02-demonstrations",
    "03-practice",
    "04-before",
    "05-seed",
    "06-seeded",
    "07-sample",
    "08-sft",
    "09-dpo",
    "10-average/model",
    "11-after",
];

/// Checks that `herd again` makes the same bytes.
fn repeated(round: &Path, stage: &str) {
    let output = round.join("again").join(stage);
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    command.arg("again").arg(round.join(stage)).arg("--output").arg(&output);
    let text = said(&command.output().unwrap());
    assert!(text.contains("the same bytes") && !text.contains("may differ"), "{stage}: {text}");
}

#[test]
#[ignore = "a round, and every stage of it again"]
fn every_folder_of_a_round_is_repeated_with_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    succeed(folder.path());
    for stage in RECORDS {
        repeated(folder.path(), stage);
    }
    // The error names an input that has changed.
    let input = folder.path().join("07-sample/pairs.jsonl");
    fs::write(&input, fs::read_to_string(&input).unwrap() + "\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    let text = said(&command.arg("again").arg(folder.path().join("09-dpo")).output().unwrap());
    assert!(text.contains("data: ") && text.contains("pairs.jsonl has changed"), "{text}");
}

#[test]
#[ignore = "two whole rounds: many minutes"]
fn a_round_that_is_killed_in_its_stages_ends_with_the_files_of_one_that_is_not() {
    let whole = tempfile::tempdir().unwrap();
    succeed(whole.path());
    let killed = tempfile::tempdir().unwrap();
    let (pipeline, stage) = (false, true);
    for (at, wait, who) in [
        ("04-before", 300, pipeline),
        ("05-seed", 4000, pipeline),
        ("05-seed", 8000, stage),
        ("07-sample", 1500, pipeline),
        ("07-sample", 1500, stage),
        ("08-sft", 700, stage),
        ("09-dpo", 1000, pipeline),
        ("11-after", 300, pipeline),
    ] {
        let text = kill(quick(killed.path()), killed.path(), at, Duration::from_millis(wait), who);
        assert!(who == pipeline || text.contains("signal"), "{at}: {text}");
    }
    let text = succeed(killed.path());
    assert!(text.contains("11 stages done"), "{text}");
    let (whole, killed) = (results(whole.path()), results(killed.path()));
    assert!(whole.len() > 15, "{:?}", whole.keys());
    assert_eq!(whole.keys().collect::<Vec<_>>(), killed.keys().collect::<Vec<_>>());
    for (place, bytes) in &whole {
        assert!(killed[place] == *bytes, "{place} differs after the kills");
    }
}
