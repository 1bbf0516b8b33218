//! Reads the public test cases, which lie in `../shared` beside the repository.
#![allow(dead_code, clippy::unwrap_used)]

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The path `../shared/data/NAME`; `None` if it is missing, and the test is then skipped.
#[track_caller]
pub fn data(name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("data/{name}"))
}

/// The path `../shared/FOLDER/NAME`; `None` if it is missing, and the test is then skipped.
#[track_caller]
pub fn shared(folder: &str, name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("{folder}/{name}"))
}

/// The text of a file; a `.gz` file is decompressed.
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
