//! Supervised fine-tuning: conversations in, a model or LoRA adapter out (the Llama 3 paper, section 4.1.3).
//!
//! [`command::run`] is the stage; [`command::Args`] are its flags.

pub mod command;
pub mod config;
pub mod data;
pub mod objective;
