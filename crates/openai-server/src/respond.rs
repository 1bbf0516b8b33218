//! The server's answers in OpenAI's form, complete or as a stream of pieces.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use dataset::FinishReason;
use llama::{Choice, TokenScore};
use rand::RngExt;
use serde_json::{Map, Value, json};

use crate::calls::Call;
use crate::generator::Generator;
use crate::params::Kind;

/// The values that all pieces of one answer share.
pub(crate) struct Form {
    pub kind: Kind,
    id: String,
    created: u64,
    model: String,
    logprobs: bool,
}

/// A token with its log-probability and the most likely alternatives.
pub(crate) struct TokenInfo {
    text: String,
    /// `None` for a prompt's first token.
    logprob: Option<f32>,
    top: Vec<(String, f32)>,
}

impl TokenInfo {
    pub fn new(generator: &Generator, choice: &Choice) -> Self {
        let top = choice.top.iter().map(|&(id, logprob)| (generator.token_text(id), logprob)).collect();
        Self { text: generator.token_text(choice.id), logprob: Some(choice.logprob), top }
    }

    /// The information for a token of the prompt.
    pub fn given(generator: &Generator, score: &TokenScore) -> Self {
        let top = score.top.iter().map(|&(id, logprob)| (generator.token_text(id), logprob)).collect();
        Self { text: generator.token_text(score.id), logprob: score.logprob, top }
    }
}

/// One choice of a complete answer.
pub(crate) struct Whole {
    pub text: String,
    pub told: Vec<TokenInfo>,
    pub reason: FinishReason,
    pub calls: Vec<Call>,
}

impl Form {
    pub fn new(generator: &Generator, kind: Kind, logprobs: bool) -> Self {
        let prefix = if kind == Kind::Chat { "chatcmpl" } else { "cmpl" };
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let id = format!("{prefix}-{:032x}", rand::rng().random::<u128>());
        Self { kind, id, created, model: generator.name().to_owned(), logprobs }
    }

    /// Whether the answer includes tokens with their log-probabilities.
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
            let logprobs = self.logprobs(&whole.told, &mut 0);
            let Whole { text, reason, calls, .. } = whole;
            match self.kind {
                Kind::Chat => {
                    let mut message = json!({"role": "assistant", "content": text});
                    if !calls.is_empty() {
                        let calls: Vec<Value> = calls.iter().map(call).collect();
                        message["tool_calls"] = calls.into();
                        if text.is_empty() {
                            message["content"] = Value::Null;
                        }
                    }
                    json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason})
                }
                Kind::Text => json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}),
            }
        };
        let mut envelope = self.envelope(false, choices.into_iter().enumerate().map(choice).collect());
        envelope.insert("usage".into(), usage);
        Value::Object(envelope)
    }

    /// The first piece of a choice, if the form has a first piece.
    pub fn opening(&self, index: usize) -> Option<Value> {
        (self.kind == Kind::Chat).then(|| {
            let delta = json!({"role": "assistant", "content": ""});
            let choice = json!({"index": index, "delta": delta, "logprobs": null, "finish_reason": null});
            Value::Object(self.envelope(true, vec![choice]))
        })
    }

    /// A piece of text with its tokens. `offset` is the position of the piece in the answer, in characters, and is
    /// advanced past it.
    pub fn piece(&self, index: usize, text: &str, told: &[TokenInfo], offset: &mut usize) -> Value {
        let logprobs = self.logprobs(told, offset);
        let choice = match self.kind {
            Kind::Chat => {
                json!({"index": index, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": null})
            }
            Kind::Text => json!({"index": index, "text": text, "logprobs": logprobs, "finish_reason": null}),
        };
        Value::Object(self.envelope(true, vec![choice]))
    }

    /// A tool call with number `number` in its choice.
    pub fn call_piece(&self, index: usize, number: usize, called: &Call) -> Value {
        let mut call = call(called);
        call["index"] = number.into();
        let choice = json!({"index": index, "delta": {"tool_calls": [call]}, "logprobs": null, "finish_reason": null});
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

    /// The piece after the last choice, with the token counts.
    pub fn usage_piece(&self, usage: Value) -> Value {
        let mut envelope = self.envelope(true, Vec::new());
        envelope.insert("usage".into(), usage);
        Value::Object(envelope)
    }

    fn logprobs(&self, told: &[TokenInfo], offset: &mut usize) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        match self.kind {
            Kind::Chat => {
                let entry = |text: &str, logprob: Option<f32>| json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()});
                let content = told.iter().map(|token| {
                    let mut value = entry(&token.text, token.logprob);
                    value["top_logprobs"] =
                        token.top.iter().map(|(text, logprob)| entry(text, Some(*logprob))).collect();
                    value
                });
                json!({"content": content.collect::<Vec<_>>()})
            }
            Kind::Text => {
                let offsets: Vec<usize> = told
                    .iter()
                    .map(|token| {
                        let start = *offset;
                        *offset += token.text.chars().count();
                        start
                    })
                    .collect();
                json!({"tokens": told.iter().map(|token| &token.text).collect::<Vec<_>>(),
                    "token_logprobs": told.iter().map(|token| token.logprob).collect::<Vec<_>>(),
                    "top_logprobs": told.iter().map(top_of_text).collect::<Vec<_>>(),
                    "text_offset": offsets})
            }
        }
    }
}

/// The most likely tokens and the sampled one, by their texts. Of two tokens with the same text, the more likely one
/// counts.
fn top_of_text(token: &TokenInfo) -> Value {
    let Some(logprob) = token.logprob else { return Value::Null };
    let mut map = Map::new();
    for (text, logprob) in &token.top {
        map.entry(text.clone()).or_insert_with(|| json!(logprob));
    }
    if !token.top.is_empty() {
        map.entry(token.text.clone()).or_insert_with(|| json!(logprob));
    }
    Value::Object(map)
}

fn call(call: &Call) -> Value {
    let id = format!("call_{:032x}", rand::rng().random::<u128>());
    json!({"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
}

/// The token counts of a request.
pub(crate) fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens})
}

/// An error in OpenAI's form.
pub(crate) fn error(status: u16, field: Option<&str>, sentence: &str) -> Value {
    let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
    let code = match status {
        404 if field == Some("model") => Some("model_not_found"),
        404 => Some("not_found"),
        405 => Some("method_not_allowed"),
        429 => Some("queue_full"),
        _ => None,
    };
    json!({"error": {"message": sentence, "type": kind, "param": field, "code": code}})
}

/// A response with a body.
pub(crate) fn respond(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A response that refuses a request.
pub(crate) fn refusal(status: u16, field: Option<&str>, sentence: &str) -> Response {
    let mut response = respond(status, "application/json", Body::from(error(status, field, sentence).to_string()));
    if matches!(status, 429 | 503) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
