//! Supervised fine-tuning: trains a model or a LoRA adapter on conversations (the Llama 3 paper, section 4.1.3).
//!
//! [`command::run`] runs the stage; [`command::Args`] are its flags.

pub mod command;
pub mod config;
pub mod data;
pub mod objective;
