//! The order of the examples over the steps, and their packing into rows.

pub(crate) mod batch;
pub(crate) mod order;
pub(crate) mod packing;

pub use batch::{Example, PackedBatch};
pub use order::{Pick, Plan, Source, StepSize, hold_out};
pub use packing::best_fit_decreasing;
