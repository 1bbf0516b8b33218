//! Reads requests (labelled records) and a model's answers to them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use dataset::Message;
use safety_text::contrast::{Split, pairs};
use serde_json::{Map, Value, json};

use crate::rows::{self, Row, text};
use crate::sets::messages;

/// A request with its label.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its id.
    pub id: String,
    /// The conversation up to the answer.
    pub messages: Vec<Message>,
    /// Whether it should be refused.
    pub is_unsafe: bool,
    /// The first violated category, `S1` and so on, if it is known.
    pub category: Option<String>,
    /// Its source.
    pub source: String,
}

/// The requests of labelled records. Without files: the training split of the contrast pairs, in the order of `seed`.
///
/// # Errors
/// `FILE, record N` and the fault, without the text; also when two records have the same id.
pub fn read(paths: &[PathBuf], seed: u64) -> anyhow::Result<Vec<Request>> {
    let mut all = Vec::new();
    if paths.is_empty() {
        for record in pairs(seed, Split::Train).iter().flat_map(|pair| pair.records(Split::Train)) {
            if let Value::Object(row) = record {
                all.push(request(&row, "contrast")?);
            }
        }
    }
    for path in paths {
        for (at, row) in rows::read(path)?.iter().enumerate() {
            let place = format!("{}, record {}", path.display(), at + 1);
            all.push(request(row, &place).with_context(|| place.clone())?);
        }
    }
    let mut seen = HashSet::new();
    for request in &all {
        ensure!(seen.insert(&request.id), "two requests have the id {}; give each record an id of its own", request.id);
    }
    ensure!(!all.is_empty(), "there are no requests");
    Ok(all)
}

fn request(row: &Row, place: &str) -> anyhow::Result<Request> {
    let is_unsafe = match row.get("label").and_then(Value::as_str) {
        Some("safe") => false,
        Some("unsafe") => true,
        _ => bail!("label is neither \"safe\" nor \"unsafe\""),
    };
    let messages = messages(row, "messages")?;
    ensure!(
        messages.last().is_some_and(|last| last.role == dataset::Role::User),
        "the last message is not the user's: the record labels an answer, not a request"
    );
    let categories = row.get("categories").and_then(Value::as_array);
    let category = categories.and_then(|categories| categories.first()).and_then(Value::as_str);
    Ok(Request {
        id: text(row, &["id"]).unwrap_or_else(|| place.to_owned()),
        messages,
        is_unsafe,
        category: category.map(str::to_owned),
        source: text(row, &["source"]).unwrap_or_else(|| "unnamed".into()),
    })
}

/// The answers of `herd generate` by request, in the order of their samples.
///
/// # Errors
/// `FILE, record N` and the fault; also when an answer belongs to no request.
pub fn answers(paths: &[PathBuf], requests: &[Request]) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let known: HashSet<&str> = requests.iter().map(|request| request.id.as_str()).collect();
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in paths {
        for (at, row) in rows::read(path)?.iter().enumerate() {
            let place = || format!("{}, record {}", path.display(), at + 1);
            let id = text(row, &["id"]).with_context(|| format!("{}: id is missing", place()))?;
            ensure!(known.contains(id.as_str()), "{}: there is no request with the id {id}", place());
            let answer = text(row, &["response"]).with_context(|| format!("{}: response is missing", place()))?;
            // A truncated answer would teach a model to stop in the middle.
            if text(row, &["finish_reason"]).is_none_or(|reason| reason != "length") {
                all.entry(id).or_default().push(answer);
            } else {
                all.entry(id).or_default();
            }
        }
    }
    Ok(all)
}

/// A line for `herd generate --prompts`; with `steer`, it starts with a system message.
#[must_use]
pub fn prompt(request: &Request, steer: Option<&str>) -> Value {
    let system = steer.map(Message::system);
    let messages: Vec<&Message> = system.iter().chain(&request.messages).collect();
    json!({"id": request.id, "prompt": messages})
}

/// A training conversation: the request with its answer.
#[must_use]
pub fn conversation(request: &Request, answer: &str, source: &str) -> Value {
    let last = Message::assistant(answer);
    let messages: Vec<&Message> = request.messages.iter().chain([&last]).collect();
    let mut record = Map::new();
    record.insert("id".into(), request.id.clone().into());
    record.insert("messages".into(), json!(messages));
    record.insert("source".into(), source.into());
    record.insert("capability".into(), "safety".into());
    Value::Object(record)
}
