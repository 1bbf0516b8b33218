//! The optimizer: AdamW on float32 masters, learning-rate schedules, averages of the weights, the guard against spikes.

pub(crate) mod average;
pub(crate) mod optimizer;
pub(crate) mod schedule;
pub(crate) mod shard;
pub(crate) mod spike;

pub use average::{Average, AverageKind, AverageSettings};
pub use optimizer::{Optimizer, OptimizerError, OptimizerSettings, StepReport};
pub use schedule::{Schedule, ScheduleKind};
pub use spike::SpikeGuard;
