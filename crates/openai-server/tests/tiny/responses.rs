//! `/v1/responses`: the answers are those of the chat path.

use serde_json::{Value, json};

use crate::common::{Response, Server};
use crate::{chat, content, folder, merged, serve, served};

fn respond(server: &Server, more: &Value) -> Response {
    let base = json!({"model": "tiny", "max_output_tokens": 8, "temperature": 0, "input": "Hi"});
    server.ask("/v1/responses", &merged(base, more))
}

/// The events of a stream, in order, numbered without a gap.
fn events(response: &Response) -> Vec<Value> {
    assert_eq!(response.status, 200, "{}", response.text);
    let (mut out, mut kind) = (Vec::new(), None);
    // HTTP's chunk sizes are between the events.
    for line in response.text.lines() {
        kind = line.strip_prefix("event: ").or(kind);
        let Some(data) = line.strip_prefix("data: ") else { continue };
        let value: Value = serde_json::from_str(data).unwrap();
        assert_eq!(kind.take(), value["type"].as_str());
        assert_eq!(value["sequence_number"], json!(out.len()));
        out.push(value);
    }
    out
}

#[test]
fn a_response_is_the_chat_answer_in_another_form() {
    let folder = folder(None);
    let server = serve(folder.path());
    let plain = served(&chat(&server, &json!({"max_tokens": 8})));
    let response = served(&respond(&server, &json!({})));
    assert_eq!((&response["object"], &response["output"][0]["type"]), (&json!("response"), &json!("message")));
    assert_eq!(response["output"][0]["content"][0]["text"], content(&plain));
    assert_eq!(response["usage"]["input_tokens"], plain["usage"]["prompt_tokens"]);
    assert_eq!(response["usage"]["output_tokens"], plain["usage"]["completion_tokens"]);
    assert_eq!(
        (&response["status"], &response["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    // Instructions are the system message; items are messages.
    let system = json!([{"role": "system", "content": "Be terse."}, {"role": "user", "content": "Hi"}]);
    let expected = served(&chat(&server, &json!({"messages": system, "max_tokens": 8})));
    for more in [
        json!({"instructions": "Be terse."}),
        json!({"instructions": "Be terse.", "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]}),
        json!({"input": [{"role": "developer", "content": "Be terse."}, {"type": "message", "role": "user", "content": "Hi"}]}),
    ] {
        let response = served(&respond(&server, &more));
        assert_eq!(response["output"][0]["content"][0]["text"], content(&expected), "{more}");
    }
    let told = served(&respond(&server, &json!({"include": ["message.output_text.logprobs"], "top_logprobs": 2})));
    let logprobs = told["output"][0]["content"][0]["logprobs"].as_array().unwrap();
    assert_eq!((logprobs.len(), logprobs[0]["top_logprobs"].as_array().unwrap().len()), (8, 2));
}

#[test]
fn a_stream_ends_with_the_whole_response() {
    let folder = folder(None);
    let server = serve(folder.path());
    let whole = served(&respond(&server, &json!({})));
    let events = events(&respond(&server, &json!({"stream": true})));
    let kinds: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds[..4],
        ["response.created", "response.in_progress", "response.output_item.added", "response.content_part.added"]
    );
    assert_eq!(
        kinds[kinds.len() - 4..],
        ["response.output_text.done", "response.content_part.done", "response.output_item.done", "response.incomplete"]
    );
    let text: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
    assert_eq!(text, whole["output"][0]["content"][0]["text"].as_str().unwrap());
    let last = &events.last().unwrap()["response"];
    assert_eq!((&last["usage"], &last["status"]), (&whole["usage"], &whole["status"]));
    assert_eq!(last["output"][0]["content"], whole["output"][0]["content"]);
}

#[test]
fn calls_and_forms_are_honoured() {
    let folder = folder(None);
    let server = serve(folder.path());
    let tool = json!({"type": "function", "name": "look", "parameters": {"type": "object", "properties": {"on": {"type": "boolean"}}, "required": ["on"], "additionalProperties": false}});
    let more = json!({"tools": [tool], "tool_choice": "required", "max_output_tokens": 300});
    let response = served(&respond(&server, &more));
    let call = &response["output"][0];
    assert_eq!((&call["type"], &call["name"]), (&json!("function_call"), &json!("look")), "{response}");
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["on"].is_boolean());
    let streamed = events(&respond(&server, &merged(more, &json!({"stream": true}))));
    let done = streamed.iter().find(|event| event["type"] == "response.function_call_arguments.done").unwrap();
    assert_eq!(done["arguments"], call["arguments"]);
    assert_eq!(streamed.last().unwrap()["type"], "response.completed");
    // The call and its result are the next request's input.
    let input = json!([{"role": "user", "content": "Hi"}, call, {"type": "function_call_output", "call_id": call["call_id"], "output": "yes"}]);
    assert_eq!(respond(&server, &json!({"input": input, "tools": [tool]})).status, 200);
    let format = json!({"format": {"type": "json_schema", "name": "x", "schema": {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": false}}});
    let formed = served(&respond(&server, &json!({"text": format, "max_output_tokens": 300})));
    let answer: Value = serde_json::from_str(formed["output"][0]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(answer["a"].is_boolean());
}

#[test]
fn refusals_name_the_fields_of_this_path() {
    let folder = folder(None);
    let server = serve(folder.path());
    for (more, param) in [
        (json!({"previous_response_id": "resp_1"}), json!("previous_response_id")),
        (json!({"input": [{"role": "user", "content": "Hi", "foo": 1}]}), json!("input")),
        (json!({"text": {"format": {"type": "xml"}}}), json!("text")),
        (json!({"input": "x".repeat(5000)}), json!("input")),
        (json!({"foo": 1}), Value::Null),
        (json!({"temperature": -1}), Value::Null),
    ] {
        let response = respond(&server, &more);
        assert_eq!((response.status, &response.json()["error"]["param"]), (400, &param), "{}", response.text);
    }
    assert_eq!(respond(&server, &json!({"model": "other"})).status, 404);
}
