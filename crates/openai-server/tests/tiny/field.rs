//! Cases from public bug reports, if `../shared/field/server-open.jsonl` exists, with what each expects.

use llama::EngineOptions;
use serde_json::{Value, json};

use crate::common::{Server, read};
use crate::folder;
use crate::paths::preflight;

/// The fault of a case's response, by what the case's report is about.
fn fault(server: &Server, id: &str, input: &Value) -> Option<String> {
    let (path, body) = (input["path"].as_str().unwrap(), &input["body"]);
    let method = match (input["method"].as_str(), id) {
        (Some(method), _) => method,
        (None, "g/tokenize") => "POST",
        _ if body.is_null() => "GET",
        _ => "POST",
    };
    let body = if id == "g/tokenize" { json!({"model": "tiny", "prompt": "Hello"}) } else { body.clone() };
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let response = if id == "s68" { preflight(server) } else { read(server.send(method, path, &text)) };
    let answer: Value = serde_json::from_str(&response.text).unwrap_or_default();
    let choice = &answer["choices"][0];
    let is_right = match id {
        // A field of a message that would be dropped is refused, where clients look for the sentence.
        "s92" => response.status == 400 && answer["error"]["message"].as_str().unwrap_or_default().contains("foo"),
        "s99" => response.status == 405 && answer["error"]["message"].is_string(),
        "s68" => response.status == 204 && response.head.contains("access-control-allow-origin"),
        // Log-probabilities of a given text: none for the first token.
        "s43" => {
            let told = choice["logprobs"]["token_logprobs"].as_array().cloned().unwrap_or_default();
            choice["text"] == body["prompt"]
                && told.len() > 1
                && told[0].is_null()
                && told[1..].iter().all(Value::is_number)
        }
        "s51" => choice["logprobs"]["text_offset"].is_array(),
        "s12" => choice["message"]["content"].as_str().is_some_and(|text| text.trim_start().starts_with('{')),
        "s61" => answer["data"][0]["embedding"].as_array().is_some_and(|list| list.iter().all(Value::is_number)),
        "s62" => answer["output"][0]["content"][0]["text"].is_string(),
        "g/v1/models/tiny" => answer["id"] == "tiny",
        "g/tokenize" => answer["count"] == 5,
        "g/version" => answer["version"].is_string(),
        "g/health" => response.status == 200,
        _ => response.status == 200 && choice["message"].is_object(),
    };
    (!is_right).then(|| format!("{method} {path} {text}: {} {}", response.status, response.text))
}

#[test]
fn public_reports() {
    let Some(path) = test_support::shared("field/server-open.jsonl") else { return };
    let folder = folder(None);
    let engine = EngineOptions { slots: 4, ..EngineOptions::default() };
    let server = Server::with(folder.path(), "tiny", engine, 64, Some("*"));
    let mut faults = Vec::new();
    let mut clients = 0;
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let id = row["id"].as_str().unwrap();
        // A client program with its own packages, which no test runs.
        if row["input"]["client"].is_string() {
            clients += 1;
            continue;
        }
        faults.extend(fault(&server, id, &row["input"]).map(|fault| format!("{id}: {fault}")));
    }
    assert!(faults.is_empty() && clients <= 1, "{} disagree:\n{}", faults.len(), faults.join("\n"));
}
