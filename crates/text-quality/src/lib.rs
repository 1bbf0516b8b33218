//! Quality control of texts, without models and without libtorch.
//!
//! - [`prompts`]: decontamination by exact prompts; [`ngrams`]: by sequences of 8 words. Both normalise texts with
//!   [`normal`].
//! - [`duplicates`]: near-duplicates among embeddings; [`hashed`]: embeddings from n-grams, without a model.
//! - [`rules`]: emoji, exclamation marks, apologetic openers, repeated tails.
//! - [`language`]: whether an answer is in the language of its prompt.
//!
//! `curation` has the model-based quality control.

pub mod duplicates;
pub mod hashed;
pub mod language;
pub mod ngrams;
pub mod normal;
pub mod prompts;
pub mod rules;
