//! Several processes of one run, and the bytes that must not depend on their number.

#![allow(dead_code)]

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Starts so many ranks, which meet in the file `store`.
pub fn start(store: &Path, size: usize, make: impl Fn(usize) -> Command) -> Vec<Child> {
    fs::remove_file(store).ok();
    let rank = |rank: usize| {
        let mut command = make(rank);
        command.env("RANK", rank.to_string()).env("WORLD_SIZE", size.to_string()).env("HERD_STORE_FILE", store);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    (0..size).map(rank).collect()
}

/// The exit code of a process and what it wrote to its standard error.
pub fn ended(mut child: Child) -> (Option<i32>, String) {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (child.wait().unwrap().code(), text)
}

/// All ranks have to end well.
pub fn succeed(store: &Path, size: usize, make: impl Fn(usize) -> Command) {
    for (rank, child) in start(store, size, make).into_iter().enumerate() {
        let (code, text) = ended(child);
        assert_eq!(code, Some(0), "rank {rank} of {size}: {text}");
    }
}

/// Digests of all tensors, of what the stages keep beside them, and the metrics without times.
pub fn bytes(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let kept = ["held-out.jsonl", "eval_start.json", "calibration.json"].contains(&name.as_str());
            if path.is_dir() {
                folders.push(path);
            } else if kept || name.ends_with(".safetensors") {
                found.push((name, dataset::digest::file(&path).unwrap()));
            }
        }
    }
    found.sort();
    for line in fs::read_to_string(root.join("metrics.jsonl")).unwrap().lines() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        // `remove` would change the order of the keys that stay.
        line.as_object_mut()
            .unwrap()
            .retain(|key, _| !["seconds", "tokens_per_second", "mfu", "ranks"].contains(&key.as_str()));
        found.push(("metrics".into(), line.to_string()));
    }
    assert!(found.iter().any(|(name, _)| name.ends_with("state/moments.safetensors")), "{found:?}");
    found
}
