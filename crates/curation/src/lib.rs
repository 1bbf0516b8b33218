//! Model-based quality control of conversations (the Llama 3 paper, section 4.2.3). `text-quality` has the quality
//! control that needs no model.
//!
//! - [`judge`]: a language model as the judge, with rubrics from files; [`JudgeArgs`] selects the judge.
//! - [`embed`]: embeddings of whole conversations, for [`text_quality::duplicates`].
//! - [`quality`]: selection and order of good conversations, as pure functions of scores.
//! - [`topics`]: topics by keywords, if no judge labels them.

pub mod embed;
pub mod judge;
mod judge_args;
pub mod quality;
pub mod topics;

pub use judge_args::JudgeArgs;
