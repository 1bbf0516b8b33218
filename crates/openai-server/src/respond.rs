//! The server's answers in OpenAI's form, whole or in pieces.

use std::time::{SystemTime, UNIX_EPOCH};

use dataset::FinishReason;
use llama::Choice;
use rand::RngExt;
use serde_json::{Map, Value, json};

use crate::generator::Generator;
use crate::params::Kind;

/// What all pieces of one answer share.
pub(crate) struct Form {
    pub kind: Kind,
    id: String,
    created: u64,
    model: String,
    logprobs: bool,
}

/// A token and what is told of it.
pub(crate) struct Told {
    pub text: String,
    pub logprob: f32,
    pub top: Vec<(String, f32)>,
}

impl Told {
    pub fn new(generator: &Generator, choice: &Choice) -> Self {
        let top = choice.top.iter().map(|&(id, logprob)| (generator.token_text(id), logprob)).collect();
        Self { text: generator.token_text(choice.id), logprob: choice.logprob, top }
    }
}

/// One choice of an answer that is given whole.
pub(crate) struct Whole {
    pub text: String,
    pub told: Vec<Told>,
    pub reason: FinishReason,
}

impl Form {
    pub fn new(generator: &Generator, kind: Kind, logprobs: bool) -> Self {
        let prefix = if kind == Kind::Chat { "chatcmpl" } else { "cmpl" };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let id = format!("{prefix}-{:032x}", rand::rng().random::<u128>());
        Self { kind, id, created, model: generator.name().to_owned(), logprobs }
    }

    /// Whether tokens are told with their log-probabilities.
    pub fn tells_logprobs(&self) -> bool {
        self.logprobs
    }

    fn envelope(&self, streamed: bool, choices: Vec<Value>) -> Map<String, Value> {
        let object = match (self.kind, streamed) {
            (Kind::Chat, false) => "chat.completion",
            (Kind::Chat, true) => "chat.completion.chunk",
            (Kind::Text, _) => "text_completion",
        };
        let mut envelope = Map::new();
        envelope.insert("id".into(), self.id.clone().into());
        envelope.insert("object".into(), object.into());
        envelope.insert("created".into(), self.created.into());
        envelope.insert("model".into(), self.model.clone().into());
        envelope.insert("choices".into(), choices.into());
        envelope
    }

    /// The whole answer.
    pub fn whole(&self, choices: Vec<Whole>, usage: Value) -> Value {
        let choice = |(index, whole): (usize, Whole)| {
            let logprobs = self.logprobs(&whole.told);
            match self.kind {
                Kind::Chat => json!({"index": index, "message": {"role": "assistant", "content": whole.text},
                    "logprobs": logprobs, "finish_reason": whole.reason}),
                Kind::Text => json!({"index": index, "text": whole.text, "logprobs": logprobs,
                    "finish_reason": whole.reason}),
            }
        };
        let mut envelope = self.envelope(false, choices.into_iter().enumerate().map(choice).collect());
        envelope.insert("usage".into(), usage);
        Value::Object(envelope)
    }

    /// The first piece of a choice, if the form has one.
    pub fn opening(&self, index: usize) -> Option<Value> {
        (self.kind == Kind::Chat).then(|| {
            let delta = json!({"role": "assistant", "content": ""});
            let choice = json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
            Value::Object(self.envelope(true, vec![choice]))
        })
    }

    /// A token's piece.
    pub fn piece(&self, index: usize, text: &str, told: &Told) -> Value {
        let logprobs = self.logprobs(std::slice::from_ref(told));
        let choice = match self.kind {
            Kind::Chat => {
                json!({"index": index, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": null})
            }
            Kind::Text => json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": null}),
        };
        Value::Object(self.envelope(true, vec![choice]))
    }

    /// A choice's last piece.
    pub fn ending(&self, index: usize, reason: &FinishReason) -> Value {
        let choice = match self.kind {
            Kind::Chat => json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": reason}),
            Kind::Text => json!({"index": index, "text": "", "logprobs": null, "finish_reason": reason}),
        };
        Value::Object(self.envelope(true, vec![choice]))
    }

    /// The piece after the last choice that tells the tokens.
    pub fn usage_piece(&self, usage: Value) -> Value {
        let mut envelope = self.envelope(true, Vec::new());
        envelope.insert("usage".into(), usage);
        Value::Object(envelope)
    }

    fn logprobs(&self, told: &[Told]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        match self.kind {
            Kind::Chat => {
                let entry =
                    |text: &str, logprob: f32| json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()});
                let content = told.iter().map(|token| {
                    let mut value = entry(&token.text, token.logprob);
                    value["top_logprobs"] = token.top.iter().map(|(text, logprob)| entry(text, *logprob)).collect();
                    value
                });
                json!({"content": content.collect::<Vec<_>>()})
            }
            Kind::Text => {
                let top = |token: &Told| -> Map<String, Value> {
                    token.top.iter().map(|(text, logprob)| (text.clone(), json!(logprob))).collect()
                };
                json!({"tokens": told.iter().map(|token| &token.text).collect::<Vec<_>>(),
                    "token_logprobs": told.iter().map(|token| token.logprob).collect::<Vec<_>>(),
                    "top_logprobs": told.iter().map(top).collect::<Vec<_>>()})
            }
        }
    }
}

/// Tokens of a request.
pub(crate) fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens})
}

/// An error in OpenAI's form.
pub(crate) fn error(status: u16, field: Option<&str>, sentence: &str) -> Value {
    let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
    let code = match status {
        404 => Some("model_not_found"),
        429 => Some("queue_full"),
        _ => None,
    };
    json!({"error": {"message": sentence, "type": kind, "param": field, "code": code}})
}
