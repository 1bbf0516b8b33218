//! A guard in front of a model, without libtorch: what it is asked, what it says, and what a server does with that.
//!
//! - [`record`]: conversations whose last turn is judged, labelled records; [`clean`]: text as a guard sees it.
//! - [`prompt`]: the prompt of a guard that is a language model; no text of a message changes its structure.
//! - [`split`]: splits that keep groups and near copies on one side; [`train`]: from records to a guard's folder.
//! - [`linear`]: the tier that every guard has; [`fusion`]: the sum of the tiers and the threshold.
//! - [`guard`]: verdicts; [`card`]: the guard's folder; [`window`]: windows over long texts.
//! - [`holdback`]: what of an answer may leave a server; [`worker`]: a guard in its thread; [`moderation`]: `/v1/moderations`.
//! - [`measure`], [`robust`], [`command`]: figures, and `herd safety guard`.
//!
//! The language model itself is a [`guard::Scorer`], which another crate implements. Nothing here prints or logs a text.

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
