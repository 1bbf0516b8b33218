//! Measures whether a model repeats its training data: `herd safety memorisation index` and `probe`.
//!
//! The paper (section 5.4.2, after Carlini et al. 2022, "Quantifying Memorization Across Neural Language Models") samples n-grams of the
//! training data, gives them to the model as prompts, and counts the continuations that equal the data. The index finds n-grams by a
//! 64-bit hash; the tokens of every hit are compared, so that hash collisions do not count.

pub mod command;
pub mod figures;
mod index;

pub use index::{Builder, Index, TOKENS};
