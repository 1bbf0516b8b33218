//! Requests to an engine, and their errors.

use crate::sampling::SamplingParams;

/// Identifies a request within its engine.
pub type RequestId = u64;

/// One sequence to generate.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt's token ids.
    pub prompt: Vec<i64>,
    /// Sampling parameters.
    pub sampling: SamplingParams,
    /// Seed of this sequence's random number generator.
    pub seed: u64,
    /// Maximal number of tokens to generate.
    pub max_new_tokens: usize,
    /// Number of the most likely tokens whose log-probabilities are reported at each position; 0 for none.
    pub top_logprobs: usize,
}

/// What to do after a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Generate another token, unless the sequence has reached its maximal length.
    Continue,
    /// This sequence is complete.
    Stop,
}

/// Why a request cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The prompt does not fit into the context.
    #[error(
        "request {index}: the prompt has {prompt} tokens, the model's context is {context}: shorten the prompt, or take a \
         model with a longer context"
    )]
    PromptTooLong {
        /// Index of the request, from 0.
        index: usize,
        /// Number of tokens of the prompt.
        prompt: usize,
        /// Context length in tokens.
        context: i64,
    },
    /// The request exceeds the whole cache.
    #[error(
        "request {index}: prompt and answer may take {needed} tokens, the cache holds {cache}: allow fewer new tokens, or \
         give the cache more memory"
    )]
    CacheTooSmall {
        /// Index of the request, from 0.
        index: usize,
        /// Number of tokens of the prompt and of the longest answer.
        needed: usize,
        /// Capacity of the cache in tokens.
        cache: usize,
    },
    /// The prompt has no tokens, or ids outside the vocabulary.
    #[error("request {index}: {what}")]
    Prompt {
        /// Index of the request, from 0.
        index: usize,
        /// Description of the fault.
        what: String,
    },
    /// A sampling parameter has an invalid value.
    #[error("{0}")]
    Sampling(String),
    /// The logits are not finite.
    #[error("request {index}: the model's logits are not finite after {tokens} tokens; are the weights damaged?")]
    NotFinite {
        /// Index of the request, from 0.
        index: usize,
        /// Number of prompt and generated tokens before the fault.
        tokens: i64,
    },
    /// The engine still has requests that were submitted one by one.
    #[error("the engine still has other requests: finish or cancel them before a call that generates several together")]
    Busy,
    /// libtorch failed, most likely because of too little memory.
    #[error("the engine failed: {0}\nIf that is for lack of memory, use fewer slots or shorter answers")]
    Engine(String),
}

impl GenerateError {
    /// Sets the request index of [`Self::NotFinite`]. Other errors are unchanged.
    pub(crate) fn at(self, at: usize) -> Self {
        match self {
            Self::NotFinite { tokens, .. } => Self::NotFinite { index: at, tokens },
            other => other,
        }
    }
}
