//! The training loop that all stages share.
//!
//! A stage provides an [`Objective`] (its micro-batches and its loss). [`train`] provides AdamW on float32 master weights,
//! schedules, gradient accumulation normalised over the whole optimizer step, activation checkpointing, evaluation, averaging
//! of weights, checkpoints with exact resume, and metrics. [`stage`] holds what the commands of the stages share.
//!
//! No random state is carried from step to step. The order of the data ([`Plan`]) and every seed ([`RngPosition`]) are
//! functions of the run's seed and the step. So a checkpoint has no generator state to save, and a run that was killed and
//! resumed ends with the same bytes as an uninterrupted run.

mod ahead;
pub mod context;
mod data;
mod diagnose;
mod extra;
mod objective;
mod optim;
mod persist;
mod reading;
pub mod share;
pub mod stage;
mod train;
mod watch;

pub use ahead::{Ahead, placed};
pub use data::{Example, PackedBatch, Pick, Plan, Source, StepSize, best_fit_decreasing, hold_out};
pub use distributed::World;
pub use extra::Extra;
pub use objective::{
    Computation, Evaluation, Extent, Input, Loss, Metric, MetricSums, Objective, RngPosition, Sum, evaluate, forward,
    forward_backward,
};
pub use optim::{
    Average, AverageKind, AverageSettings, Optimizer, OptimizerError, OptimizerSettings, Schedule, ScheduleKind,
    SpikeGuard, StepReport,
};
pub use persist::interval::Interval;
pub use persist::state::{Named, WeightsFile};
pub use persist::{checkpoint, state};
pub use reading::reads;
pub use run::RunFolder;
pub use train::{
    CheckpointCost, ComputedAgain, Corrupt, Outcome, Reduce, Report, TrainSettings, TrainedWeights, WriteSideFiles,
    keep_memory, train,
};
pub use watch::{EventFile, cost, drift, memory, metrics, pace};
