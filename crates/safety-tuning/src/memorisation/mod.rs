//! Whether a model repeats what it was trained on: `herd safety memorisation index` and `probe`.
//!
//! The paper (section 5.4.2, after Carlini et al. 2022, "Quantifying Memorization Across Neural Language Models") samples n-grams of the
//! training data, gives them to the model as prompts, and counts the continuations that equal the data. The index finds n-grams by
//! a 64-bit hash; every hit is compared with the tokens themselves, so that a collision of hashes counts nothing.

pub mod command;
pub mod figures;
mod index;

pub use index::{Builder, Index, TOKENS};
