//! Safety tuning without libtorch: a model's safety measured from its answers, and data to tune it.
//!
//! - [`sets`]: probes from sets in their published forms; [`probe`]: what a model should do about each.
//! - [`answers`]: answers from files, and answers labelled by people; [`degenerate`]: answers that are none.
//! - [`judge`]: refused, answered, violating, empty, degenerate; with a guard in front, behind, and both.
//! - [`figures`]: VR and FRR by part, with intervals, and paired changes; [`correction`]: without the judge's own error.
//! - [`summary`]: `summary.json` and the report; [`eval`], [`gate`], [`command`]: `herd safety eval` and `gate`.
//! - [`make`]: `herd safety make refusals`, `pairs`, `many-shot`.
//! - [`memorisation`]: runs of tokens of a corpus, found by hash and compared.
//! - [`sweep`]: a recipe for a grid of mixes, and its report.
//!
//! Nothing here prints, logs or reports a text of a set or of an answer: ids, categories, scores and counts only.

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
