//! The protocol of an evaluation: everything that decides what a model is asked, apart from the model. Figures of different
//! protocols are not put beside each other.

use longctx::needles::Wording;
use serde::{Deserialize, Serialize};

/// What was asked and how, as `protocol.json` holds it; `herd eval compare` refuses runs whose protocols differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// The version of this command's protocol; it changes when the same arguments give other items.
    pub version: String,
    /// The tasks.
    pub tasks: Vec<String>,
    /// Lengths in tokens.
    pub lengths: Vec<usize>,
    /// What a length counts.
    pub length_counts: String,
    /// Depths of the grid, in percent of the sentences.
    pub depths: Vec<f64>,
    /// Haystacks of the grid for each length.
    pub haystacks: u64,
    /// `shared`: the needles of all depths stand in one text; `one`: each prompt has one needle.
    pub needles: String,
    /// Needles put in and asked for by multi-needle.
    pub multi_needle: [usize; 2],
    /// Samples of every other task for each length.
    pub samples: u64,
    /// The wording of needles.
    pub wording: Wording,
    /// How answers begin.
    pub prefilled: String,
    /// How answers are scored.
    pub score: String,
    /// The predicted tokens of ppl-by-position.
    pub predicted_tokens: Option<usize>,
    /// Temperature.
    pub temperature: f64,
    /// The seed of all choices.
    pub seed: u64,
    /// SHA-256 over the tokenizer's files: lengths are counted with it.
    pub tokenizer: String,
    /// SHA-256 over the texts of the evaluation side.
    pub texts: Option<String>,
    /// SHA-256 over the packages.
    pub repositories: Option<String>,
}

/// The version of the protocol.
pub const VERSION: &str = "herd longctx eval 1";
/// What lengths count.
pub const LENGTH_COUNTS: &str =
    "chat template, text, question, beginning of the answer, and the tokens that the model may write";
/// How answers begin.
pub const PREFILLED: &str = "niah, multi-needle and ruler with the start of the answer; repo without";
/// How answers are scored.
pub const SCORE: &str =
    "share of the references that the answer contains in lower case (RULER); repo: the same set of names";

impl Protocol {
    /// For people: a line for each key.
    ///
    /// # Errors
    /// When serde refuses it.
    pub fn text(&self) -> anyhow::Result<String> {
        let value = serde_json::to_value(self)?;
        let lines = value.as_object().into_iter().flatten().map(|(key, value)| format!("{key}: {value}"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}
