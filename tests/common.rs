//! `herd run` on the recipes of the checkout.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The root of the checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `herd run` in the root of the checkout, with a separate output folder.
pub fn herd_run(recipe: &Path, output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_herd"));
    command.arg("run").arg(recipe).arg("--output").arg(output).current_dir(root());
    command
}

/// The whole output of a command.
pub fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// The results of a pipeline, by path: models, problems, samples, pairs, every judged answer. Records with times are
/// left out. Texts that name their model have the path of the folder removed.
pub fn results(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_str().unwrap();
            let is_result = name.ends_with(".safetensors")
                || ["samples.jsonl", "selected.jsonl", "pairs.jsonl", "heldout.jsonl"].contains(&name)
                || name.starts_with("train") && name.ends_with(".jsonl");
            if entry.is_dir() && name != "checkpoints" {
                walk(root, &entry, found);
            } else if is_result {
                let place = entry.strip_prefix(root).unwrap().display().to_string();
                let bytes = fs::read(&entry).unwrap();
                let bytes = match String::from_utf8(bytes) {
                    Ok(text) => text.replace(root.to_str().unwrap(), "ROUND").into_bytes(),
                    Err(error) => error.into_bytes(),
                };
                found.insert(place, bytes);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}

/// Sends SIGKILL to the pipeline, or only to its running stage, `wait` after the folder of a stage has appeared.
pub fn kill(mut command: Command, output: &Path, stage: &str, wait: Duration, only_the_stage: bool) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while !output.join(stage).exists() {
        assert!(start.elapsed() < Duration::from_secs(1800), "{stage} does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(wait);
    let pipeline = child.id();
    let running = || fs::read_to_string(format!("/proc/{pipeline}/task/{pipeline}/children")).unwrap_or_default();
    let victim: i32 = loop {
        match running().trim().parse() {
            _ if !only_the_stage => break pipeline as i32,
            Ok(stage) => break stage,
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(start.elapsed() < Duration::from_secs(1800), "no stage is running after {stage} has begun");
    };
    // SAFETY: a plain system call.
    unsafe { libc::kill(victim, libc::SIGKILL) };
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success(), "the round was over before {stage} was killed");
    said(&output)
}
