//! Extracts the fields of a record from a JSON object, with an error message for a field of the wrong type.

use serde_json::{Map, Value};

use crate::error::Invalid;

pub(crate) type Checked<T> = Result<T, Invalid>;

/// The JSON name of a value's type, for error messages.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The fields of one record; fields that are not taken are kept as `extra`.
pub(crate) struct Fields(pub Map<String, Value>);

impl Fields {
    /// The fields of the object `value`.
    pub fn new(value: Value) -> Checked<Self> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(Invalid(format!("a record must be a JSON object, not {}", kind(&other)))),
        }
    }

    /// Takes a field that exists and is not null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|v| !v.is_null())
    }

    /// An optional string.
    pub fn optional_string(&mut self, name: &str) -> Checked<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(other) => Err(Invalid(format!("{name}: must be a string, not {}", kind(&other)))),
        }
    }

    /// A required string.
    pub fn string(&mut self, name: &str) -> Checked<String> {
        self.optional_string(name)?.ok_or_else(|| missing(name, "a string"))
    }

    /// An optional string, or a number converted to text.
    pub fn optional_text(&mut self, name: &str) -> Checked<Option<String>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(s)) => Ok(Some(s)),
            Some(Value::Number(n)) => Ok(Some(n.to_string())),
            Some(other) => Err(Invalid(format!("{name}: must be a string or a number, not {}", kind(&other)))),
        }
    }

    /// The `id`: a string or a number; empty if missing.
    pub fn id(&mut self) -> Checked<String> {
        Ok(self.optional_text("id")?.unwrap_or_default())
    }

    /// An optional finite number.
    pub fn optional_number(&mut self, name: &str) -> Checked<Option<f64>> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Number(n)) => Ok(n.as_f64()),
            Some(Value::String(text)) if ["NaN", "inf", "-inf"].contains(&&*text) => {
                Err(Invalid(format!("{name}: is {text}; it must be a finite number")))
            }
            Some(other) => Err(Invalid(format!("{name}: must be a number, not {}", kind(&other)))),
        }
    }

    /// An optional integer of at least 0.
    pub fn optional_count(&mut self, name: &str) -> Checked<Option<u64>> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(n) => Ok(Some(n)),
                None => Err(Invalid(format!("{name}: must be a whole number of at least 0, not {value}"))),
            },
        }
    }
}

/// The message for a missing field.
pub(crate) fn missing(name: &str, what: &str) -> Invalid {
    Invalid(format!("{name}: is missing (it must be {what})"))
}

/// The tool descriptions in a record's further field `tools`: a list, or a string holding one as JSON.
pub(crate) fn tools(extra: &Map<String, Value>) -> Checked<Vec<Value>> {
    match extra.get("tools") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(tools)) => Ok(tools.clone()),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => serde_json::from_str(text)
            .map_err(|e| Invalid(format!("tools: must hold a JSON list of tool descriptions: {e}"))),
        Some(other) => Err(Invalid(format!("tools: must be a list of tool descriptions, not {}", kind(other)))),
    }
}

/// Serialises a float and refuses NaN and infinity, which JSON would turn into `null`.
pub(crate) fn finite<S: serde::Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(x) if !x.is_finite() => Err(serde::ser::Error::custom(format!("{x} cannot be written as JSON"))),
        Some(x) => serializer.serialize_f64(*x),
        None => serializer.serialize_none(),
    }
}

/// Implements `Deserialize` through `TryFrom<Value>`, which has better error messages.
macro_rules! deserialize_from_value {
    ($name:ty) => {
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = serde_json::Value::deserialize(deserializer)?;
                Self::try_from(value).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use deserialize_from_value;
