//! The safety stage: `herd safety`. Its data half is `safety-text`, what a guard does is `guard`; this crate trains the language
//! model of a guard.

pub mod command;
mod config;
mod data;
mod objective;
mod train;

pub use config::{Config, Head};
