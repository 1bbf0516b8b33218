//! All tests in one program, because each further one would link the crate again.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod datatrove;
mod engine;
mod quality;
mod run;
