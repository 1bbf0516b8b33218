//! All integration tests in one binary, since each test binary takes seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod agreement;
mod cases;
mod cli;
mod common;
mod equivalence;
mod false_equal;
mod field;
mod hostile;
mod hunt;
mod properties;
mod serve;
mod step_data;
