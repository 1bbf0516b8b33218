//! Direct preference optimisation: trains a model or a LoRA adapter on preferences (the Llama 3 paper, section
//! 4.1.4).
//!
//! [`command::run`] runs the stage, [`command::Args`] are its flags. Read the method in this order: [`pairs`]
//! (tokens, and which of them are formatting), [`batch`] (pairs in a packed row), [`losses`], [`reference`],
//! [`measure`].

pub mod batch;
pub mod command;
pub mod config;
pub mod data;
pub mod losses;
pub mod measure;
pub mod objective;
pub mod pairs;
pub mod reference;
pub mod watch;
