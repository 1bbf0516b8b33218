//! `longctx` as a user runs it: through the program.

#![allow(clippy::unwrap_used)]

mod common;
mod make;
mod mix;
mod repository;
mod ruler;
mod verify;
