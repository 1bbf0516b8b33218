//! The parts of [`longctx`] that need a model: they link libtorch or ask a server.
//!
//! - [`eval`]: needles, RULER, repositories and the loss by context length, with one written protocol.
//! - [`extend`]: extends a model's context in stages; a stage ends when its gate is passed.
//! - [`world`]: the texts and packages that questions are about.
//! - [`write`]: questions and summaries that a model writes about documents.
//! - [`command`]: `herd longctx`.

pub mod command;
pub mod eval;
pub mod extend;
pub mod world;
pub mod write;
