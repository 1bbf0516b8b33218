//! A problem: a question to sample answers for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Invalid;
use crate::fields::{Fields, deserialize_from_value, kind, missing, tools};
use crate::message::{Message, Role, messages};

/// The kind of a problem, which selects its verifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A mathematical answer, checked by `mathverify`.
    Math,
    /// A program with tests, run by `codeexec`.
    Code,
    /// An open-ended problem, scored by a reward model or a judge.
    Chat,
    /// A probe of safety behaviour.
    Safety,
}

/// A problem, `{"id", "kind", "prompt", "answer"?, "tests"?, "entry_point"?, "language"?, "meta"?}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Problem {
    /// The name of the problem; its samples have the same id. Empty if the file has none. Numbers become text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The kind of the problem, which selects its verifier.
    pub kind: Kind,
    /// The turns before the answer; a plain string is read as one user turn.
    pub prompt: Vec<Message>,
    /// The right answer. Numbers become text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// The tests of a program, in one of the forms that `codeexec` accepts: a string or a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tests: Option<Value>,
    /// The function that the tests call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<String>,
    /// The programming language, or the language of a chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Further data about the problem, passed on unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta: Option<Value>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Problem {
    /// A problem with only an id, a kind and a prompt.
    pub fn new(id: impl Into<String>, kind: Kind, prompt: Vec<Message>) -> Self {
        Self {
            id: id.into(),
            kind,
            prompt,
            answer: None,
            tests: None,
            entry_point: None,
            language: None,
            meta: None,
            extra: Map::new(),
        }
    }

    /// The tool descriptions for the chat template, from the field `tools`: a list, or a string holding one as JSON.
    ///
    /// # Errors
    /// [`Invalid`] when the field is something else.
    pub fn tools(&self) -> Result<Vec<Value>, Invalid> {
        tools(&self.extra)
    }
}

impl TryFrom<Value> for Problem {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(value)?;
        let written = fields.take("kind").ok_or_else(|| missing("kind", "math, code, chat or safety"))?;
        let kind_of = Kind::deserialize(&written)
            .map_err(|_| Invalid(format!("kind: {written} is not known; use math, code, chat or safety")))?;
        let prompt = fields.take("prompt").ok_or_else(|| missing("prompt", "a string or a list of messages"))?;
        let tests = fields.take("tests");
        if let Some(other) = tests.as_ref().filter(|t| !t.is_string() && !t.is_array()) {
            return Err(Invalid(format!("tests: must be a string or a list, not {}", kind(other))));
        }
        Ok(Self {
            id: fields.id()?,
            kind: kind_of,
            prompt: messages("prompt", prompt, Role::User)?,
            answer: fields.optional_text("answer")?,
            tests,
            entry_point: fields.optional_string("entry_point")?,
            language: fields.optional_string("language")?,
            meta: fields.take("meta"),
            extra: fields.0,
        })
    }
}
deserialize_from_value!(Problem);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn round_trip_and_mistakes() {
        let written = json!({"id": "p", "kind": "code", "prompt": [{"role": "user", "content": "q"}], "answer": "4",
            "tests": ["assert f() == 1"], "entry_point": "f", "language": "python", "meta": {"b": 1, "a": []}, "x": 1});
        let p = Problem::try_from(written.clone()).unwrap();
        assert_eq!(serde_json::to_string(&p).unwrap(), written.to_string());
        let p = Problem::try_from(json!({"id": 3, "kind": "math", "prompt": "q", "answer": 0.5})).unwrap();
        assert_eq!((p.id.as_str(), p.answer.as_deref()), ("3", Some("0.5")));
        for (value, sentence) in [
            (json!({"prompt": "q"}), "kind: is missing"),
            (json!({"kind": "maths", "prompt": "q"}), "kind: \"maths\" is not known; use math"),
            (json!({"kind": "math"}), "prompt: is missing"),
            (json!({"kind": "code", "prompt": "q", "tests": 1}), "tests: must be a string or a list"),
            (json!({"kind": "math", "prompt": "q", "answer": [1]}), "answer: must be a string or a number, not a list"),
        ] {
            let e = Problem::try_from(value).unwrap_err().0;
            assert!(e.starts_with(sentence), "{e}");
        }
    }
}
