//! One test program, since each would link the crate again.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod datatrove;
mod engine;
mod quality;
mod run;
