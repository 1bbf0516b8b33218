//! Tests that cross stages, through the `herd` binary, as users run it. This is a target of the package `herd`
//! (`herd/Cargo.toml`), since Cargo tells only a package's own tests where its binary is.

#![allow(clippy::unwrap_used)]

mod cli;
mod common;
mod configs;
mod data;
mod folders;
mod pipeline;
mod recipes;
mod round;
mod tutorial;
