//! One test program, since each one takes seconds to compile and to link.
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
