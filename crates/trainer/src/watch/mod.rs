//! Output of a run: metrics, TensorBoard, terminal, report and costs.

pub(crate) mod console;
pub mod cost;
pub mod drift;
pub(crate) mod heart;
pub mod memory;
pub mod metrics;
pub mod pace;
pub(crate) mod report;
pub(crate) mod tensorboard;

pub use tensorboard::EventFile;
