//! The optimizer: AdamW on float32 master weights, learning-rate schedules, weight averages and the spike guard.

pub(crate) mod average;
pub(crate) mod digest;
pub(crate) mod optimizer;
pub(crate) mod schedule;
pub(crate) mod shard;
pub(crate) mod spike;

pub use average::{Average, AverageKind, AverageSettings};
pub use optimizer::{Optimizer, OptimizerError, OptimizerSettings, StepReport};
pub use schedule::{Schedule, ScheduleKind};
pub use spike::SpikeGuard;
