//! The safety stage: `herd safety`. `safety-text` has the filters, `guard` the guards, and `safety-tuning` the tuning data and the
//! measurements. This crate trains the language model of a guard, samples answers of a model, and measures memorisation.

pub mod command;
mod config;
mod data;
pub mod measured;
pub mod memorised;
mod objective;
mod train;

pub use config::{Config, Head};
