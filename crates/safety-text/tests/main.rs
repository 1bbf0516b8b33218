//! All tests in one program: each further one would take seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod commands;
mod generated;
mod insecure_code;
mod pii_generated;
