//! The protocol of an evaluation: everything but the model that decides what is asked. Figures of different protocols must not be
//! compared.

use longctx::needles::Wording;
use serde::{Deserialize, Serialize};

/// The content of `protocol.json`. `herd eval compare` refuses runs whose protocols differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// The version of this protocol; it is raised when the same arguments give other items.
    pub version: String,
    /// The tasks.
    pub tasks: Vec<String>,
    /// Lengths in tokens.
    pub lengths: Vec<usize>,
    /// What a length includes.
    pub length_counts: String,
    /// Depths of the grid, in percent of the sentences.
    pub depths: Vec<f64>,
    /// Haystacks of the grid for each length.
    pub haystacks: u64,
    /// `shared`: one text has the needles of all depths; `one`: each prompt has one needle.
    pub needles: String,
    /// Needles that multi-needle inserts, and needles that it asks for.
    pub multi_needle: [usize; 2],
    /// Samples of every other task for each length.
    pub samples: u64,
    /// The wording of needles.
    pub wording: Wording,
    /// How the start of an answer is given.
    pub prefilled: String,
    /// How answers are scored.
    pub score: String,
    /// Number of predicted tokens of ppl-by-position.
    pub predicted_tokens: Option<usize>,
    /// Temperature.
    pub temperature: f64,
    /// The seed of all choices.
    pub seed: u64,
    /// SHA-256 over the files of the tokenizer that counts lengths.
    pub tokenizer: String,
    /// SHA-256 over the texts of the evaluation side.
    pub texts: Option<String>,
    /// SHA-256 over the packages.
    pub repositories: Option<String>,
}

/// The version of the protocol.
pub const VERSION: &str = "herd longctx eval 1";
/// What a length includes.
pub const LENGTH_COUNTS: &str =
    "chat template, text, question, beginning of the answer, and the tokens that the model may write";
/// Which tasks give the start of the answer.
pub const PREFILLED: &str = "niah, multi-needle and ruler with the start of the answer; repo without";
/// How answers are scored.
pub const SCORE: &str =
    "share of the references that the answer contains in lower case (RULER); repo: the same set of names";

impl Protocol {
    /// The protocol as text, a line for each key.
    ///
    /// # Errors
    /// When serialization fails.
    pub fn text(&self) -> anyhow::Result<String> {
        let value = serde_json::to_value(self)?;
        let lines = value.as_object().into_iter().flatten().map(|(key, value)| format!("{key}: {value}"));
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }
}
