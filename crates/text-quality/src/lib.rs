//! Quality control of texts that needs no model and no libtorch.
//!
//! - [`prompts`]: decontamination by exact prompts; [`ngrams`]: by runs of 8 words. Both read a text by [`normal`].
//! - [`duplicates`]: near-duplicates among embeddings; [`hashed`]: embeddings from n-grams, where no model makes them.
//! - [`rules`]: emoji, exclamation marks, apologetic openers, repeated tails.
//! - [`language`]: whether an answer is in the language of its prompt.
//!
//! `curation` has the quality control that asks models.

pub mod duplicates;
pub mod hashed;
pub mod language;
pub mod ngrams;
pub mod normal;
pub mod prompts;
pub mod rules;
