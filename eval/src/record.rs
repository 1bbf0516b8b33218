//! `samples.jsonl`: one judged answer per line.

use std::collections::BTreeMap;
use std::path::Path;

use dataset::{FinishReason, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::items::Item;
use crate::score::{Judgement, Scores};

/// The answer of a model before it is judged: a line of `responses.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Response {
    /// The benchmark.
    pub task: String,
    /// The id of the item in the benchmark.
    pub id: String,
    /// The number of the sample among those of the item, from 0.
    pub sample: usize,
    /// The text.
    pub response: String,
    /// `stop`, `length`, another server's term, or `error`.
    pub finish_reason: String,
    /// Number of generated tokens.
    pub tokens: u64,
    /// The reason why there is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Response {
    /// The term in records.
    #[must_use]
    pub fn word(reason: &FinishReason) -> String {
        match reason {
            FinishReason::Stop => "stop".into(),
            FinishReason::Length => "length".into(),
            FinishReason::Other(word) => word.clone(),
        }
    }
}

/// A judged answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The benchmark.
    pub task: String,
    /// The id of the item in the benchmark.
    pub id: String,
    /// The number of the sample among those of the item, from 0.
    pub sample: usize,
    /// Whether it is right.
    pub passed: bool,
    /// The result as one word.
    pub status: String,
    /// The columns: for each a numerator and a denominator.
    pub scores: Scores,
    /// The answer that was extracted from the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extracted: Option<String>,
    /// One sentence about the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The groups for breakdowns.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, String>,
    /// The question without instructions and examples.
    pub question: String,
    /// The prompt that the model got.
    pub prompt: Vec<Message>,
    /// The response of the model.
    pub response: String,
    /// The reason why the answer ended.
    pub finish_reason: String,
    /// Number of generated tokens.
    pub tokens: u64,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Sample {
    /// An item's answer with its judgement.
    #[must_use]
    pub fn new(item: &Item, response: Response, judgement: Judgement) -> Self {
        let error = response.error;
        Self {
            task: response.task,
            id: response.id,
            sample: response.sample,
            passed: judgement.passed,
            status: if error.is_some() { "no answer".into() } else { judgement.status },
            scores: judgement.scores,
            extracted: judgement.extracted,
            detail: error.or(judgement.detail),
            groups: item.groups.clone(),
            question: item.question.clone(),
            prompt: item.messages.clone(),
            response: response.response,
            finish_reason: response.finish_reason,
            tokens: response.tokens,
            extra: judgement.extra,
        }
    }
}

/// The samples of a run folder.
///
/// # Errors
/// When `samples.jsonl` is missing or incomplete.
pub fn read(run: &Path) -> anyhow::Result<Vec<Sample>> {
    let path = run.join("samples.jsonl");
    if !path.exists() {
        anyhow::bail!("{}: no samples.jsonl; is this a folder of `herd eval`, and is the run complete?", run.display());
    }
    Ok(dataset::jsonl::read_all(path)?)
}
