//! `POST /v1/responses`: OpenAI's newer form of a conversation. A request becomes one of `/v1/chat/completions`, and
//! the answer, whole or streamed, is brought into the newer form. The server keeps nothing, so fields that point at
//! an earlier response are refused.

mod events;
mod request;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::{Body, to_bytes};
use axum::http::StatusCode;
use axum::response::Response;
use http_service::{Answer, Service, Ticket};
use rand::RngExt;
use serde_json::{Value, json};

use crate::fields::RequestError;
use crate::respond::{refusal, respond};

/// The path.
pub(crate) struct Responses {
    /// The path that generates.
    pub chat: Arc<dyn Service>,
}

impl Service for Responses {
    fn call(&self, body: Vec<u8>, ticket: Ticket) -> Answer {
        let chat = self.chat.clone();
        Box::pin(async move {
            let (asked, shown) = match request::chat_request(&body) {
                Ok(read) => read,
                Err(RequestError { status, field, sentence }) => return refusal(status, field, &sentence),
            };
            let stream = asked["stream"] == json!(true);
            let mut response = chat.call(asked.to_string().into_bytes(), ticket).await;
            if response.status() != StatusCode::OK {
                return told_of_input(response).await;
            }
            if stream {
                let body = std::mem::take(response.body_mut());
                *response.body_mut() = Body::new(events::Events::new(body, shown));
                return response;
            }
            let Ok(bytes) = to_bytes(std::mem::take(response.body_mut()), usize::MAX).await else {
                return refusal(500, None, "the answer could not be read");
            };
            let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            *response.body_mut() = Body::from(whole(shown, &answer).to_string());
            response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
            response
        })
    }

    fn refuse(&self, status: StatusCode, sentence: String) -> Response {
        refusal(status.as_u16(), None, &sentence)
    }
}

/// Renames the fields in an error of the inner path to those of this path.
async fn told_of_input(mut response: Response) -> Response {
    let Ok(bytes) = to_bytes(std::mem::take(response.body_mut()), usize::MAX).await else { return response };
    let mut error: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    for (inner, own) in [("messages", "input"), ("response_format", "text"), ("max_tokens", "max_output_tokens")] {
        if error["error"]["param"] == inner {
            error["error"]["param"] = own.into();
            let sentence = error["error"]["message"].as_str().unwrap_or_default();
            let renamed = sentence.strip_prefix(inner).map_or(sentence.to_owned(), |rest| format!("{own}{rest}"));
            error["error"]["message"] = renamed.into();
        }
    }
    let retry = response.headers().get(axum::http::header::RETRY_AFTER).cloned();
    let mut told = respond(response.status().as_u16(), "application/json", Body::from(error.to_string()));
    if let Some(retry) = retry {
        told.headers_mut().insert(axum::http::header::RETRY_AFTER, retry);
    }
    told
}

/// An id with the prefix that clients know.
fn id(prefix: &str) -> String {
    format!("{prefix}_{:032x}", rand::rng().random::<u128>())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A text of the answer.
fn text_part(text: &str, logprobs: Vec<Value>) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs})
}

/// The message of an answer.
fn message(id: &str, status: &str, content: Vec<Value>) -> Value {
    json!({"type": "message", "id": id, "status": status, "role": "assistant", "content": content})
}

/// A call of a function, from a chat answer's.
fn function_call(call: &Value) -> Value {
    let function = &call["function"];
    json!({"type": "function_call", "id": id("fc"), "call_id": call["id"], "name": function["name"],
        "arguments": function["arguments"], "status": "completed"})
}

/// Records the end state in a response.
fn ended(response: &mut Value, reason: &str, output: Vec<Value>, usage: &Value) {
    let why = match reason {
        "length" => Some("max_output_tokens"),
        "content_filter" => Some("content_filter"),
        _ => None,
    };
    response["status"] = if why.is_some() { "incomplete" } else { "completed" }.into();
    response["incomplete_details"] = why.map_or(Value::Null, |why| json!({"reason": why}));
    response["output"] = output.into();
    response["usage"] = json!({"input_tokens": usage["prompt_tokens"], "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage["completion_tokens"], "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"]});
}

/// The whole answer.
fn whole(mut response: Value, answer: &Value) -> Value {
    let choice = &answer["choices"][0];
    let reason = choice["finish_reason"].as_str().unwrap_or_default();
    let calls = choice["message"]["tool_calls"].as_array().cloned().unwrap_or_default();
    let text = choice["message"]["content"].as_str().unwrap_or_default();
    let mut output = Vec::new();
    if !text.is_empty() || calls.is_empty() {
        let logprobs = choice["logprobs"]["content"].as_array().cloned().unwrap_or_default();
        let status = if matches!(reason, "length" | "content_filter") { "incomplete" } else { "completed" };
        output.push(message(&id("msg"), status, vec![text_part(text, logprobs)]));
    }
    output.extend(calls.iter().map(function_call));
    response["model"] = answer["model"].clone();
    ended(&mut response, reason, output, &answer["usage"]);
    response
}
