//! Tests `herd data get` against a server on this machine.

use crate::common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eval::data::{GetArgs, get};

fn args(name: &str, folder: &std::path::Path, mirror: &str) -> GetArgs {
    GetArgs { names: vec![name.into()], output: Some(folder.to_owned()), mirror: Some(mirror.to_owned()) }
}

#[test]
fn a_set_is_fetched_once_checked_and_unpacked() {
    let Some(path) = common::data("xstest/xstest_prompts.csv.gz") else { return };
    let packed = std::fs::read(path).unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let mirror = common::serve(move |path, _| {
        count.fetch_add(1, Ordering::Relaxed);
        // As in the public data, only the compressed file exists.
        if path == "/sets/xstest/xstest_prompts.csv.gz" { (200, packed.clone()) } else { (404, Vec::new()) }
    });
    let folder = tempfile::tempdir().unwrap();
    let args = args("xstest", folder.path(), &format!("{mirror}/sets/"));
    get(&args).unwrap();
    let text = std::fs::read_to_string(folder.path().join("xstest/xstest_prompts.csv")).unwrap();
    assert!(text.starts_with("id,prompt,type,label"));
    assert_eq!(requests.load(Ordering::Relaxed), 2);
    get(&args).unwrap();
    assert_eq!(requests.load(Ordering::Relaxed), 2);
}

#[test]
fn wrong_bytes_are_not_kept_and_each_failure_has_its_sentence() {
    let mirror = common::serve(|path, _| match path {
        "/wrong/gsm8k/train.jsonl" => (200, b"{\"question\": \"forged\"}\n".to_vec()),
        "/broken/gsm8k/train.jsonl" => (500, Vec::new()),
        _ => (404, Vec::new()),
    });
    let folder = tempfile::tempdir().unwrap();
    for (place, sentence) in [
        ("wrong", "it is not the file that was pinned, and is not kept"),
        ("broken", "answers 500"),
        ("absent", "not found, nor with .gz"),
    ] {
        let error = format!("{:#}", get(&args("gsm8k", folder.path(), &format!("{mirror}/{place}"))).unwrap_err());
        assert!(error.contains(sentence), "{error}");
    }
    let closed = "http://127.0.0.1:9";
    let error = format!("{:#}", get(&args("gsm8k", folder.path(), closed)).unwrap_err());
    assert!(error.contains("no answer; --mirror"), "{error}");
    let error = get(&args("arc", folder.path(), closed)).unwrap_err().to_string();
    assert!(error.contains("To place it") && error.contains("ARC-Challenge-Test.jsonl"), "{error}");
    let error = get(&args("gsm9k", folder.path(), closed)).unwrap_err().to_string();
    assert!(error.contains("there are gsm8k, svamp"), "{error}");
    assert!(!folder.path().join("gsm8k/train.jsonl").exists());
}
