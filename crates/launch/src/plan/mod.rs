//! `herd plan`: calculates the memory of a run, the time of its steps, and its effective share of the time.
//!
//! [`Model`] and [`Gpu`] have the sizes, [`Layout`] and [`Work`] say how they are used; [`memory()`] and [`step()`] calculate.
//! [`paper`] compares the calculation with the three rows that the Llama 3 paper prints.

mod command;
mod gpu;
mod layout;
mod memory;
mod model;
pub mod paper;
mod step;

pub use command::{Args, PlanArgs, run};
pub use gpu::{GPUS, Gpu};
pub use layout::{Layout, Sharding, Work};
pub use memory::{LOSS_PIECE, Memory, memory};
pub use model::Model;
pub use step::{StepTime, efficiency, step};
