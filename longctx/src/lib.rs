//! Long-context data without a model: every answer is computed from the text, and checked again by other code.
//!
//! - [`stream`]: texts as one haystack whose paragraphs are tokenised once; [`counter`]: exact lengths with chat template.
//! - [`task`]: what is asked, by [`record`] put into conversations that fill their bucket.
//! - [`repo`]: packages of Python files, who imports what in them.
//! - [`verify`]: answers derived again from the context alone.
//! - [`windows`], [`split`]: what training and evaluation must not share.
//! - [`ruler`]: RULER's text tasks, for evaluation, and their score; [`needles`]: needles at chosen depths.
//! - [`command`]: `longctx make`, `verify`, `mix`. Nothing here needs libtorch.

mod ask;
pub mod command;
pub mod context;
pub mod counter;
pub mod documents;
pub mod draw;
mod key_value;
pub mod needles;
pub mod phrases;
pub mod record;
pub mod repo;
pub mod ruler;
pub mod sentences;
pub mod split;
mod statements;
pub mod stream;
pub mod task;
mod turns;
pub mod verify;
pub mod windows;
mod words;
