//! Pretraining: token shards in, a base model out (the Llama 3 paper, section 3).
//!
//! [`command::run`] is the stage; [`command::Args`] are its flags. [`pretrain_stream`] has the plan that decides which tokens a step
//! sees, a function of the seed and the step.

pub mod anneal;
pub mod command;
mod compare;
pub mod config;
mod held_out;
mod losses;
pub mod objective;
pub mod probe;
