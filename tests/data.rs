//! Runs `herd data`, and the parts of `herd eval` that need no model, as users do.

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
        // The same command again does nothing.
        assert!(String::from_utf8_lossy(&herd(&fixed).stdout).contains("is finished already"));
        ["train.jsonl", "heldout.jsonl", "train-solutions.jsonl"]
            .map(|file| fs::read(folder.path().join(name).join(file)).unwrap())
    };
    let (a, b, c) = (make("a", "1"), make("b", "1"), make("c", "2"));
    assert!(a == b && a[0] != c[0]);
    let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
    assert_eq!((lines(&a[0]), lines(&a[1]), lines(&a[2])), (60, 20, 60));
}

#[test]
fn a_folder_is_made_from_a_file_of_keys_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let said = |output: &Output| [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    fs::write(at("keys.toml"), "train = 9\nheldout = 4\ntopics = [\"arithmetic\", \"words\"]\nwith_solutions = true\n")
        .unwrap();
    let make = |more: &[&str]| {
        let output = at("made");
        herd(&[&["data", "make", "--config", &at("keys.toml"), "--output", &output], more].concat())
    };
    let text = said(&make(&["--heldout", "2", "--dry-run"]));
    for line in [
        "heldout              2                              flag",
        "train                9                              file",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!folder.path().join("made").exists(), "a dry run left a folder");
    let text = said(&make(&["--heldout", "2"]));
    assert!(text.contains("train.jsonl: 9 problems, 5 arithmetic, 4 words"), "{text}");
    // A change that affects the course is refused; the same command does nothing.
    let text = said(&make(&["--heldout", "2", "--seed", "4"]));
    assert!(text.contains("seed: 0 before, 4 now"), "{text}");
    assert!(said(&make(&["--heldout", "2"])).contains("is finished already"));
    // Repeats the run into a folder beside it.
    let text = said(&herd(&["again", &at("made")]));
    assert!(text.contains("3 files in ") && text.contains("made-again: the same bytes"), "{text}");
    assert_eq!(fs::read(at("made/train.jsonl")).unwrap(), fs::read(at("made-again/train.jsonl")).unwrap());
    // Bytes that differ without a known reason are a failure.
    let record = fs::read_to_string(at("made/run.json")).unwrap();
    let sha256 = dataset::digest::file(at("made/heldout.jsonl")).unwrap();
    fs::write(at("made/run.json"), record.replace(&sha256, &"0".repeat(64))).unwrap();
    let output = herd(&["again", &at("made"), "--output", &at("third")]);
    assert!(!output.status.success() && said(&output).contains("heldout.jsonl differs"), "{}", said(&output));
    let output = herd(&["again", &at("third").replace("third", "none")]);
    assert!(!output.status.success() && said(&output).contains("has no run.json"), "{}", said(&output));
    // A folder of an earlier version gives an error message.
    fs::write(at("made/run.json"), "{\"stage\": \"data make\", \"version\": \"0.1.0\"}").unwrap();
    let text = said(&make(&["--heldout", "2"]));
    assert!(text.contains("was written by another version of herd (0.1.0, before its schema 1)"), "{text}");
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
        (&["eval", "--model", "m", "--tasks", "gsm8k", "--output", "x", "--benchmarks", &path], "herd data get gsm8k"),
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
