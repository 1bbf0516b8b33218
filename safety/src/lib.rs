//! The safety stage: `herd safety`. Its data half is `safety-text`, what a guard does is `guard`, tuning data and measurement are
//! `safety-tuning`; this crate trains the language model of a guard, asks a model for its answers, and gives it prompts of a corpus.

pub mod command;
mod config;
mod data;
pub mod measured;
pub mod memorised;
mod objective;
mod train;

pub use config::{Config, Head};
