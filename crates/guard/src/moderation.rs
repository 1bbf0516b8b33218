//! `POST /v1/moderations` in OpenAI's form.
//!
//! A request is `{"input": text | [texts] | [{"type": "text", "text": ...}], "model"?}`, or `{"messages": [...]}` for a conversation
//! whose last turn is judged. The answer uses OpenAI's category names; its field `herd` has the policy's own categories and the score.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use dataset::Message;
use http_service::{Answer, Routes, Service, Ticket};
use safety_text::policy::{OPENAI, Policy};
use serde_json::{Map, Value, json};

use crate::guard::Verdict;
use crate::record::Asked;
use crate::worker::{GuardCounts, NoVerdict, Worker};

/// The path of the endpoint.
pub const PATH: &str = "/v1/moderations";
/// Maximum number of texts in a request.
const MOST: usize = 256;

/// Parses a request into conversations; each gets a verdict.
///
/// # Errors
/// The field and the fault.
pub fn parse(body: &[u8]) -> Result<Vec<Asked>, (Option<&'static str>, String)> {
    let value: Value =
        serde_json::from_slice(body).map_err(|error| (None, format!("the body is not valid JSON: {error}")))?;
    let Value::Object(mut map) = value else { return Err((None, "the body must be a JSON object".into())) };
    // A server has one guard; clients send names of OpenAI's models, which are ignored.
    map.remove("model");
    let input = map.remove("input").filter(|value| !value.is_null());
    let messages = map.remove("messages").filter(|value| !value.is_null());
    if let Some(name) = map.keys().find(|name| !map[*name].is_null()) {
        return Err((None, format!("{name:?} is not a field that this server knows")));
    }
    let bad = |what: String| (Some("input"), format!("input: {what}"));
    let asked = match (input, messages) {
        (Some(Value::String(text)), None) => vec![Asked::prompt(&text)],
        (Some(Value::Array(items)), None) if items.iter().all(Value::is_string) && !items.is_empty() => {
            items.iter().map(|text| Asked::prompt(text.as_str().unwrap_or_default())).collect()
        }
        // A list of parts is one input.
        (Some(Value::Array(items)), None) if !items.is_empty() => {
            let mut texts = Vec::new();
            for (at, item) in items.iter().enumerate() {
                match (item["type"].as_str(), item["text"].as_str()) {
                    (Some("text"), Some(text)) => texts.push(text),
                    (Some(kind), _) if kind != "text" => {
                        return Err(bad(format!("[{at}]: a guard cannot judge a part of type {kind:?}")));
                    }
                    _ => return Err(bad(format!("[{at}]: must be a text or {{\"type\": \"text\", \"text\": ...}}"))),
                }
            }
            vec![Asked::prompt(&texts.join("\n"))]
        }
        (Some(_), None) => return Err(bad("must be a text, a list of texts, or a list of text parts".into())),
        (None, Some(messages)) => {
            let bad = |what: String| (Some("messages"), what);
            let messages: Vec<Message> =
                serde_json::from_value(messages).map_err(|error| bad(format!("messages: {error}")))?;
            vec![Asked::from_messages(&messages).map_err(bad)?]
        }
        (Some(_), Some(_)) => {
            return Err((Some("input"), "input and messages are both given; one of them is judged".into()));
        }
        (None, None) => return Err((Some("input"), "input is missing; give input or messages".into())),
    };
    if asked.len() > MOST {
        return Err(bad(format!("has {} texts; at most {MOST} are judged at a time", asked.len())));
    }
    Ok(asked)
}

/// Builds the answer to a request.
#[must_use]
pub fn answer(policy: &Policy, guard: &str, asked: &[Asked], verdicts: &[Verdict]) -> Value {
    let results: Vec<Value> =
        asked.iter().zip(verdicts).map(|(asked, verdict)| result(policy, asked, verdict)).collect();
    let id: u128 = rand::random();
    json!({"id": format!("modr-{id:032x}"), "model": guard, "results": results})
}

fn result(policy: &Policy, asked: &Asked, verdict: &Verdict) -> Value {
    let (mut flags, mut scores, mut types) = (Map::new(), Map::new(), Map::new());
    for name in OPENAI {
        let of: Vec<&str> = policy.by_openai(name).map(|category| category.id.as_str()).collect();
        let score = of.iter().filter_map(|id| verdict.categories.get(*id)).copied().fold(0.0, f64::max);
        let flagged = of.iter().any(|id| verdict.violated.iter().any(|known| known == id));
        flags.insert(name.into(), flagged.into());
        scores.insert(name.into(), json!(score));
        types.insert(name.into(), json!(["text"]));
    }
    let mut own = serde_json::to_value(verdict).unwrap_or_default();
    own["policy"] = policy.name.clone().into();
    own["judged"] = crate::prompt::name(asked.side()).to_lowercase().into();
    json!({"flagged": verdict.is_unsafe, "categories": flags, "category_scores": scores,
        "category_applied_input_types": types, "herd": own})
}

/// The moderation service.
pub struct Moderations {
    /// The guard.
    pub guard: Arc<Worker>,
}

impl Service for Moderations {
    fn call(&self, body: Vec<u8>, ticket: Ticket) -> Answer {
        let guard = self.guard.clone();
        Box::pin(async move {
            let _ticket = ticket;
            let asked = match parse(&body) {
                Ok(asked) => asked,
                Err((field, sentence)) => return failed(400, field, &sentence),
            };
            match guard.judge(asked.clone()).await {
                Ok(verdicts) => respond(200, &answer(guard.policy(), guard.name(), &asked, &verdicts)),
                Err(error @ NoVerdict::Full) => failed(429, None, &error.to_string()),
                Err(error) => failed(503, None, &error.to_string()),
            }
        })
    }

    fn refuse(&self, status: StatusCode, sentence: String) -> Response {
        failed(status.as_u16(), None, &sentence)
    }
}

/// Builds an error in OpenAI's form.
#[must_use]
pub fn error(status: u16, field: Option<&str>, sentence: &str) -> Value {
    let kind = if status >= 500 { "server_error" } else { "invalid_request_error" };
    let code = match status {
        429 => Some("queue_full"),
        503 => Some("guard_unavailable"),
        _ => None,
    };
    json!({"error": {"message": sentence, "type": kind, "param": field, "code": code}})
}

fn failed(status: u16, field: Option<&str>, sentence: &str) -> Response {
    let mut response = respond(status, &error(status, field, sentence));
    if matches!(status, 429 | 503) {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

fn respond(status: u16, value: &Value) -> Response {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Adds the guard's counters to `/metrics`.
#[must_use]
pub fn metrics(mut routes: Routes, guard: &Arc<Worker>) -> Routes {
    type Read = fn(&GuardCounts) -> &AtomicU64;
    let all: [(&str, &str, Read); 10] = [
        ("herd_guard_prompts_total", "Prompts that the guard judged.", |n| &n.prompts[0]),
        ("herd_guard_prompts_unsafe_total", "Prompts that the guard found unsafe.", |n| &n.prompts[1]),
        ("herd_guard_responses_total", "Verdicts on responses; a streamed one has several.", |n| &n.responses[0]),
        ("herd_guard_responses_unsafe_total", "Responses that the guard found unsafe.", |n| &n.responses[1]),
        ("herd_guard_failures_total", "Questions to the guard without a verdict.", |n| &n.failures),
        ("herd_guard_unjudged_total", "Texts that passed without a verdict (--guard-fail open).", |n| &n.unjudged),
        ("herd_guard_microseconds_total", "Time that verdicts took, waiting included.", |n| &n.micros),
        ("herd_guard_verdicts_total", "Questions to the guard with a verdict.", |n| &n.answered),
        ("herd_guard_prompt_tokens_total", "Tokens that the guard's language model computed.", |n| &n.computed),
        ("herd_guard_cached_tokens_total", "Tokens of the guard's prompt that were found in the cache.", |n| &n.cached),
    ];
    for (name, help, read) in all {
        let counts = guard.counts().clone();
        routes = routes.counter(name, help, move || read(&counts).load(Ordering::Relaxed) as f64);
    }
    routes
}

/// The routes of a server that only runs a guard.
#[must_use]
pub fn routes(guard: &Arc<Worker>) -> Routes {
    let model = json!({"id": guard.name(), "object": "model", "created": 0, "owned_by": "herd"});
    let list = json!({"object": "list", "data": [model]});
    let routes = Routes::new()
        .service(PATH, Arc::new(Moderations { guard: guard.clone() }))
        .get("/v1/models", move || list.clone())
        .get("/version", || json!({"version": env!("CARGO_PKG_VERSION")}))
        .error_body(|status, sentence| error(status.as_u16(), None, sentence));
    metrics(routes, guard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::tests::verdict;

    #[test]
    fn every_form_of_an_input_is_read() {
        let texts = |body: Value| -> Vec<String> {
            parse(body.to_string().as_bytes()).unwrap().iter().map(|asked| asked.text().to_owned()).collect()
        };
        assert_eq!(texts(json!({"input": "a", "model": "omni-moderation-latest"})), ["a"]);
        assert_eq!(texts(json!({"input": ["a", "b"]})), ["a", "b"]);
        assert_eq!(texts(json!({"input": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})), ["a\nb"]);
        let messages = json!([{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]);
        assert_eq!(texts(json!({"messages": messages})), ["r"]);
        for (body, what) in [
            (json!({}), "input is missing"),
            (json!({"input": 3}), "input: must be a text"),
            (json!({"input": []}), "input: must be a text"),
            (
                json!({"input": [{"type": "image_url"}]}),
                "input: [0]: a guard cannot judge a part of type \"image_url\"",
            ),
            (json!({"input": ["a", 3]}), "input: [0]: must be a text"),
            (json!({"input": "a", "mode": 1}), "\"mode\" is not a field"),
            (json!({"input": "a", "messages": messages}), "input and messages are both given"),
            (json!({"messages": []}), "messages: there is none to judge"),
            (json!({"input": vec!["x"; 300]}), "input: has 300 texts"),
        ] {
            let (_, sentence) = parse(body.to_string().as_bytes()).unwrap_err();
            assert!(sentence.starts_with(what), "{sentence}");
        }
        assert!(parse(b"{").unwrap_err().1.starts_with("the body is not valid JSON"));
    }

    #[test]
    fn an_answer_has_both_names() {
        let policy = Policy::builtin("herd-14").unwrap();
        let answer = answer(&policy, "g", &[Asked::prompt("x")], &[verdict(0.9)]);
        let result = &answer["results"][0];
        assert_eq!((&result["flagged"], &result["categories"]["violence"]), (&json!(true), &json!(true)));
        assert_eq!(
            (&result["categories"]["sexual"], &result["category_scores"]["violence"]),
            (&json!(false), &json!(0.9))
        );
        assert_eq!(result["categories"].as_object().unwrap().len(), OPENAI.len());
        assert_eq!((&result["herd"]["violated"], &result["herd"]["judged"]), (&json!(["S1"]), &json!("user")));
    }
}
