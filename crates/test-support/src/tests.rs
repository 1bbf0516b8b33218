//! A child process reads the variables: this program again, running one test.

use std::process::{Command, Output};

use super::*;

/// Runs a test of this program with the given value of `HERD_TESTS` and returns what it wrote about skips.
fn child(test: &str, mode: Option<&str>, threads: &str) -> (Output, String) {
    let file = std::env::temp_dir().join(format!("herd-skips-{}-{test}-{mode:?}-{threads}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let mut command = Command::new(std::env::current_exe().expect("a path"));
    command.args(["--exact", &format!("tests::{test}"), "--ignored", "--test-threads", threads]);
    command.env(SKIPS, &file).env("HERD_SHARED", "/nonexistent").env_remove("HERD_TESTS");
    if let Some(mode) = mode {
        command.env("HERD_TESTS", mode);
    }
    let output = command.output().expect("this program runs");
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let _ = std::fs::remove_file(&file);
    (output, written)
}

#[test]
#[ignore = "run by the tests below"]
fn lacks_a_file() {
    let Some(_) = shared("data/nothing.jsonl") else { return };
    panic!("there is no such file");
}

#[test]
#[ignore = "run by the tests below"]
fn lacks_a_gpu() {
    skip(NO_GPU);
}

#[test]
fn a_skip_is_written_down_with_its_test() {
    let (output, written) = child("lacks_a_file", None, "2");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(written, "test_support\ttests::lacks_a_file\tno ../shared/data/nothing.jsonl\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("skipped: test_support tests::lacks_a_file: no ../shared/data/nothing.jsonl"), "{said}");
    // With one test at a time, libtest runs the test in the main thread, whose name is not that of the test.
    let (_, written) = child("lacks_a_file", None, "1");
    assert!(written.contains("lacks_a_file\t") || written.contains("src/tests.rs:"), "{written}");
}

#[test]
fn required_files_must_be_there() {
    let (output, written) = child("lacks_a_file", Some("require"), "2");
    assert!(!output.status.success() && written.is_empty(), "{output:?} {written}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("this test cannot run: no ../shared/data/nothing.jsonl"));
    let (output, written) = child("lacks_a_gpu", Some("require"), "2");
    assert!(output.status.success() && written == "test_support\ttests::lacks_a_gpu\tno GPU\n", "{output:?} {written}");
    let (output, _) = child("lacks_a_gpu", Some("requires"), "2");
    assert!(String::from_utf8_lossy(&output.stdout).contains("the only known value is `require`"), "{output:?}");
}

#[test]
#[should_panic(expected = "it is part of the repository")]
fn a_fixture_is_never_missing() {
    let _ = fixture("nothing");
}

#[test]
fn fixtures_are_found() {
    assert!(fixture("tiny/llama-gqa").join("config.json").is_file());
    assert!(root().join("Cargo.toml").is_file());
}
