//! All integration tests in one binary, since every test binary takes seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod attacks;
mod broken;
mod commands;
mod common;
mod families;
mod field;
mod forms;
mod forms_made;
mod hunt;
mod languages;
mod native;
mod soak;
mod suites;
mod swallowed;
mod verdicts;
mod written;
