//! Long context with a model: what of [`longctx`] needs libtorch or a server.
//!
//! - [`eval`]: needles, RULER, repositories and the loss by context length; one protocol, which is written down.
//! - [`extend`]: a longer context in stages, each left only when its gate is passed.
//! - [`world`]: the texts and packages that are asked about.
//! - [`write`]: questions and summaries that a model writes about documents.
//! - [`command`]: `herd longctx`.

pub mod command;
pub mod eval;
pub mod extend;
pub mod world;
pub mod write;
