//! Requests and answers.

use dataset::{FinishReason, Message};
pub use json_client::RequestError as SampleError;
use llama::SamplingParams;

/// A request for one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRequest {
    /// The conversation that the model continues.
    pub messages: Vec<Message>,
    /// Functions that the model may call, as JSON schemas.
    pub tools: Vec<serde_json::Value>,
    /// Sampling parameters.
    pub sampling: SamplingParams,
    /// Seed of this answer.
    pub seed: u64,
    /// Maximum number of tokens of the answer.
    pub max_new_tokens: usize,
    /// Strings that end the answer; its text stops before them.
    pub stop: Vec<String>,
}

impl SampleRequest {
    /// An answer to `messages` at temperature 1 with seed 0.
    #[must_use]
    pub fn new(messages: Vec<Message>, max_new_tokens: usize) -> Self {
        let sampling = SamplingParams::default();
        Self { messages, tools: Vec::new(), sampling, seed: 0, max_new_tokens, stop: Vec::new() }
    }
}

/// Tokens that end an answer, in addition to those of the model's files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopTokens {
    /// Continue past the end of the turn, up to the maximum length.
    pub ignore_eos: bool,
    /// Further token ids that end an answer.
    pub ids: Vec<i64>,
}

/// How conversations become prompts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// Continue the last message, which must be an assistant message (a prefilled answer), instead of starting a new
    /// turn. The answer is the text after it.
    pub continues: bool,
    /// Variables of the chat template (`enable_thinking`, ...).
    pub variables: serde_json::Map<String, serde_json::Value>,
}

impl Turn {
    /// For fingerprints of resumable outputs.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", self.continues, serde_json::Value::Object(self.variables.clone()))
    }
}

/// A sampled answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text, without special tokens and without the stop string.
    pub text: String,
    /// The reason why the answer ended.
    pub finish_reason: FinishReason,
    /// Sum of the log-probabilities (natural logarithm, temperature 1) of the generated tokens; `None` if a server
    /// sends none.
    pub logprob: Option<f64>,
    /// Number of generated tokens, including the one that ended the answer; 0 if a server does not send it.
    pub tokens: u64,
    /// The ids of the tokens; `None` if a server sends none.
    pub token_ids: Option<Vec<i64>>,
    /// The log-probabilities of the tokens; `None` if a server sends none.
    pub token_logprobs: Option<Vec<f32>>,
}
