//! Benchmarks of a model: what it is asked, how its answers are scored, and how sure the figures are.
//!
//! [`command::run`] is `herd eval`: [`task`] names the benchmarks, [`items`] reads their data, [`prompts`] writes the
//! questions, [`score`] judges the answers, [`summary`] makes figures with intervals ([`stats`]) of them. [`compare`] sets
//! two runs against each other item by item, [`contamination`] looks for the items in training data, and [`data`] fetches
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
