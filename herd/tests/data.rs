//! `herd data` and the parts of `herd eval` that need no model, as users run them.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::process::{Command, Output};

fn herd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_herd")).args(arguments).output().unwrap()
}

#[test]
fn made_problems_are_the_same_bytes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, seed: &str| {
        let path = folder.path().join(name).to_string_lossy().into_owned();
        let fixed =
            ["data", "make", "--train", "60", "--heldout", "20", "--with-solutions", "--output", &path, "--seed", seed];
        let output = herd(&fixed);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("15 algebra, 15 arithmetic, 15 code, 15 words"));
        ["train.jsonl", "heldout.jsonl", "train-solutions.jsonl", "made.json"]
            .map(|file| fs::read(folder.path().join(name).join(file)).unwrap())
    };
    let (a, b, c) = (make("a", "1"), make("b", "1"), make("c", "2"));
    assert!(a == b && a[0] != c[0]);
    let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!((lines(&a[0]), lines(&a[1]), lines(&a[2])), (60, 20, 60));
}

#[test]
fn prompts_are_shown_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let shown = String::from_utf8(herd(&["eval", "prompts"]).stdout).unwrap();
    assert!(shown.contains("=== gsm8k-0shot.txt\n--- user\n"));
    let path = folder.path().join("p");
    assert!(herd(&["eval", "prompts", "--output", &path.to_string_lossy()]).status.success());
    assert_eq!(fs::read_dir(path).unwrap().count(), 12);
}

#[test]
fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    for (arguments, wrong) in [
        (&["eval", "--tasks", "gsm8k", "--output", "x"][..], "--model"),
        (&["eval", "--model", "m", "--output", "x"], "--tasks"),
        (&["eval", "--model", "m", "--tasks", "gsm8k", "--output", "x", "--data", &path], "herd data get gsm8k"),
        (&["eval", "--model", "m", "--tasks", "problems", "--output", "x"], "--problems FILE"),
        (&["eval", "--model", "m", "--tasks", "gsm8k", "--output", "x", "-n", "4"], "set --temperature"),
        (&["eval", "compare", &path, &path], "no samples.jsonl"),
        (&["data", "make", "--output", &path, "--train", "0", "--heldout", "0"], "nothing to make"),
    ] {
        let output = herd(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(wrong), "{arguments:?}: {said}");
    }
}
