//! Shared by the tests: set-up of languages, a pool with worker processes of the built binary, and public data.

use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};

/// Fetches and compiles Python, once per test run; quick if Python is set up already.
pub fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_codeexec")).arg("setup").status();
        assert!(status.is_ok_and(|status| status.success()), "codeexec setup failed");
    });
}

/// Fetches and compiles a language, or several separated by commas; quick if they are set up already.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn set_up_language(language: &str) {
    let mut setup = std::process::Command::new(env!("CARGO_BIN_EXE_codeexec"));
    let status = setup.args(["setup", "--languages", language]).status();
    assert!(status.is_ok_and(|status| status.success()), "codeexec setup failed");
}

/// A pool of two workers with a time limit of `seconds` per program.
pub fn pool(seconds: f64) -> Pool {
    set_up();
    let launcher = Launcher { program: env!("CARGO_BIN_EXE_codeexec").into(), arguments: vec!["child".into()] };
    let time = Duration::from_secs_f64(seconds);
    Pool::new(launcher, 2, Limits::within(time), 0)
}

/// Path of a file of public benchmark data; `None` if the file is missing, so that the test is skipped.
#[allow(dead_code, reason = "not every test file reads data")]
#[track_caller]
pub fn data(name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("data/{name}"))
}
