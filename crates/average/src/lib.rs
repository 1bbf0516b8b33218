//! Linear averaging of weights: `Σ wᵢ θᵢ` with `Σ wᵢ = 1`, over models trained on different data or with other
//! hyper-parameters (the Llama 3 paper, section 4.1.5, averages at each of its stages; Wortsman et al. 2022), or over the
//! checkpoints of one run (Polyak and Juditsky 1992), tensor by tensor.
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
