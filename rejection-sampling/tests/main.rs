//! All tests in one program: each further one would take seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod filter;
#[path = "../../sft/tests/common/ranks.rs"]
mod ranks;
mod reward;
mod run;

/// A run in a separate process, which the tests start as `--exact child`.
#[test]
fn child() {
    common::be_a_child();
}
