//! One test program, since each one takes seconds to compile and to link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod attacks;
mod broken;
mod commands;
mod common;
mod families;
mod forms;
mod forms_made;
mod hunt;
mod languages;
mod native;
mod soak;
mod suites;
mod verdicts;
mod written;
