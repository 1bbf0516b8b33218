//! Everything in `adamw.rs` and `equivalence.rs` once more, with the fused operators that training takes.

#[path = "adamw.rs"]
mod adamw;
#[path = "equivalence.rs"]
mod equivalence;

const FUSED: bool = true;
