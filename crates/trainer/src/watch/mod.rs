//! What a run shows: metrics, TensorBoard, the terminal, the report, costs.

pub(crate) mod console;
pub mod cost;
pub(crate) mod heart;
pub mod memory;
pub mod metrics;
pub(crate) mod report;
pub(crate) mod tensorboard;

pub use tensorboard::EventFile;
