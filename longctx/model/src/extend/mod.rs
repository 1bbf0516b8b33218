//! `herd longctx extend`: extends the context in stages (the Llama 3 paper, section 3.4.2). A stage is passed when short-context ability
//! is what it was before the first stage and needles are found at the new length.

pub mod data;
pub mod gate;
pub mod machine;
pub mod objective;
mod report;
pub mod rope;
pub mod round;
mod stages;
pub mod tasks;

pub use round::RoundConfig;
pub use stages::{Plan, Stopped, run};
