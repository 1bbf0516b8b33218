//! Runs all tests of `adamw.rs` and `equivalence.rs` with the fused operators that training uses.

// Each module includes its own copy of the helpers.
#![allow(clippy::duplicate_mod)]

#[path = "adamw.rs"]
mod adamw;
#[path = "equivalence.rs"]
mod equivalence;

const FUSED: bool = true;
