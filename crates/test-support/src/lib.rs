//! For tests: the places of their reference files, and the behaviour when something that a test needs is missing.
//!
//! - [`fixture`] names a file of `tests/fixtures` in this repository. It always exists.
//! - [`shared`] names a third-party file of the folder `shared` beside the checkout, which not everybody has.
//! - [`require`] is for anything else that may be missing: a model of the cache, a program.
//! - [`skip`] reports why a test cannot run.
//!
//! ```no_run
//! let Some(file) = test_support::shared("data/gsm8k/train.jsonl.gz") else { return };
//! ```
//!
//! A skipped test returns early, and libtest counts it as passed. [`skip`] therefore writes the test and the reason
//! to standard error and to the file that `HERD_TEST_SKIPS` names; `cargo xtask test` sets that variable and counts
//! these tests as skipped. With `HERD_TESTS=require`, as in CI, a skip is a failure, except for the reasons in
//! [`EXCUSED`].

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::Location;
use std::path::{Path, PathBuf};

/// The machine has no GPU that libtorch can use.
pub const NO_GPU: &str = "no GPU";

/// The reasons that are accepted with `HERD_TESTS=require`.
pub const EXCUSED: [&str; 1] = [NO_GPU];

/// The file for skips: one line `PROGRAM <tab> TEST <tab> REASON` for each.
pub const SKIPS: &str = "HERD_TEST_SKIPS";

/// The repository's root folder.
#[must_use]
pub fn root() -> PathBuf {
    // This crate is in crates/test-support.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}

/// A file or folder of `tests/fixtures`.
///
/// # Panics
/// When it is missing, since the repository contains it.
#[must_use]
#[track_caller]
pub fn fixture(name: &str) -> PathBuf {
    let path = root().join("tests/fixtures").join(name);
    assert!(path.exists(), "{} is missing: it is part of the repository", path.display());
    path
}

/// A file or folder of `shared` beside the checkout, or of the folder that `HERD_SHARED` names. `None`, and the test
/// is skipped, if it is missing.
#[must_use]
#[track_caller]
pub fn shared(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("HERD_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    skip(format!("no ../shared/{name}"));
    None
}

/// The program `name` of this workspace, which `cargo test --workspace` builds beside the tests. `None`, and the test
/// is skipped, if it is not built.
#[must_use]
#[track_caller]
pub fn program(name: &str) -> Option<PathBuf> {
    let test = std::env::current_exe().ok()?;
    // target/debug/deps/TEST
    let path = test.ancestors().nth(2)?.join(name);
    if path.is_file() {
        return Some(path);
    }
    skip(format!("{name} is not built (cargo build -p {name})"));
    None
}

/// The value of `found`; or `None`, and the test is skipped with the message of the error as the reason.
#[track_caller]
pub fn require<T, E: Display>(found: Result<T, E>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(reason) => {
            skip(reason);
            None
        }
    }
}

/// Reports that the current test cannot run, and why. The test must return after it.
///
/// # Panics
/// With `HERD_TESTS=require`, unless the reason is one of [`EXCUSED`].
#[track_caller]
pub fn skip(reason: impl Display) {
    let reason = reason.to_string().replace(['\n', '\t'], " ");
    let mode = std::env::var("HERD_TESTS").unwrap_or_default();
    assert!(matches!(mode.as_str(), "" | "require"), "HERD_TESTS={mode}: the only known value is `require`");
    assert!(
        mode.is_empty() || EXCUSED.contains(&reason.as_str()),
        "this test cannot run: {reason} (HERD_TESTS=require makes that a failure)"
    );
    let (program, test) = (program_name(), test_name(Location::caller()));
    // Not eprintln!, which libtest captures.
    let _ = writeln!(std::io::stderr(), "skipped: {program} {test}: {reason}");
    if let Some(file) = std::env::var_os(SKIPS) {
        let line = format!("{program}\t{test}\t{reason}\n");
        // One write in append mode, so that lines of concurrent programs do not mix.
        let written =
            OpenOptions::new().create(true).append(true).open(&file).and_then(|mut f| f.write_all(line.as_bytes()));
        assert!(written.is_ok(), "cannot write to {} ({SKIPS}): {written:?}", file.display());
    }
}

/// The test program's name without the hash that cargo appends.
fn program_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    stem.rsplit_once('-').map_or(stem.clone(), |(name, _)| name.to_owned())
}

/// libtest names the thread of a test after the test. With one test at a time, and in threads that a test starts, the
/// place in the source is used instead.
fn test_name(caller: &Location) -> String {
    let thread = std::thread::current();
    match thread.name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => format!("{}:{}", caller.file(), caller.line()),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
