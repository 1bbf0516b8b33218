//! A prompt without a verifier: the input of `herd generate`.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::columns;
use crate::error::Invalid;
use crate::fields::{Fields, deserialize_from_value, missing, tools};
use crate::images;
use crate::message::{Message, Role, messages, turns};

/// A prompt, `{"id", "prompt", "tools"?}`; a plain string is one user turn, `messages` is read as `prompt`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prompt {
    /// The name of the prompt; its answers have the same id. Empty if the file has none. Numbers become text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The turns before the answer.
    pub prompt: Vec<Message>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Prompt {
    /// The tool descriptions for the chat template, from the field `tools`: a list, or a string holding one as JSON.
    ///
    /// # Errors
    /// [`Invalid`] when the field is something else.
    pub fn tools(&self) -> Result<Vec<Value>, Invalid> {
        tools(&self.extra)
    }
}

impl TryFrom<Value> for Prompt {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(value)?;
        let mut prompt = match fields.take("prompt") {
            Some(value) => messages("prompt", value, Role::User)?,
            None => match fields.take("messages") {
                Some(value) => turns("messages", value)?,
                None => return Err(missing("prompt", "a string or a list of messages")),
            },
        };
        images::gather(&mut fields, &mut prompt)?;
        columns::system_turn(&mut fields, &mut prompt)?;
        if prompt.is_empty() {
            return Err(Invalid("prompt: the list is empty".into()));
        }
        let prompt = Self { id: fields.id()?, prompt, extra: fields.0 };
        prompt.tools()?;
        Ok(prompt)
    }
}
deserialize_from_value!(Prompt);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn forms_and_mistakes() {
        let read = |value: Value| Prompt::try_from(value).map_err(|e| e.0);
        let p = read(json!({"id": 3, "prompt": "hi", "system": "s", "tools": "[{\"name\": \"f\"}]", "x": 1})).unwrap();
        assert_eq!((p.id.as_str(), p.prompt.len(), p.tools().unwrap().len()), ("3", 2, 1));
        let p = read(json!({"messages": [{"role": "user", "content": "hi"}]})).unwrap();
        assert_eq!((p.id.as_str(), &p.prompt[0]), ("", &Message::user("hi")));
        for (value, sentence) in [
            (json!({"id": "a"}), "prompt: is missing"),
            (json!({"prompt": []}), "prompt: the list is empty"),
            (json!({"prompt": "x", "tools": 5}), "tools: must be a list"),
            (json!({"id": [], "prompt": "x"}), "id: must be a string or a number"),
        ] {
            assert!(read(value).unwrap_err().starts_with(sentence));
        }
    }
}
