//! The `mathverify` binary: input files, verdicts, and error messages on standard error.
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mathverify")).args(args).current_dir(dir).output().unwrap()
}

fn write(dir: &Path, name: &str, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    std::fs::write(dir.join(name), lines.join("\n") + "\n").unwrap();
}

fn read(dir: &Path, name: &str) -> Vec<Value> {
    std::fs::read_to_string(dir.join(name)).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn check_writes_verdicts_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows: Vec<Value> =
        (0..5_000).map(|i| json!({"id": i, "pred": format!("so \\boxed{{{i}}}"), "gold": i - i % 2})).collect();
    rows.push(json!({"pred": "hm", "gold": "3"}));
    write(dir.path(), "pairs.jsonl", &rows);
    let out = run(dir.path(), &["check", "--input", "pairs.jsonl", "--output", "verdicts.jsonl"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let summary = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(summary.contains("5001 pairs: 2500 equal"), "{summary}");
    let verdicts = read(dir.path(), "verdicts.jsonl");
    assert_eq!(verdicts.len(), 5_001);
    for (i, v) in verdicts.iter().take(5_000).enumerate() {
        assert_eq!(v["id"], i);
        assert_eq!(v["verdict"], if i % 2 == 0 { "equal" } else { "different" }, "{v}");
        assert_eq!(v["pred_answer"], i.to_string());
        assert_eq!(v["pred_form"], "boxed");
    }
    // One thread writes the same verdicts to standard output.
    let one = run(dir.path(), &["check", "--input", "pairs.jsonl", "--threads", "1"]);
    assert_eq!(one.stdout, std::fs::read(dir.path().join("verdicts.jsonl")).unwrap());
}

#[test]
fn steps_takes_solutions_and_lists_of_steps() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [
        json!({"id": "a", "problem": "?", "solution": "2*3=<<2*3=6>>6\n6+1=<<6+1=8>>8\n#### 8", "gold": "7"}),
        json!({"id": "b", "steps": ["We have 5 + 5 = 10.", "So \\boxed{10}."], "gold": 10}),
    ];
    write(dir.path(), "solutions.jsonl", &rows);
    let out = run(dir.path(), &["steps", "--input", "solutions.jsonl", "--output", "out.jsonl"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let verdicts = read(dir.path(), "out.jsonl");
    assert_eq!(verdicts[0]["first_wrong"], 1);
    assert_eq!(verdicts[0]["steps"][1]["claims"][0]["expected"], "7");
    assert_eq!(verdicts[0]["verdict"]["verdict"], "different");
    assert_eq!(verdicts[1]["first_wrong"], Value::Null);
    assert_eq!(verdicts[1]["answer_follows"], true);
    assert_eq!(verdicts[1]["verdict"]["verdict"], "equal");
}

#[test]
fn mistakes_get_a_sentence_and_exit_code_1() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.jsonl"), "{\"pred\": \"1\", \"gold\": \"1\"}\n{\"pred\": \"1\"}\n").unwrap();
    let out = run(dir.path(), &["check", "--input", "bad.jsonl", "--output", "out.jsonl"]);
    assert_eq!(out.status.code(), Some(1));
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    let sentence =
        "bad.jsonl:2: `gold` is missing: a pair needs `pred` (the answer to judge, which may be null) and `gold`";
    assert!(message.contains(sentence), "{message}");
    assert!(!dir.path().join("out.jsonl").exists());

    let out =
        run(dir.path(), &["check", "--input", "bad.jsonl", "--output", "out.jsonl", "--rejected", "rejected.jsonl"]);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(message.contains("1 pair: 1 equal"), "{message}");
    let told = "; 1 line set aside in rejected.jsonl:\n  1 x `gold` is missing: a pair needs ";
    assert!(message.contains(told) && message.contains("(first: bad.jsonl:2)"), "{message}");
    assert_eq!(read(dir.path(), "out.jsonl").len(), 1);

    let out = run(dir.path(), &["check", "--input", "none.jsonl"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("none.jsonl"));

    for (command, row, sentence) in [
        ("check", json!({"prediction": "1", "gold": "1"}), "`pred` is missing: a pair needs `pred`"),
        ("check", json!({"pred": {}, "gold": "1"}), "`pred` has to be a text, a number, null"),
        (
            "check",
            json!({"pred": "1", "gold": "1", "options": 3}),
            "`options` has to be an object, not 3: a pair needs",
        ),
        ("check", json!([1]), "expected a pair: an object with `pred` and `gold`"),
        ("steps", json!({"text": "x"}), "`solution` is missing: a record needs `solution` (a text) or `steps`"),
        ("steps", json!({"steps": "x"}), "`steps` has to be a list of texts; a text is the `solution`"),
    ] {
        // The tested row is the second one: a file that starts with a list is read as a list of records.
        let first = if command == "check" { json!({"pred": null, "gold": 1}) } else { json!({"solution": "x"}) };
        write(dir.path(), "row.jsonl", &[first, row]);
        let out = run(dir.path(), &[command, "--input", "row.jsonl"]);
        assert_eq!(out.status.code(), Some(1));
        let message = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(message.contains("row.jsonl:2: ") && message.contains(sentence), "{message}");
    }

    write(dir.path(), "both.jsonl", &[json!({"solution": "x", "steps": ["x"]})]);
    let out = run(dir.path(), &["steps", "--input", "both.jsonl"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("not both"));
}

#[test]
fn options_reach_the_comparison() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "pairs.jsonl", &[json!({"pred": "1, 2", "gold": "2, 1"}), json!({"pred": "10%", "gold": "10"})]);
    let verdicts = |args: &[&str]| -> Vec<String> {
        let out = run(dir.path(), &[&["check", "--input", "pairs.jsonl"], args].concat());
        String::from_utf8(out.stdout)
            .unwrap()
            .lines()
            .map(|l| serde_json::from_str::<Value>(l).unwrap()["verdict"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(verdicts(&[]), ["equal", "equal"]);
    assert_eq!(verdicts(&["--ordered-lists", "--percent", "fraction"]), ["different", "different"]);
}

/// As in `check | head`: the reader closes the pipe, and SIGPIPE ends the command without a message.
#[cfg(unix)]
#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;

    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<Value> = (0..50_000).map(|i| json!({"pred": format!("so \\boxed{{{i}}}"), "gold": i})).collect();
    write(dir.path(), "pairs.jsonl", &rows);
    let mut child = Command::new(env!("CARGO_BIN_EXE_mathverify"))
        .args(["check", "--input", "pairs.jsonl"])
        .current_dir(dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("equal"), "{first}");
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((status.signal(), said.as_str()), (Some(13), ""));
}
