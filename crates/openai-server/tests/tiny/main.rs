//! The server over loopback with a small random model whose tokens are bytes: features beyond plain answers.

#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;
mod eyes;
mod field;
mod forms;
mod guard;
mod paths;
mod responses;
mod sampling;
mod texts;
mod tools;

use std::path::Path;

use common::{Response, Server};
use llama::NewModel;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The token that ends an answer.
const END: i64 = 257;

/// A folder with a model, and with another chat template.
fn folder(template: Option<&str>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    NewModel { hidden: 32, layers: 2, context: 2048, seed: 11 }.write(folder.path()).unwrap();
    if let Some(template) = template {
        let path = folder.path().join("tokenizer_config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["chat_template"] = template.into();
        std::fs::write(path, config.to_string()).unwrap();
    }
    folder
}

fn serve(folder: &Path) -> Server {
    Server::of(folder, "tiny", 4, 64)
}

/// A chat request at temperature 0 with further fields.
fn chat(server: &Server, more: &Value) -> Response {
    let base =
        json!({"model": "tiny", "max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": "Hi"}]});
    server.ask("/v1/chat/completions", &merged(base, more))
}

/// A completion request at temperature 0 with further fields.
fn complete(server: &Server, more: &Value) -> Response {
    let base = json!({"model": "tiny", "max_tokens": 8, "temperature": 0, "prompt": "Hello"});
    server.ask("/v1/completions", &merged(base, more))
}

fn merged(mut base: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

/// The answer of a request that must succeed.
fn served(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text);
    response.json()
}

/// A message's text in a chat answer.
fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}
