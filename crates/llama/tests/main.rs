//! One test program for most test files, because each program takes seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bad_input;
mod classifier;
mod common;
mod dropout;
mod engine;
mod gpu;
mod long_rows;
mod rope;
mod shared_prompt;
mod smollm2;
mod tiny;
