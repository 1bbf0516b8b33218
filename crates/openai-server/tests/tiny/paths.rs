//! Paths other than the two that generate, and the form of errors.

use std::io::Write;
use std::net::TcpStream;

use llama::EngineOptions;
use serde_json::json;

use crate::common::{Server, read};
use crate::{chat, folder, serve, served};

#[test]
fn every_error_is_where_clients_look() {
    let folder = folder(None);
    let server = serve(folder.path());
    for (method, path, status, code) in [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/responses", 405, "method_not_allowed"),
        ("GET", "/v1/responses/resp_1", 404, "not_found"),
        ("GET", "/chat/completions", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("DELETE", "/v1/completions", 405, "method_not_allowed"),
        ("GET", "/v1/models/other", 404, "not_found"),
        ("GET", "/tokenize", 405, "method_not_allowed"),
    ] {
        let response = read(server.send(method, path, ""));
        assert_eq!(response.status, status, "{method} {path}");
        let error = &response.json()["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: {error}");
        assert_eq!((&error["type"], &error["code"]), (&json!("invalid_request_error"), &json!(code)), "{path}");
    }
    assert!(server.get("/v1/nothing").error().contains("/v1/chat/completions"));
}

#[test]
fn the_model_health_and_version_are_told() {
    let folder = folder(None);
    let server = serve(folder.path());
    let list = served(&server.get("/v1/models"));
    assert_eq!(served(&server.get("/v1/models/tiny")), list["data"][0]);
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["max_model_len"]), (&json!("tiny"), &json!(2048)));
    for path in ["/health", "/healthz", "/health/"] {
        assert_eq!(served(&server.get(path)), json!({"status": "ok"}));
    }
    assert_eq!(served(&server.get("/version"))["version"], env!("CARGO_PKG_VERSION"));
    let slash =
        server.ask("/v1/chat/completions/", &json!({"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}));
    assert_eq!(served(&slash)["usage"]["completion_tokens"], 1);
}

#[test]
fn a_name_with_slashes_is_found() {
    let folder = folder(None);
    let server = Server::of(folder.path(), "org/tiny-1.0", 1, 4);
    assert_eq!(served(&server.get("/v1/models/org/tiny-1.0"))["id"], "org/tiny-1.0");
    assert_eq!(served(&server.get("/v1/models/org%2Ftiny-1.0"))["id"], "org/tiny-1.0");
}

/// The preflight request of a browser.
pub fn preflight(server: &Server) -> crate::common::Response {
    let mut stream = TcpStream::connect(server.addr).unwrap();
    let head = "OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nOrigin: https://app.example\r\n\
                Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: authorization, content-type\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    read(stream)
}

#[test]
fn browsers_are_let_in_by_a_switch_only() {
    let folder = folder(None);
    let engine = || EngineOptions { slots: 2, ..EngineOptions::default() };
    let closed = Server::with(folder.path(), "tiny", engine(), 8, None);
    assert_eq!(preflight(&closed).status, 405);
    assert!(!chat(&closed, &json!({})).head.contains("access-control"));

    let open = Server::with(folder.path(), "tiny", engine(), 8, Some("*"));
    let asked = preflight(&open);
    assert_eq!(asked.status, 204, "{}", asked.head);
    assert!(asked.head.contains("access-control-allow-origin: *"), "{}", asked.head);
    assert!(asked.head.contains("access-control-allow-headers: authorization, content-type"), "{}", asked.head);
    assert!(asked.head.contains("access-control-allow-methods: get, post"), "{}", asked.head);
    for response in [chat(&open, &json!({})), chat(&open, &json!({"stream": true})), open.get("/v1/nothing")] {
        assert!(response.head.contains("access-control-allow-origin: *"), "{}", response.head);
    }
    let one = Server::with(folder.path(), "tiny", engine(), 8, Some("https://app.example"));
    let head = preflight(&one).head;
    assert!(
        head.contains("access-control-allow-origin: https://app.example") && head.contains("vary: origin"),
        "{head}"
    );
}

#[test]
fn texts_become_tokens_and_come_back() {
    let folder = folder(None);
    let server = serve(folder.path());
    let text = "a <|im_end|> é";
    let tokens = served(&server.ask("/tokenize", &json!({"model": "tiny", "prompt": text, "return_token_strs": true})));
    assert_eq!(tokens["max_model_len"], 2048);
    assert_eq!(tokens["count"].as_u64().unwrap() as usize, tokens["tokens"].as_array().unwrap().len());
    assert_eq!((&tokens["tokens"][2], &tokens["token_strs"][2]), (&json!(crate::END), &json!("<|im_end|>")));
    let back = served(&server.ask("/detokenize", &json!({"tokens": tokens["tokens"]})));
    assert_eq!(back, json!({"prompt": text}));
    // A conversation in the template, as a request would have it.
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let ids = served(&server.ask("/tokenize", &json!({"messages": messages})));
    let asked = served(&chat(&server, &json!({"messages": messages})));
    assert_eq!(ids["count"], asked["usage"]["prompt_tokens"]);
    let without = served(&server.ask("/tokenize", &json!({"messages": messages, "add_generation_prompt": false})));
    assert!(without["count"].as_u64() < ids["count"].as_u64());
    for bad in [json!({}), json!({"prompt": 3}), json!({"prompt": "x", "foo": 1}), json!({"model": "y", "prompt": "x"})]
    {
        assert!(server.ask("/tokenize", &bad).status >= 400, "{bad}");
    }
    assert_eq!(server.ask("/detokenize", &json!({"tokens": [999]})).status, 400);
}
