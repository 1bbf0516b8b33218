//! The commands through the program, with a byte model made on the spot.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;
mod eval;
mod extend;
mod write;
