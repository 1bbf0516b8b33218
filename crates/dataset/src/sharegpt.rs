//! ShareGPT's turns, `{"from": "human", "value": "..."}`, which many published sets use.

use serde_json::{Map, Value};

use crate::error::Invalid;
use crate::fields::{Fields, kind, missing};
use crate::message::{Message, Role};

/// True for an object that has `from` and no `role`.
pub(crate) fn is_turn(value: &Value) -> bool {
    value.get("from").is_some() && value.get("role").is_none()
}

/// Converts one turn: human and user become user; gpt, chatgpt and assistant become assistant; tool and observation
/// become tool; `function_call` becomes an assistant turn whose tool call is the JSON in `value`.
pub(crate) fn message(value: Value) -> Result<Message, Invalid> {
    let mut fields = Fields::new(value)?;
    let from = fields.string("from")?;
    let text = match fields.take("value") {
        Some(Value::String(text)) => text,
        Some(other) => return Err(Invalid(format!("value: must be a string, not {}", kind(&other)))),
        None => return Err(missing("value", "a string")),
    };
    let role = match from.as_str() {
        "human" | "user" => Role::User,
        "gpt" | "chatgpt" | "assistant" => Role::Assistant,
        "system" => Role::System,
        "tool" | "observation" => Role::Tool,
        "ipython" => Role::Ipython,
        "function_call" => return function_call(&text, fields.0),
        _ => {
            return Err(Invalid(format!(
                "from: {from:?} is not known; use system, human, gpt, tool, observation or function_call"
            )));
        }
    };
    Ok(Message { role, content: Some(text.into()), tool_calls: Vec::new(), extra: fields.0 })
}

fn function_call(text: &str, extra: Map<String, Value>) -> Result<Message, Invalid> {
    let calls = match serde_json::from_str(text) {
        Ok(Value::Array(calls)) => calls,
        Ok(call @ Value::Object(_)) => vec![call],
        _ => return Err(Invalid("value: a function_call must be JSON: {\"name\": ..., \"arguments\": {...}}".into())),
    };
    let call = serde_json::json!({"role": "assistant", "tool_calls": calls});
    let mut message = Message::try_from(call)?;
    message.extra = extra;
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn turns() {
        for (from, role) in [("human", Role::User), ("gpt", Role::Assistant), ("observation", Role::Tool)] {
            let m = message(json!({"from": from, "value": "x", "loss": true})).unwrap();
            assert_eq!((m.role, m.text()), (role, "x"));
            assert_eq!(m.extra["loss"], true);
        }
        let call = message(json!({"from": "function_call", "value": r#"{"name":"f","arguments":{"a":1}}"#})).unwrap();
        assert_eq!(call.role, Role::Assistant);
        assert_eq!(call.content, None);
        assert_eq!(call.tool_calls, [json!({"name": "f", "arguments": {"a": 1}})]);
    }

    #[test]
    fn mistakes() {
        let e = message(json!({"from": "robot", "value": "x"})).unwrap_err().0;
        assert!(e.contains("\"robot\" is not known"), "{e}");
        assert!(message(json!({"from": "gpt"})).unwrap_err().0.contains("value: is missing"));
        assert!(message(json!({"from": "function_call", "value": "f()"})).unwrap_err().0.contains("must be JSON"));
    }
}
