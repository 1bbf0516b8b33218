//! Runs of several processes of a tiny model: this program starts itself again, once for each rank.

// Helpers of tests stand outside of test functions.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod context;
mod drills;
mod faults;
mod faulty;

/// The operators are those of training.
#[allow(dead_code)]
const FUSED: bool = true;

#[test]
fn child() {
    faulty::be_a_child();
}
