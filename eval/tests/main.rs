//! One test program, since each one takes seconds to compile and to link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod common;
mod fetch;
mod field;
mod gsm8k;
mod items;
mod runs;
