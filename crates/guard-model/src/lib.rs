//! A guard's language model.
//!
//! - [`Prompts`]: prompts and answers as token ids; training and scoring use the same.
//! - [`ModelScorer`]: p(unsafe) at the first token of the answer and its mass, and how likely each category is. The policy's part
//!   of the prompt is computed once: later texts find it in the engine's cache, and [`guard::guard::ModelCounts`] shows that.

mod prompts;
mod scorer;

pub use prompts::{Prompts, Question};
pub use scorer::{ModelScorer, open};
