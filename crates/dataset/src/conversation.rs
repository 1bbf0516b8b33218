//! A conversation: the training example of supervised fine-tuning.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::columns;
use crate::error::Invalid;
use crate::fields::{Fields, deserialize_from_value, finite, missing, tools};
use crate::images;
use crate::message::{Message, Role, messages, turns};

/// A conversation, `{"id", "messages", "source"?, "capability"?, "weight"?}`.
///
/// Other forms are also read: ShareGPT's `conversations` with `from` and `value`, TRL's `prompt` with `completion`
/// (strings or message lists), and Alpaca's `instruction`, `input`, `output`. In all of them, a column `system` is
/// the system turn, and pictures listed in `images` (or `image`) move to the parts of the turns that mean them. They are
/// written back in the form above.
///
/// ```
/// let line = r#"{"conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}], "lang": "en"}"#;
/// let c: dataset::Conversation = serde_json::from_str(line)?;
/// assert_eq!(c.messages[1], dataset::Message::assistant("4"));
/// assert_eq!(c.extra["lang"], "en");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Conversation {
    /// The name of the record; empty if the file has none. Numbers become text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The turns, in order.
    pub messages: Vec<Message>,
    /// The source of the record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The capability that it trains, such as `math` or `code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capability: Option<String>,
    /// The weight in the loss; 1 when absent.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "finite")]
    pub weight: Option<f64>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Conversation {
    /// A conversation with only an id and turns.
    pub fn new(id: impl Into<String>, messages: Vec<Message>) -> Self {
        Self { id: id.into(), messages, source: None, capability: None, weight: None, extra: Map::new() }
    }

    /// The tool descriptions for the chat template, from the field `tools`: a list, or a string holding one as JSON.
    ///
    /// # Errors
    /// [`Invalid`] when the field is something else.
    pub fn tools(&self) -> Result<Vec<Value>, Invalid> {
        tools(&self.extra)
    }

    /// A conversation from two named columns, such as `question` and `answer`; other columns are read as usual.
    ///
    /// # Errors
    /// [`Invalid`] when one of them is missing, or the name of another column suggests a part of the prompt
    /// (`context`).
    pub fn from_columns(value: Value, prompt: &str, answer: &str) -> Result<Self, Invalid> {
        Self::from_fields(columns::named(Fields::new(value)?, prompt, answer)?)
    }

    /// The names of other fields that hold text; they are not trained on.
    pub fn unread_text(&self) -> impl Iterator<Item = &str> {
        let text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        self.extra.iter().filter(move |(name, value)| *name != "tools" && text(value)).map(|(name, _)| name.as_str())
    }
}

impl TryFrom<Value> for Conversation {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        Self::from_fields(Fields::new(value)?)
    }
}
deserialize_from_value!(Conversation);

impl Conversation {
    fn from_fields(mut fields: Fields) -> Result<Self, Invalid> {
        let mut messages = if let Some(value) = fields.take("messages") {
            turns("messages", value)?
        } else if let Some(value) = fields.take("conversations") {
            turns("conversations", value)?
        } else if let Some(prompt) = fields.take("prompt") {
            let completion = fields.take("completion").ok_or_else(|| missing("completion", "the answer to prompt"))?;
            if fields.0.get("label") == Some(&Value::Bool(false)) {
                return Err(Invalid(
                    "label: is false, which marks a completion that a model should not give (KTO); leave such records \
                     out, or make pairs of them with those whose label is true"
                        .into(),
                ));
            }
            let mut turns = messages("prompt", prompt, Role::User)?;
            turns.extend(messages("completion", completion, Role::Assistant)?);
            turns
        } else if let Some(turns) = columns::alpaca(&mut fields)? {
            turns
        } else {
            return Err(columns::no_messages(&fields.0));
        };
        images::gather(&mut fields, &mut messages)?;
        columns::system_turn(&mut fields, &mut messages)?;
        Ok(Self {
            id: fields.id()?,
            messages,
            source: fields.optional_string("source")?,
            capability: fields.optional_string("capability")?,
            weight: fields.optional_number("weight")?,
            extra: fields.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Conversation, String> {
        Conversation::try_from(value).map_err(|e| e.0)
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        let written = json!({"id": "a", "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "u", "name": "Ada"},
            {"role": "assistant", "content": null, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "ipython", "content": "1", "tool_call_id": "x"},
            {"role": "tool", "content": "2"},
            {"role": "assistant", "content": "v"}],
            "source": "here", "capability": "code", "weight": 0.5, "tools": [{"name": "f"}], "z": [1, {"b": 2, "a": null}]});
        let c = read(written.clone()).unwrap();
        assert!(c.messages[3].role.is_tool() && c.messages[4].role.is_tool());
        assert_eq!(c.tools().unwrap(), [json!({"name": "f"})]);
        assert_eq!(serde_json::to_string(&c).unwrap(), written.to_string());
    }

    #[test]
    fn completions_that_are_marked_as_bad_are_refused() {
        let labelled = |label: Value| read(json!({"prompt": "q", "completion": "a", "label": label}));
        assert!(labelled(json!(true)).is_ok() && labelled(json!("positive")).is_ok());
        assert!(labelled(json!(false)).unwrap_err().starts_with("label: is false"));
    }

    #[test]
    fn other_spellings() {
        let c = read(json!({"id": 7, "prompt": "q", "completion": "a"})).unwrap();
        assert_eq!(c, Conversation::new("7", vec![Message::user("q"), Message::assistant("a")]));
        let parts = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]});
        assert_eq!(read(parts).unwrap().messages, [Message::user("ab")]);
        let turns = r#" [{"role": "user", "content": "q"}, {"from": "gpt", "value": "a"}]"#;
        let expected = [Message::user("q"), Message::assistant("a")];
        for value in [
            json!({"messages": turns}),
            json!({"conversations": turns}),
            json!({"prompt": r#"[{"role": "user", "content": "q"}]"#, "completion": r#"[{"role": "assistant", "content": "a"}]"#}),
        ] {
            assert_eq!(read(value).unwrap().messages, expected);
        }
        // JSON without turns is treated as ordinary text.
        assert_eq!(read(json!({"prompt": "[1, 2]", "completion": "[]"})).unwrap().messages[0].text(), "[1, 2]");
    }

    #[test]
    fn mistakes_name_the_field() {
        let cases = [
            (json!([]), "a record must be a JSON object, not a list"),
            (json!({}), "messages: is missing"),
            (json!({"messages": 5}), "messages: must be a list of messages, not a number"),
            (json!({"messages": "hi"}), "messages: is a text; it must be a list of messages, or such a list as JSON"),
            (json!({"messages": "[{'role': 'user'}]"}), "messages: is a text that looks like Python's"),
            (
                json!({"messages": "[{\"role\": \"usr\", \"content\": \"x\"}]"}),
                "messages[0].role: \"usr\" is not known",
            ),
            (json!({"messages": [{"role": "usr", "content": "x"}]}), "messages[0].role: \"usr\" is not known"),
            (json!({"messages": [{"content": "x"}]}), "messages[0].role: is missing"),
            (json!({"messages": [{"role": "user"}]}), "messages[0].content: is missing or null"),
            (json!({"messages": [{"role": "user", "content": 5}]}), "messages[0].content: must be a string"),
            (
                json!({"messages": [{"role": "user", "content": [{"image_url": "x"}]}]}),
                "messages[0].content[0].type: is missing",
            ),
            (
                json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}),
                "messages[0].tool_calls[0].name: is missing",
            ),
            (json!({"messages": [], "weight": "x"}), "weight: must be a number, not a string"),
            (json!({"prompt": "x"}), "completion: is missing"),
        ];
        for (value, sentence) in cases {
            let e = read(value).unwrap_err();
            assert!(e.starts_with(sentence), "{e}");
        }
    }
}
