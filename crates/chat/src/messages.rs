//! Messages in the form that a chat template gets: the preparation that transformers does before rendering, and a
//! check for parts that a template leaves out.

use dataset::{Message, Role};
use serde_json::{Map, Value as Json, json};

use crate::error::ChatError;

/// Field names of a turn's reasoning; templates read the first one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// The form in which a template gets the arguments of a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// An object, which the template writes with `tojson`: most templates.
    Object,
    /// JSON text, which the template writes unchanged.
    Text,
}

/// The messages as JSON. Null fields are left out (a template would print "None"), reasoning is stored under all of
/// its names, and arguments of tool calls have one form, whatever the form in the record.
pub(crate) fn prepare(messages: &[Message], arguments: Arguments) -> Vec<Json> {
    messages.iter().map(|message| one(message, arguments)).collect()
}

fn one(message: &Message, arguments: Arguments) -> Json {
    let mut fields = Map::new();
    fields.insert("role".into(), message.role.as_str().into());
    if let Some(content) = &message.content {
        fields.insert("content".into(), content.text().into());
    }
    if !message.tool_calls.is_empty() {
        fields.insert(
            "tool_calls".into(),
            message.tool_calls.iter().map(|call| with_arguments(call, arguments)).collect(),
        );
    }
    fields.extend(message.extra.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())));
    if let Some(reasoning) = reasoning(message).cloned() {
        fields.entry("thinking").or_insert(reasoning.clone());
        fields.insert(REASONING[0].into(), reasoning);
    }
    Json::Object(fields)
}

/// The reasoning of a turn, if it is in a separate field.
pub(crate) fn reasoning(message: &Message) -> Option<&Json> {
    REASONING.iter().find_map(|name| message.extra.get(*name).filter(|value| !value.is_null()))
}

fn with_arguments(call: &Json, form: Arguments) -> Json {
    let mut call = call.clone();
    let inside = call.get("function").is_some();
    let function = if inside { &mut call["function"] } else { &mut call };
    let Some(arguments) = function.get_mut("arguments") else { return call };
    let changed = match (&*arguments, form) {
        (Json::String(text), Arguments::Object) => object(text).map(Json::Object),
        (Json::Object(_), Arguments::Text) => crate::tojson::plain(arguments).ok().map(Json::String),
        _ => None,
    };
    if let Some(changed) = changed {
        *arguments = changed;
    }
    call
}

/// The object in a text of arguments; an empty text is an empty object.
fn object(text: &str) -> Option<Map<String, Json>> {
    if text.trim().is_empty() {
        return Some(Map::new());
    }
    serde_json::from_str(text).ok()
}

/// Refuses arguments that are not an object: a template would write them as a doubly encoded string.
///
/// # Errors
/// [`ChatError::Arguments`] for the first message with such arguments.
pub(crate) fn check_arguments(messages: &[Message]) -> Result<(), ChatError> {
    for (index, message) in messages.iter().enumerate() {
        for call in &message.tool_calls {
            let function = call.get("function").unwrap_or(call);
            let fine = match function.get("arguments") {
                None | Some(Json::Null | Json::Object(_)) => true,
                Some(Json::String(text)) => object(text).is_some(),
                Some(_) => false,
            };
            if !fine {
                return Err(ChatError::Arguments { message: index, name: name_of(call) });
            }
        }
    }
    Ok(())
}

pub(crate) fn name_of(call: &Json) -> String {
    call.get("function").unwrap_or(call)["name"].as_str().unwrap_or_default().to_owned()
}

/// Refuses a conversation if the template leaves out tools, tool calls, answers of tools, or whole turns.
/// `render(messages, with_tools)` is the template, `text` the rendered conversation.
///
/// A text that is missing in `text` may have been changed (trimmed, escaped, without earlier reasoning). A marker in
/// its place shows whether the template writes it at all.
///
/// # Errors
/// [`ChatError::NotWritten`].
pub(crate) fn check_written(
    text: &str,
    messages: &[Message],
    has_tools: bool,
    render: impl Fn(&[Message], bool) -> Result<String, ChatError>,
) -> Result<(), ChatError> {
    let missing = |message: Option<usize>, what: String| Err(ChatError::NotWritten { message, what });
    if has_tools && render(messages, false).is_ok_and(|without| without == text) {
        return missing(None, "the tools".into());
    }
    // A short text may occur in the rendering by chance.
    let doubtful = |message: &Message| {
        let said = message.text().trim();
        message.role != Role::Assistant && !said.is_empty() && (said.len() < 12 || !text.contains(said))
    };
    let calls = messages.iter().any(|message| !message.tool_calls.is_empty());
    if !calls && !messages.iter().any(doubtful) {
        return Ok(());
    }
    let mut marked = messages.to_vec();
    for (index, message) in marked.iter_mut().enumerate() {
        if doubtful(message) {
            message.content = Some(turn_mark(index).into());
        }
        for (number, call) in message.tool_calls.iter_mut().enumerate() {
            let (name, argument) = call_marks(index, number);
            let inside = call.get("function").is_some();
            let function = if inside { &mut call["function"] } else { &mut *call };
            function["name"] = name.into();
            function["arguments"] = json!({argument: "1"});
        }
    }
    // This check is impossible if the template refuses the markers.
    let Ok(written) = render(&marked, has_tools) else { return Ok(()) };
    let written = written.to_lowercase();
    for (index, message) in messages.iter().enumerate() {
        for (number, call) in message.tool_calls.iter().enumerate() {
            let (name, argument) = call_marks(index, number);
            if !written.contains(&name) {
                return missing(Some(index), format!("the call of the tool {:?}", name_of(call)));
            }
            if !written.contains(&argument) {
                return missing(Some(index), format!("the arguments of the call of the tool {:?}", name_of(call)));
            }
        }
        if doubtful(message) && !written.contains(&turn_mark(index)) {
            let role = message.role;
            let what =
                if role.is_tool() { "the answer of the tool".into() } else { format!("the {} turn", role.as_str()) };
            return missing(Some(index), what);
        }
    }
    Ok(())
}

fn turn_mark(index: usize) -> String {
    format!("xyzzy-turn-{index}-")
}

fn call_marks(index: usize, number: usize) -> (String, String) {
    (format!("xyzzy_call_{index}_{number}_"), format!("xyzzy_argument_{index}_{number}_"))
}

/// Whether an assistant turn is trained: `"train": false`, `"loss": false`, `"weight": 0` and similar switches turn
/// it off.
///
/// # Errors
/// [`ChatError::LossSwitch`] for a switch that is not supported: a share (`"weight": 0.5`), a text, or a boolean with
/// an unknown name, which is nearly always a mask.
pub fn is_trained(message: &Message) -> Result<bool, String> {
    /// True or 1 means trained.
    const ON: [&str; 9] =
        ["train", "training", "trained", "trainable", "train_on", "is_trained", "weight", "loss", "loss_mask"];
    /// True or 1 means not trained.
    const OFF: [&str; 5] = ["masked", "mask", "ignore", "ignored", "no_loss"];
    /// Booleans with another meaning.
    const OTHER: [&str; 6] = ["prefix", "partial", "is_error", "success", "eot", "ipython"];
    let mut trained = true;
    for (name, value) in &message.extra {
        let lower = name.to_lowercase();
        let (on, off) = (ON.contains(&&*lower), OFF.contains(&&*lower));
        if value.is_null() || OTHER.contains(&&*lower) {
            continue;
        }
        let switch = match value {
            Json::Bool(switch) => Some(*switch),
            value if value.as_f64() == Some(0.0) => Some(false),
            value if value.as_f64() == Some(1.0) => Some(true),
            _ => None,
        };
        match switch {
            Some(switch) if on || off => trained &= switch == on,
            Some(_) if !value.is_boolean() => {}
            Some(_) => {
                return Err(format!(
                    "{name:?} is not a known switch of the loss; write \"train\": true or false, or remove it"
                ));
            }
            None if on || off => {
                return Err(format!("{name:?} is {value}; a turn is trained or not: write true or false, 1 or 0"));
            }
            None => {}
        }
    }
    Ok(trained)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(value: Json) -> Message {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn nulls_go_and_reasoning_has_all_its_names() {
        let call = json!({"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}});
        let turn = message(
            json!({"role": "assistant", "content": null, "name": null, "reasoning": "hm", "tool_calls": [call]}),
        );
        let prepared = prepare(std::slice::from_ref(&turn), Arguments::Object);
        assert_eq!(
            prepared[0],
            json!({"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
                "reasoning": "hm", "thinking": "hm", "reasoning_content": "hm"})
        );
        let turn = message(json!({"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": [1, "ż"]}}]}));
        let text = prepare(std::slice::from_ref(&turn), Arguments::Text);
        assert_eq!(text[0]["tool_calls"][0]["arguments"], r#"{"a": [1, "ż"]}"#);
    }

    #[test]
    fn arguments_must_hold_an_object() {
        for (arguments, good) in [
            (json!({"a": 1}), true),
            (json!("{\"a\": 1}"), true),
            (json!(""), true),
            (Json::Null, true),
            (json!("[1]"), false),
            (json!("{a: 1}"), false),
            (json!(5), false),
        ] {
            let turn = message(json!({"role": "assistant", "tool_calls": [{"name": "f", "arguments": arguments}]}));
            assert_eq!(check_arguments(&[turn]).is_ok(), good, "{arguments}");
        }
    }

    #[test]
    fn switches_of_the_loss() {
        let with = |name: &str, value: Json| {
            let mut turn = Message::assistant("a");
            turn.extra.insert(name.into(), value);
            is_trained(&turn)
        };
        for name in ["train", "training", "trainable", "loss", "weight", "Loss", "loss_mask"] {
            for (value, trained) in
                [(json!(false), false), (json!(0), false), (json!(0.0), false), (json!(true), true), (json!(1), true)]
            {
                assert_eq!(with(name, value.clone()), Ok(trained), "{name} {value}");
            }
            assert_eq!(with(name, Json::Null), Ok(true));
        }
        for name in ["masked", "ignore"] {
            assert_eq!((with(name, json!(true)), with(name, json!(0))), (Ok(false), Ok(true)), "{name}");
        }
        for (name, value) in
            [("weight", json!(0.5)), ("loss", json!("false")), ("skip_it", json!(true)), ("learn", json!(false))]
        {
            assert!(with(name, value).unwrap_err().contains(name));
        }
        for (name, value) in
            [("is_error", json!(true)), ("name", json!("x")), ("score", json!(1)), ("rating", json!(0))]
        {
            assert_eq!(with(name, value), Ok(true), "{name}");
        }
    }
}
