//! The language model of a guard.
//!
//! - [`Prompts`]: prompts and answers as token ids; training and scoring use the same.
//! - [`ModelScorer`]: p(unsafe) and the probability mass at the first token of the answer, and the probability of each category. The
//!   policy's part of the prompt is computed once: later texts find it in the engine's cache, and [`guard::guard::ModelCounts`] shows
//!   that.

mod prompts;
mod scorer;

pub use prompts::{Prompts, Question};
pub use scorer::{ModelScorer, open};
