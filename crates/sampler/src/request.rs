//! What is asked, and what comes back.

use dataset::{FinishReason, Message};
use llama::SamplingParams;

/// One answer to sample.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleRequest {
    /// The conversation that the model is to go on with.
    pub messages: Vec<Message>,
    /// Functions that the model may call, as JSON schemas.
    pub tools: Vec<serde_json::Value>,
    /// How to choose tokens.
    pub sampling: SamplingParams,
    /// Seed of this answer alone.
    pub seed: u64,
    /// The most tokens of the answer.
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

/// Tokens that end an answer, besides those that the model's files name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopTokens {
    /// Go on past the end of the turn, up to the maximum.
    pub ignore_eos: bool,
    /// Further token ids that end an answer.
    pub ids: Vec<i64>,
}

/// How conversations are made into prompts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Turn {
    /// Go on in the middle of the last message, which has to be the assistant's (a prefilled answer), instead of
    /// beginning a new turn. The answer is what comes behind its text.
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
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// Sum of the log-probabilities (natural logarithm, temperature 1) of the generated tokens; `None` where a server
    /// gives none.
    pub logprob: Option<f64>,
    /// Generated tokens, the one that ended the answer included; 0 where a server does not say.
    pub tokens: u64,
    /// Their ids; `None` where a server gives none.
    pub token_ids: Option<Vec<i64>>,
    /// Their log-probabilities; `None` where a server gives none.
    pub token_logprobs: Option<Vec<f32>>,
}

/// Why a request has no answer, for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// The request itself: the chat template refuses it, the prompt is too long, a value makes no sense.
    #[error("{0}")]
    Request(String),
    /// The server refuses the request; asking again would not help.
    #[error("{url} refuses the request: {reason}")]
    Refused {
        /// Where it was sent.
        url: String,
        /// The status and the server's words.
        reason: String,
    },
    /// The server gave no answer in all attempts.
    #[error("{url} gave no answer in {attempts} attempts; at last: {reason}")]
    NoAnswer {
        /// Where it was sent.
        url: String,
        /// Attempts made.
        attempts: u32,
        /// How the last one went.
        reason: String,
    },
}
