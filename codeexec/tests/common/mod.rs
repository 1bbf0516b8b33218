//! Shared parts of the tests: Python, set up once, a pool of workers of the built binary, and the public data.

use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use codeexec::limits::Limits;
use codeexec::pool::{Launcher, Pool};

/// Fetches and compiles Python unless that is done.
pub fn set_up() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_codeexec")).arg("setup").status();
        assert!(status.is_ok_and(|status| status.success()), "codeexec setup failed");
    });
}

/// Fetches and compiles another language unless that is done.
#[allow(dead_code, reason = "not every test file needs it")]
pub fn set_up_language(language: &str) {
    let mut setup = std::process::Command::new(env!("CARGO_BIN_EXE_codeexec"));
    let status = setup.args(["setup", "--languages", language]).status();
    assert!(status.is_ok_and(|status| status.success()), "codeexec setup failed");
}

/// Two workers with a time limit of `seconds`.
pub fn pool(seconds: f64) -> Pool {
    set_up();
    let launcher = Launcher { program: env!("CARGO_BIN_EXE_codeexec").into(), arguments: vec!["child".into()] };
    let time = Duration::from_secs_f64(seconds);
    Pool::new(launcher, 2, Limits::within(time), 0)
}

/// A file of the public data; `None`, and the test is skipped, if it is missing.
#[allow(dead_code, reason = "not every test file reads data")]
#[track_caller]
pub fn data(name: &str) -> Option<PathBuf> {
    test_support::shared(&format!("data/{name}"))
}
