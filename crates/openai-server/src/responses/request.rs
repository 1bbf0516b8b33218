//! Converts a request to one of `/v1/chat/completions`.

use serde_json::{Map, Value, json};

use super::{id, now};
use crate::fields::{Fields, RequestError, bad};

/// The request for the chat path, and the initial state of the response, which repeats fields of the request.
pub(super) fn chat_request(body: &[u8]) -> Result<(Value, Value), RequestError> {
    let mut fields = Fields::read(body)?;
    for (name, sentence) in [
        ("messages", "is not a field of /v1/responses: give input"),
        ("previous_response_id", "this server keeps no responses: send the earlier turns in input"),
        ("conversation", "this server keeps no conversations: send the earlier turns in input"),
        ("prompt", "this server keeps no prompts: give instructions and input"),
    ] {
        if fields.value(name).is_some() {
            return Err(bad(name, sentence));
        }
    }
    fields.only("background", &[json!(false)])?;
    fields.only("truncation", &[json!("disabled")])?;
    fields.only("max_tool_calls", &[])?;
    fields.only("n", &[json!(1)])?;
    let no_effort = |value: &Value| value.as_object().is_some_and(|map| map.values().all(Value::is_null));
    if fields.value("reasoning").is_some_and(|value| !no_effort(&value)) {
        return Err(bad("reasoning", "is not supported here"));
    }
    let instructions = fields.text("instructions")?;
    let mut messages = Vec::new();
    if let Some(text) = &instructions {
        messages.push(json!({"role": "system", "content": text}));
    }
    match fields.value("input") {
        Some(Value::String(text)) => messages.push(json!({"role": "user", "content": text})),
        Some(Value::Array(items)) if !items.is_empty() => {
            for (place, item) in items.into_iter().enumerate() {
                add(&mut messages, item).map_err(|sentence| bad("input", format!("[{place}].{sentence}")))?;
            }
        }
        _ => return Err(bad("input", "must be a text or a list of at least one item")),
    }
    let mut chat = Map::new();
    let mut shown = json!({"id": id("resp"), "object": "response", "created_at": now(), "status": "in_progress",
        "background": false, "error": null, "incomplete_details": null, "instructions": instructions,
        "max_output_tokens": null, "model": fields.0.get("model"), "output": [], "parallel_tool_calls": true,
        "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "store": false,
        "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "truncation": "disabled", "usage": null, "user": null, "metadata": {}});
    for name in ["temperature", "top_p", "parallel_tool_calls", "metadata", "user"] {
        if let Some(value) = fields.0.get(name).filter(|value| !value.is_null()) {
            shown[name] = value.clone();
        }
    }
    chat.insert("messages".into(), messages.into());
    if let Some(most) = fields.count("max_output_tokens")? {
        shown["max_output_tokens"] = most.into();
        chat.insert("max_completion_tokens".into(), most.into());
    }
    if let Some(text) = fields.value("text") {
        if let Some(format) = text.get("format").filter(|format| !format.is_null()) {
            chat.insert("response_format".into(), response_format(format));
            shown["text"] = json!({"format": format});
        }
        let other =
            text.as_object().is_none_or(|map| map.keys().any(|key| !["format", "verbosity"].contains(&key.as_str())));
        if other || !matches!(text.get("verbosity").and_then(Value::as_str), None | Some("medium")) {
            return Err(bad("text", "may have a format, and the verbosity medium"));
        }
    }
    logprobs(&mut fields, &mut chat)?;
    tools(&mut fields, &mut chat, &mut shown)?;
    if fields.flag("stream")?.unwrap_or(false) {
        chat.insert("stream".into(), true.into());
        chat.insert("stream_options".into(), json!({"include_usage": true}));
    }
    // Its only option has no effect on the answer.
    fields.value("stream_options");
    // The other fields have the names of the chat path, which refuses unknown ones.
    chat.extend(fields.0);
    Ok((Value::Object(chat), shown))
}

/// `include` and `top_logprobs`.
fn logprobs(fields: &mut Fields, chat: &mut Map<String, Value>) -> Result<(), RequestError> {
    let include: Vec<String> = fields.take("include", "a list of texts")?.unwrap_or_default();
    let mut told = false;
    for name in include {
        match name.as_str() {
            "message.output_text.logprobs" => told = true,
            // There is no reasoning to include.
            "reasoning.encrypted_content" => {}
            other => return Err(bad("include", format!("{other:?} is not supported here"))),
        }
    }
    let top = fields.count("top_logprobs")?;
    if told || top.is_some_and(|top| top > 0) {
        chat.insert("logprobs".into(), true.into());
        chat.insert("top_logprobs".into(), top.unwrap_or(0).into());
    }
    Ok(())
}

/// `text.format` as a chat request's `response_format`.
fn response_format(format: &Value) -> Value {
    if format["type"] != "json_schema" {
        return format.clone();
    }
    let mut schema = format.as_object().cloned().unwrap_or_default();
    schema.remove("type");
    json!({"type": "json_schema", "json_schema": schema})
}

fn tools(fields: &mut Fields, chat: &mut Map<String, Value>, shown: &mut Value) -> Result<(), RequestError> {
    let tools: Vec<Value> = fields.take("tools", "a list of tools")?.unwrap_or_default();
    let mut functions = Vec::new();
    for (place, tool) in tools.iter().enumerate() {
        let kind = tool["type"].as_str().unwrap_or_default();
        let Some(map) = tool.as_object().filter(|_| kind == "function") else {
            return Err(bad("tools", format!("[{place}].type: {kind:?} is not supported; only functions are")));
        };
        let mut function = map.clone();
        function.remove("type");
        // OpenAI's default here is true, which constrains the arguments.
        functions.push(json!({"type": "function", "function": function}));
    }
    if !functions.is_empty() {
        chat.insert("tools".into(), functions.into());
        shown["tools"] = tools.into();
    }
    let Some(choice) = fields.value("tool_choice") else { return Ok(()) };
    shown["tool_choice"] = choice.clone();
    let choice = match (choice["type"].as_str(), &choice) {
        (Some("function"), _) => json!({"type": "function", "function": {"name": choice["name"]}}),
        (None, Value::String(_)) => choice,
        _ => return Err(bad("tool_choice", "must be none, auto, required or a function's name in an object")),
    };
    chat.insert("tool_choice".into(), choice);
    Ok(())
}

/// Adds an item of `input` to the messages.
fn add(messages: &mut Vec<Value>, item: Value) -> Result<(), String> {
    let Value::Object(mut map) = item else { return Err("must be an object".into()) };
    let kind = map.remove("type");
    let kind = kind.as_ref().and_then(Value::as_str).unwrap_or("message");
    match kind {
        "message" => {
            // The item comes from a server's response.
            map.remove("id");
            map.remove("status");
            if let Some(content) = map.get_mut("content") {
                *content = parts(content.take())?;
            }
            messages.push(Value::Object(map));
        }
        "function_call" => {
            let call = json!({"id": map.get("call_id"), "type": "function",
                "function": {"name": map.get("name"), "arguments": map.get("arguments")}});
            // Calls of one turn form one message.
            let last = messages.last_mut().filter(|last| last["role"] == "assistant");
            match last {
                Some(last) if last["tool_calls"].is_array() => {
                    if let Some(calls) = last["tool_calls"].as_array_mut() {
                        calls.push(call);
                    }
                }
                Some(last) => last["tool_calls"] = json!([call]),
                None => messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]})),
            }
        }
        "function_call_output" => {
            let output = parts(map.remove("output").unwrap_or_default())?;
            messages.push(json!({"role": "tool", "tool_call_id": map.get("call_id"), "content": output}));
        }
        other => {
            return Err(format!(
                "type: {other:?} is not supported; use message, function_call or function_call_output"
            ));
        }
    }
    Ok(())
}

/// Content as a chat message has it.
fn parts(content: Value) -> Result<Value, String> {
    let Value::Array(list) = content else { return Ok(content) };
    let mut out = Vec::new();
    for (place, part) in list.into_iter().enumerate() {
        match part["type"].as_str().unwrap_or_default() {
            "input_text" | "output_text" | "text" => out.push(json!({"type": "text", "text": part["text"]})),
            "refusal" => out.push(json!({"type": "text", "text": part["refusal"]})),
            "input_image" if part["image_url"].is_string() => {
                out.push(json!({"type": "image_url", "image_url": {"url": part["image_url"]}}));
            }
            other => return Err(format!("content[{place}].type: {other:?} is not supported here")),
        }
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(body: Value) -> Result<Value, String> {
        chat_request(body.to_string().as_bytes()).map(|(chat, _)| chat).map_err(|error| error.sentence)
    }

    #[test]
    fn items_become_messages() {
        let call = |id: &str| json!({"type": "function_call", "call_id": id, "name": "f", "arguments": "{}"});
        let asked = chat(json!({"model": "m", "instructions": "Be terse.", "max_output_tokens": 5, "temperature": 0,
            "input": [{"role": "user", "content": [{"type": "input_text", "text": "a"}]},
                {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
                call("1"), call("2"), {"type": "function_call_output", "call_id": "1", "output": "3"}]}));
        let asked = asked.unwrap();
        let calls = asked["messages"][2]["tool_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!(asked["messages"][0], json!({"role": "system", "content": "Be terse."}));
        assert_eq!(asked["messages"][1], json!({"role": "user", "content": [{"type": "text", "text": "a"}]}));
        assert_eq!(asked["messages"][2]["content"], json!([{"type": "text", "text": "b"}]));
        assert_eq!(asked["messages"][3], json!({"role": "tool", "tool_call_id": "1", "content": "3"}));
        assert_eq!((&asked["max_completion_tokens"], &asked["temperature"]), (&json!(5), &json!(0)));
    }

    #[test]
    fn formats_tools_and_log_probabilities() {
        let asked = chat(json!({"input": "q", "include": ["message.output_text.logprobs"], "top_logprobs": 2,
            "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": true}},
            "tools": [{"type": "function", "name": "f", "parameters": {}}], "tool_choice": {"type": "function", "name": "f"}}));
        let asked = asked.unwrap();
        let format =
            json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": true}});
        assert_eq!(asked["response_format"], format);
        assert_eq!(asked["tools"], json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]));
        assert_eq!(asked["tool_choice"], json!({"type": "function", "function": {"name": "f"}}));
        assert_eq!((&asked["logprobs"], &asked["top_logprobs"]), (&json!(true), &json!(2)));
    }

    #[test]
    fn what_the_server_cannot_do_is_refused() {
        for (more, field) in [
            (json!({"previous_response_id": "resp_1"}), "previous_response_id"),
            (json!({"background": true}), "background"),
            (json!({"truncation": "auto"}), "truncation"),
            (json!({"reasoning": {"effort": "high"}}), "reasoning"),
            (json!({"tools": [{"type": "web_search"}]}), "tools"),
            (json!({"include": ["file_search_call.results"]}), "include"),
            (json!({"text": {"verbosity": "low"}}), "text"),
            (json!({"messages": []}), "messages"),
            (json!({"input": []}), "input"),
            (json!({"input": [{"type": "reasoning", "summary": []}]}), "input"),
        ] {
            let mut body = json!({"input": "q"});
            for (name, value) in more.as_object().unwrap() {
                body[name] = value.clone();
            }
            let said = chat(body).unwrap_err();
            // An empty list of messages counts as a missing field.
            assert!(said.starts_with(field) || field == "messages", "{said}");
        }
        assert!(
            chat(json!({"input": "q", "reasoning": {"effort": null}, "store": true, "truncation": "disabled"})).is_ok()
        );
    }
}
