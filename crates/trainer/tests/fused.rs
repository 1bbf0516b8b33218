//! Everything in `adamw.rs` and `equivalence.rs` once more, with the fused operators that training takes.

// Each brings the helpers of its own program.
#![allow(clippy::duplicate_mod)]

#[path = "adamw.rs"]
mod adamw;
#[path = "equivalence.rs"]
mod equivalence;

const FUSED: bool = true;
