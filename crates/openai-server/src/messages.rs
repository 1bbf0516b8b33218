//! Messages of a conversation as clients send them, in OpenAI's schema.

use dataset::{Content, Message, Role};
use serde_json::{Map, Value};

/// Reads the messages. `reads` says whether the chat template mentions a name. A field beyond the common ones is
/// accepted only if it does; otherwise it is refused, since the template would drop it silently. Parts that are not text
/// are accepted only if the model `sees`.
///
/// # Errors
/// A message that starts with the place of the faulty message.
pub(crate) fn read(list: Vec<Value>, reads: &dyn Fn(&str) -> bool, sees: bool) -> Result<Vec<Message>, String> {
    let one = |(place, value)| message(value, reads, sees).map_err(|sentence| format!("[{place}].{sentence}"));
    list.into_iter().enumerate().map(one).collect()
}

fn message(value: Value, reads: &dyn Fn(&str) -> bool, sees: bool) -> Result<Message, String> {
    let Value::Object(mut map) = value else {
        return Message::try_from(value).map_err(|error| error.to_string());
    };
    // OpenAI's schema allows clients to send all of its fields; null or empty ones have no meaning.
    map.retain(|name, value| name == "content" || !is_empty(value));
    if map.get("role").is_some_and(|role| role == "developer") {
        map.insert("role".into(), "system".into());
    }
    let is_assistant = map.get("role").is_some_and(|role| role == "assistant");
    let has_calls = map.contains_key("tool_calls");
    if is_assistant && !has_calls && map.get("content").is_some_and(Value::is_null) {
        map.insert("content".into(), "".into());
    }
    let mut message = Message::try_from(Value::Object(map)).map_err(|error| error.to_string())?;
    if let Some((part, kind)) = message.content.as_ref().and_then(Content::first_other).filter(|_| !sees) {
        return Err(format!(
            "content[{part}]: a part of type {kind:?} cannot be used by this model; only text parts can"
        ));
    }
    if !is_assistant && has_calls {
        return Err(format!("tool_calls: a message of {} has none", message.role.as_str()));
    }
    for (name, value) in &message.extra {
        let known = match name.as_str() {
            "name" => value.is_string(),
            "tool_call_id" => message.role.is_tool() && value.is_string(),
            _ => reads(name),
        };
        if !known {
            return Err(format!("{name}: the model's chat template does not read it; leave it out"));
        }
    }
    message.tool_calls.iter_mut().for_each(parse_arguments);
    Ok(message)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Clients send the arguments of a call as JSON text; templates require the object.
fn parse_arguments(call: &mut Value) {
    let arguments = match call.get_mut("function") {
        Some(function) => function.get_mut("arguments"),
        None => call.get_mut("arguments"),
    };
    if let Some(arguments) = arguments
        && let Some(parsed) = arguments.as_str().and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok())
    {
        *arguments = Value::Object(parsed);
    }
}

/// The conversation for a template without support for tools: calls and results become text in Hermes's form, and the
/// system message describes the tools.
pub(crate) fn with_tools_as_text(messages: Vec<Message>, system: Option<&str>) -> Vec<Message> {
    let mut out: Vec<Message> = Vec::with_capacity(messages.len() + 1);
    let has_system = messages.first().is_some_and(|first| first.role == Role::System);
    out.extend(system.filter(|_| !has_system).map(Message::system));
    for mut message in messages {
        if let (true, true, Some(system)) = (message.role == Role::System, out.is_empty(), system) {
            message.content = Some(format!("{}\n\n{system}", message.text()).into());
        }
        let calls = std::mem::take(&mut message.tool_calls);
        if !calls.is_empty() {
            let call = |call: &Value| {
                let function = call.get("function").unwrap_or(call);
                let call = serde_json::json!({"name": function["name"], "arguments": function["arguments"]});
                format!("<tool_call>\n{call}\n</tool_call>")
            };
            let calls: Vec<String> = calls.iter().map(call).collect();
            let text = [message.text(), &calls.join("\n")].join("\n");
            message.content = Some(text.trim_start_matches('\n').into());
        }
        if message.role.is_tool() {
            let text = format!("<tool_response>\n{}\n</tool_response>", message.text());
            message = Message::user(text);
        }
        out.push(message);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(value: Value) -> Result<Message, String> {
        read(vec![value], &|name| name == "reasoning_content", false).map(|mut list| list.remove(0))
    }

    #[test]
    fn empty_fields_of_the_schema_say_nothing() {
        let full = json!({"role": "assistant", "content": "x", "refusal": null, "annotations": [], "audio": null,
            "function_call": null, "tool_calls": [], "name": ""});
        assert_eq!(one(full).unwrap(), Message::assistant("x"));
        assert_eq!(one(json!({"role": "assistant", "content": null})).unwrap(), Message::assistant(""));
        assert!(one(json!({"role": "user", "content": null})).is_err());
        assert_eq!(one(json!({"role": "developer", "content": "x"})).unwrap(), Message::system("x"));
    }

    #[test]
    fn what_would_be_dropped_is_refused_by_name() {
        for field in ["foo", "reasoning", "refusal", "weight", "audio"] {
            let mut message = json!({"role": "assistant", "content": "x"});
            message[field] = json!("something");
            assert!(one(message).unwrap_err().starts_with(&format!("[0].{field}: ")), "{field}");
        }
        let read = json!({"role": "assistant", "content": "x", "reasoning_content": "thoughts", "name": "bob"});
        assert_eq!(one(read).unwrap().extra.len(), 2);
        let call = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
        assert!(one(json!({"role": "user", "content": "x", "tool_calls": call})).is_err());
    }

    #[test]
    fn arguments_are_objects_for_the_template() {
        let call = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": [1]}"}}]);
        let message = one(json!({"role": "assistant", "content": null, "tool_calls": call})).unwrap();
        assert_eq!(message.tool_calls[0]["function"]["arguments"], json!({"a": [1]}));
        let messages = vec![Message::user("q"), message, Message::new(Role::Tool, "5")];
        let text = with_tools_as_text(messages, Some("tools"));
        let contents: Vec<&str> = text.iter().map(Message::text).collect();
        let written = "<tool_call>\n{\"name\":\"f\",\"arguments\":{\"a\":[1]}}\n</tool_call>";
        assert_eq!(contents, ["tools", "q", written, "<tool_response>\n5\n</tool_response>"]);
    }
}
