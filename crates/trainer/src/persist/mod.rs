//! Saved state of a run: checkpoints and the tensors in them.

pub mod checkpoint;
pub(crate) mod interval;
pub mod state;
pub(crate) mod writer;
