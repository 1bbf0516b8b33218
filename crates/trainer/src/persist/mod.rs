//! What survives a kill: checkpoints and the tensors in them.

pub mod checkpoint;
pub mod state;
