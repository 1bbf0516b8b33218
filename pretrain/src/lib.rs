//! Pretraining: token shards in, a base model out (the Llama 3 paper, section 3).
//!
//! [`command::run`] is the stage; [`command::Args`] are its flags. Which tokens a step sees is the plan of
//! [`pretrain_stream`], a function of the seed and the step.

pub mod anneal;
pub mod command;
mod compare;
pub mod config;
mod held_out;
mod losses;
pub mod objective;
pub mod probe;
