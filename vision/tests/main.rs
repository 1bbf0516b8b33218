//! All tests in one program: each further one would take seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod dinov2;
mod learn;
mod mllama;
mod train;

/// A run in a separate process, which the tests start as `--exact child`.
#[test]
fn child() {
    common::be_a_child();
}
