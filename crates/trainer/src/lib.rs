//! One training loop for every stage.
//!
//! A stage brings an [`Objective`] (its micro-batches and its loss); [`train`] brings AdamW on float32 master weights,
//! schedules, gradient accumulation normalised over the whole optimizer step, activation checkpointing, evaluation,
//! averaging of weights, checkpoints with exact resume, and metrics. [`stage`] is what the commands share around it.
//!
//! Nothing random is carried from step to step: the order of the data ([`Plan`]) and every seed ([`Moment`]) are functions
//! of the run's seed and the step, so a checkpoint has no generator's state to save, and a run that was killed ends with
//! the bytes it would have ended with.

mod average;
mod batch;
pub mod checkpoint;
mod console;
pub mod cost;
mod diagnose;
pub mod metrics;
mod objective;
mod optimizer;
mod order;
mod packing;
mod report;
mod schedule;
pub mod stage;
pub mod state;
mod tensorboard;
mod train;

pub use average::{Average, AverageKind, AverageSettings};
pub use batch::{Example, PackedBatch};
pub use objective::{
    Computation, Evaluation, Input, Loss, Metric, MetricSums, Moment, Objective, evaluate, forward, forward_backward,
};
pub use optimizer::{Optimizer, OptimizerError, OptimizerSettings, StepReport};
pub use order::{Pick, Plan, Source, StepSize, hold_out};
pub use packing::best_fit_decreasing;
pub use run::RunFolder;
pub use schedule::{Schedule, ScheduleKind};
pub use state::{Named, WeightsFile};
pub use tensorboard::EventFile;
pub use train::{CheckpointCost, Decorate, Outcome, Report, TrainSettings, TrainedWeights, keep_memory, train};
