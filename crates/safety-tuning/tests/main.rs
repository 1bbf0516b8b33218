//! One test program, since each one takes seconds to compile and to link.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod commands;
mod made;
mod swept;
