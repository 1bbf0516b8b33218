//! Benchmarks of a model: prompts, scoring of answers, and figures with intervals.
//!
//! [`command::run`] is `herd eval`: [`task`] names the benchmarks, [`items`] reads their data, [`prompts`] writes the
//! questions, [`score`] judges the answers, and [`summary`] computes figures with intervals ([`stats`]). [`compare`]
//! compares two runs item by item, [`contamination`] searches for the items in training data, and [`data`] fetches
//! the sets.

pub mod command;
pub mod compare;
pub mod contamination;
pub mod data;
pub mod items;
mod likelihood;
pub mod prompts;
pub mod record;
mod report;
pub mod run;
pub mod score;
pub mod summary;
pub mod task;
