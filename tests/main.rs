//! Cross-stage tests through the `herd` binary, as users run it. They are a target of the package `herd` (`herd/Cargo.toml`),
//! because Cargo gives the path of a binary only to tests of the same package.

#![allow(clippy::unwrap_used)]

mod cli;
mod common;
mod configs;
mod data;
mod field;
mod folders;
mod pipeline;
mod recipes;
mod round;
mod scratch;
mod tutorial;
mod whole;
