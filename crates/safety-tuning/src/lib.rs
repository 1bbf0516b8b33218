//! Safety tuning without libtorch: measures a model's safety from its answers, and makes data to tune it.
//!
//! - [`sets`]: probes from sets in their published forms; [`probe`]: a request with the expected behaviour.
//! - [`answers`]: answers from files, and answers labelled by people; [`degenerate`]: finds degenerate answers.
//! - [`judge`]: outcomes (refused, answered, violating, empty, degenerate), with a guard before or after the model, or both.
//! - [`figures`]: VR and FRR by part, with intervals, and paired changes; [`correction`]: corrects for the judge's own error.
//! - [`summary`]: `summary.json` and the report; [`eval`], [`gate`], [`command`]: `herd safety eval` and `gate`.
//! - [`make`]: `herd safety make refusals`, `pairs`, `many-shot`.
//! - [`memorisation`]: n-grams of a corpus, found by hash and verified.
//! - [`sweep`]: a recipe for a grid of mixes, and its report.
//!
//! The crate prints, logs and reports no text of a set or of an answer: only ids, categories, scores and counts.

pub mod answers;
pub mod command;
pub mod correction;
pub mod degenerate;
pub mod eval;
pub mod figures;
pub mod files;
pub mod gate;
pub mod judge;
pub mod make;
pub mod memorisation;
pub mod probe;
mod rows;
pub mod sets;
pub mod summary;
pub mod sweep;
