//! All tests in one program: each further one would take seconds to compile and link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod files;
mod public_data;
mod round_trip;
