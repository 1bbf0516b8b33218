//! Linear averaging of weights: `Σ wᵢ θᵢ` with `Σ wᵢ = 1`, tensor by tensor. The average is over models trained on
//! different data or with different hyper-parameters (the Llama 3 paper, section 4.1.5, averages after each of its
//! stages; Wortsman et al. 2022), or over the checkpoints of one run (Polyak and Juditsky 1992).
//!
//! [`command::run`] is `herd average`, [`merge::run`] is `herd merge`.

pub mod adapters;
pub mod agree;
pub mod command;
mod folder;
pub mod full;
mod inputs;
pub mod merge;

pub use inputs::{Input, Kind};
