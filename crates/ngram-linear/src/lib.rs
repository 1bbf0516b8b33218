//! Linear models over hashed n-grams, shared by the linear tier of a guard and the quality classifiers of pretraining data.
//!
//! The computation is deterministic: the same texts give the same bits.

pub mod features;
pub mod file;
mod logistic;
mod vocabulary;

pub use logistic::{Label, ln_1p_exp, logistic};
pub use vocabulary::{Sample, Vocabulary, dot};
