//! One turn of a conversation: the role, the content, the tool calls.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::content::Content;
use crate::error::Invalid;
use crate::fields::{Fields, deserialize_from_value, kind, missing};
use crate::sharegpt;

/// The role of a turn. Both spellings of the tool role are kept as written: see [`Role::is_tool`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The user.
    User,
    /// The model: the turns that are trained.
    Assistant,
    /// A tool's response.
    Tool,
    /// A tool's response, with Llama 3's name of the role.
    Ipython,
}

impl Role {
    /// The name of the role in files and chat templates.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Ipython => "ipython",
        }
    }

    /// True for a tool's response, in both spellings.
    #[must_use]
    pub fn is_tool(self) -> bool {
        matches!(self, Self::Tool | Self::Ipython)
    }
}

impl std::str::FromStr for Role {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Ok(match text {
            "system" => Self::System,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" => Self::Tool,
            "ipython" => Self::Ipython,
            _ => {
                return Err(Invalid(format!(
                    "role: {text:?} is not known; use system, user, assistant, tool or ipython"
                )));
            }
        })
    }
}

impl TryFrom<Value> for Role {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        match value {
            Value::String(text) => text.parse(),
            other => Err(Invalid(format!("role: must be a string, not {}", kind(&other)))),
        }
    }
}
deserialize_from_value!(Role);

/// One turn.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Message {
    /// The role.
    pub role: Role,
    /// The content. `None` (JSON `null`) only if the turn calls tools instead.
    pub content: Option<Content>,
    /// The tool calls as the chat template gets them: `{"type": "function", "function": {"name", "arguments"}}` or
    /// `{"name", "arguments"}`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<Value>,
    /// Every other field, such as `name`, `tool_call_id` or `reasoning_content`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Message {
    /// A turn with this content.
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self { role, content: Some(content.into()), tool_calls: Vec::new(), extra: Map::new() }
    }

    /// A system turn.
    pub fn system(content: impl Into<Content>) -> Self {
        Self::new(Role::System, content)
    }

    /// A user turn.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::new(Role::User, content)
    }

    /// An assistant turn.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, content)
    }

    /// The text of the turn, or an empty text. For a content in parts, it is that of the text parts only; callers
    /// that cannot use other parts call [`check::text_only`](crate::check::text_only) first.
    #[must_use]
    pub fn text(&self) -> &str {
        self.content.as_ref().map_or("", Content::text)
    }
}

impl TryFrom<Value> for Message {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        let Value::Object(map) = value else {
            return Err(Invalid(format!("message: must be an object with role and content, not {}", kind(&value))));
        };
        let mut fields = Fields(map);
        let role = Role::try_from(fields.take("role").ok_or_else(|| missing("role", "a string"))?)?;
        let tool_calls = match fields.take("tool_calls") {
            None => Vec::new(),
            Some(Value::Array(calls)) => calls,
            Some(Value::String(text)) if text.trim().is_empty() => Vec::new(),
            Some(Value::String(text)) => match serde_json::from_str(&text) {
                Ok(Value::Array(calls)) => calls,
                _ => {
                    return Err(Invalid(
                        "tool_calls: is a text; it must be a list of calls, or such a list as JSON".into(),
                    ));
                }
            },
            Some(other) => return Err(Invalid(format!("tool_calls: must be a list, not {}", kind(&other)))),
        };
        for (i, call) in tool_calls.iter().enumerate() {
            check_tool_call(call).map_err(|e| e.inside(&format!("tool_calls[{i}]")))?;
        }
        let content = match fields.take("content") {
            None if tool_calls.is_empty() => {
                return Err(Invalid("content: is missing or null, which only a turn with tool_calls may have".into()));
            }
            None => None,
            Some(value) => Some(Content::try_from(value)?),
        };
        Ok(Self { role, content, tool_calls, extra: fields.0 })
    }
}
deserialize_from_value!(Message);

/// Checks that a call names its function, either directly or in `function`.
fn check_tool_call(call: &Value) -> Result<(), Invalid> {
    let function = call.get("function").unwrap_or(call);
    match function.get("name") {
        Some(Value::String(name)) if !name.is_empty() => Ok(()),
        _ => Err(Invalid("name: is missing (a call needs its function's name)".into())),
    }
}

/// Reads a field that holds messages: a list, a single message, or a plain string for one turn of `role`. Turns in
/// ShareGPT's style (`from`, `value`) are converted.
pub(crate) fn messages(name: &str, value: Value, role: Role) -> Result<Vec<Message>, Invalid> {
    let one = |item: Value| if sharegpt::is_turn(&item) { sharegpt::message(item) } else { Message::try_from(item) };
    match value {
        Value::String(text) => match as_turns(&text) {
            Some(turns) => messages(name, turns, role),
            None => Ok(vec![Message::new(role, text)]),
        },
        Value::Object(map) if map.get("role").is_some_and(Value::is_array) => messages(name, rows(name, map)?, role),
        Value::Object(_) => Ok(vec![one(value).map_err(|e| e.inside(name))?]),
        Value::Array(items) => items
            .into_iter()
            .enumerate()
            .map(|(i, item)| one(item).map_err(|e| e.inside(&format!("{name}[{i}]"))))
            .collect(),
        other => Err(Invalid(format!("{name}: must be a list of messages, not {}", kind(&other)))),
    }
}

/// Reads a field that holds only turns: unlike in [`messages`], a text is not a turn.
pub(crate) fn turns(name: &str, value: Value) -> Result<Vec<Message>, Invalid> {
    if let Value::String(text) = &value
        && as_turns(text).is_none()
    {
        let what = if text.trim_start().starts_with("[{'") {
            "a text that looks like Python's str() of a list; write it with json.dumps"
        } else {
            "a text; it must be a list of messages, or such a list as JSON"
        };
        return Err(Invalid(format!("{name}: is {what}")));
    }
    messages(name, value, Role::User)
}

/// A list of turns that is stored as JSON text, as in exports of chat columns.
pub(crate) fn as_turns(text: &str) -> Option<Value> {
    if !text.trim_start().starts_with('[') {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let turn = |item: &Value| item.is_object() && (item.get("role").is_some() || item.get("from").is_some());
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(turn)).then_some(value)
}

/// Converts an object of lists, as which Parquet stores datasets' `Sequence({...})`, into a list of objects.
fn rows(name: &str, columns: Map<String, Value>) -> Result<Value, Invalid> {
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    for (i, (field, column)) in columns.into_iter().enumerate() {
        let Value::Array(items) = column else {
            return Err(Invalid(format!("{name}.{field}: must be a list, as role is, not {}", kind(&column))));
        };
        if i == 0 {
            rows.resize(items.len(), Map::new());
        }
        if items.len() != rows.len() {
            let (found, first) = (items.len(), rows.len());
            return Err(Invalid(format!("{name}.{field}: has {found} items where the other fields have {first}")));
        }
        for (row, item) in rows.iter_mut().zip(items) {
            row.insert(field.clone(), item);
        }
    }
    Ok(rows.into_iter().map(Value::Object).collect())
}
