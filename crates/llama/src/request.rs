//! What an engine is asked, and how it says no.

use crate::sampling::SamplingParams;

/// Names a request within its engine.
pub type RequestId = u64;

/// One sequence to generate.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt's token ids.
    pub prompt: Vec<i64>,
    /// How to choose tokens.
    pub sampling: SamplingParams,
    /// Seed of this sequence's generator.
    pub seed: u64,
    /// The most tokens to generate.
    pub max_new_tokens: usize,
    /// Of how many of the most likely tokens to tell the log-probabilities at each place; 0 for none.
    pub top_logprobs: usize,
}

/// What to do after a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Generate another one, if the maximum allows.
    Continue,
    /// This sequence is complete.
    Stop,
}

/// Why a request cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The prompt leaves no room in the context.
    #[error(
        "request {index}: the prompt has {prompt} tokens, the model's context is {context}: shorten the prompt, or take a \
         model with a longer context"
    )]
    PromptTooLong {
        /// Which request, from 0.
        index: usize,
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the context.
        context: i64,
    },
    /// The cache can never hold the request.
    #[error(
        "request {index}: prompt and answer may take {needed} tokens, the cache holds {cache}: allow fewer new tokens, or \
         give the cache more memory"
    )]
    CacheTooSmall {
        /// Which request, from 0.
        index: usize,
        /// Tokens of the prompt and of the longest answer.
        needed: usize,
        /// Tokens that the cache holds.
        cache: usize,
    },
    /// A prompt without tokens, or with ids outside the vocabulary.
    #[error("request {index}: {what}")]
    Prompt {
        /// Which request, from 0.
        index: usize,
        /// What is wrong.
        what: String,
    },
    /// A sampling value that makes no sense.
    #[error("{0}")]
    Sampling(String),
    /// The logits are not numbers.
    #[error("request {index}: the model's logits are not finite after {tokens} tokens; are the weights damaged?")]
    NotFinite {
        /// Which request, from 0.
        index: usize,
        /// Tokens before that.
        tokens: i64,
    },
    /// libtorch failed, most likely for lack of memory.
    #[error("the engine failed: {0}\nIf that is for lack of memory, use fewer slots or shorter answers")]
    Engine(String),
}

impl GenerateError {
    /// The same error of request `index`.
    pub(crate) fn at(self, at: usize) -> Self {
        match self {
            Self::NotFinite { tokens, .. } => Self::NotFinite { index: at, tokens },
            other => other,
        }
    }
}
