//! A guard for a model, without libtorch: its prompts, its verdicts, and their use in a server.
//!
//! - [`record`]: conversations whose last turn is judged, and labelled records; [`clean`]: normalises text for a guard.
//! - [`prompt`]: the prompt of a guard that is a language model; no text of a message changes its structure.
//! - [`split`]: splits that keep groups and near copies on one side; [`train`]: makes a guard's folder from records.
//! - [`linear`]: the tier that every guard has; [`fusion`]: combines the tiers and sets the threshold.
//! - [`guard`]: verdicts; [`card`]: the guard's folder; [`window`]: windows over long texts.
//! - [`holdback`]: which part of an answer may leave a server; [`worker`]: a guard in its own thread; [`moderation`]: `/v1/moderations`.
//! - [`measure`], [`robust`], [`command`]: figures, and `herd safety guard`.
//!
//! The language model itself is a [`guard::Scorer`], which another crate implements. This crate prints and logs no text.

pub mod card;
pub mod clean;
pub mod command;
pub mod fusion;
pub mod guard;
pub mod holdback;
pub mod linear;
pub mod measure;
pub mod moderation;
pub mod prompt;
pub mod record;
pub mod robust;
pub mod split;
pub mod train;
pub mod window;
pub mod worker;

pub use guard::{Guard, Judge, Scorer, Verdict};
pub use record::Asked;
