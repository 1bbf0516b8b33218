//! The public cases beside the repository.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// `../shared/data/NAME`; `None`, and the test is skipped, if it is missing.
#[track_caller]
pub fn data(name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("data/{name}"))
}

/// `../shared/FOLDER/NAME`; `None`, and the test is skipped, if it is missing.
#[track_caller]
pub fn shared(folder: &str, name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("{folder}/{name}"))
}

/// The text of a file, also of a gzip file.
pub fn text(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap();
    let mut text = String::new();
    if path.extension().is_some_and(|e| e == "gz") {
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text
}

/// The rows of a JSONL file.
pub fn rows(path: &Path) -> Vec<Value> {
    text(path).lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}
