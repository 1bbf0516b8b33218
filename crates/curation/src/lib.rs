//! Quality control of conversations that asks models (the Llama 3 paper, section 4.2.3). `text-quality` has what needs none.
//!
//! - [`judge`]: a language model as the judge, with rubrics from files; [`JudgeArgs`] says who judges.
//! - [`embed`]: embeddings of whole conversations, for [`text_quality::duplicates`].
//! - [`quality`]: which conversations are good enough, and their order: pure functions of scores.
//! - [`topics`]: topics by keywords, where no judge labels them.

pub mod embed;
pub mod judge;
mod judge_args;
pub mod quality;
pub mod topics;

pub use judge_args::JudgeArgs;
