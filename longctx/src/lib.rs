//! Long-context data without a model: every answer is computed from the text, and verified by independent code.
//!
//! - [`stream`]: all texts as one haystack whose paragraphs are tokenised once; [`counter`]: exact lengths with chat template.
//! - [`task`]: the questions; [`record`]: conversations that fill their bucket.
//! - [`repo`]: Python packages and their import graphs.
//! - [`verify`]: derives the answers again from the context alone.
//! - [`windows`], [`split`]: keep training and evaluation apart.
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
