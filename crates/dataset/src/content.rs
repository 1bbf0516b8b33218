//! The content of a turn: a text, or parts of several kinds, in the format of OpenAI and Hugging Face.

use serde::ser::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::error::Invalid;
use crate::fields::{kind, missing};

/// The content of a turn. If all parts are text, they are joined when read, so a list without pictures is a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// One text.
    Text(String),
    /// Parts in order, at least one of which is not text.
    Parts(Parts),
}

/// The parts of a content, and their text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    parts: Vec<Part>,
    text: String,
}

/// One part of a content.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// `{"type": "text", "text": ...}`, or a bare string.
    Text(String),
    /// Any other part, with all its fields as they were read: `{"type": "image", ...}`, `{"type": "image_url", ...}`.
    Other {
        /// The value of `type`, such as `image`.
        kind: String,
        /// The other fields.
        fields: Map<String, Value>,
    },
}

impl Parts {
    /// The parts in their order.
    #[must_use]
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Content {
    /// The text. For parts, their texts are joined without a separator. Callers that cannot use other parts call
    /// [`check::text_only`](crate::check::text_only) first.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => &parts.text,
        }
    }

    /// Place and kind of the first part that is not text.
    #[must_use]
    pub fn first_other(&self) -> Option<(usize, &str)> {
        let Self::Parts(Parts { parts, .. }) = self else { return None };
        parts.iter().enumerate().find_map(|(i, part)| match part {
            Part::Other { kind, .. } => Some((i, kind.as_str())),
            Part::Text(_) => None,
        })
    }

    /// A content with these parts: a text if all are text.
    #[must_use]
    pub fn from_parts(parts: Vec<Part>) -> Self {
        let texts = parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Other { .. } => None,
        });
        let text: String = texts.collect();
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Self::Text(text);
        }
        Self::Parts(Parts { parts, text })
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl TryFrom<Value> for Content {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        match value {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Array(parts) => {
                let parts = parts.into_iter().enumerate().map(|(i, value)| part(i, value));
                Ok(Self::from_parts(parts.collect::<Result<_, _>>()?))
            }
            other => Err(Invalid(format!("content: must be a string or a list of parts, not {}", kind(&other)))),
        }
    }
}

fn part(i: usize, value: Value) -> Result<Part, Invalid> {
    let mut fields = match value {
        Value::String(text) => return Ok(Part::Text(text)),
        Value::Object(fields) => fields,
        other => return Err(Invalid(format!("content[{i}]: must be a part with a type, not {}", kind(&other)))),
    };
    let Some(Value::String(kind)) = fields.shift_remove("type") else {
        return Err(missing(&format!("content[{i}].type"), "a string such as \"text\""));
    };
    if kind != "text" {
        return Ok(Part::Other { kind, fields });
    }
    match fields.shift_remove("text") {
        Some(Value::String(text)) => Ok(Part::Text(text)),
        _ => Err(missing(&format!("content[{i}].text"), "a string")),
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Parts(parts) => serializer.collect_seq(&parts.parts),
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}).serialize(serializer),
            Self::Other { kind, fields } => {
                let kind = ("type".to_owned(), Value::from(kind.as_str()));
                let all = std::iter::once(kind).chain(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
                all.collect::<Map<String, Value>>().serialize(serializer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Content {
        Content::try_from(value).unwrap()
    }

    #[test]
    fn parts_of_text_are_one_text() {
        let parts = json!(["a", {"type": "text", "text": "b", "cache_control": null}]);
        assert_eq!(read(parts), Content::from("ab"));
        assert_eq!(read(json!([])), Content::from(""));
    }

    #[test]
    fn other_parts_keep_their_place_and_fields() {
        let value = json!([
            {"type": "text", "text": "What is "},
            {"type": "image", "image": "pictures/1.png", "detail": {"low": true}},
            {"type": "text", "text": "this?"},
        ]);
        let content = read(value.clone());
        assert_eq!((content.text(), content.first_other()), ("What is this?", Some((1, "image"))));
        assert_eq!(serde_json::to_value(&content).unwrap(), value);
    }

    #[test]
    fn what_is_no_part_is_named() {
        let wrong = |value: Value| Content::try_from(value).unwrap_err().to_string();
        assert_eq!(wrong(json!([{"type": "text"}])), "content[0].text: is missing (it must be a string)");
        assert!(wrong(json!(["a", {"text": "b"}])).starts_with("content[1].type: is missing"));
        assert!(wrong(json!([5])).starts_with("content[0]: must be a part with a type"));
        assert!(wrong(json!(5)).starts_with("content: must be a string or a list of parts"));
    }
}
