//! The Parquet columns that can hold a set of JSON values.

use serde_json::{Map, Value, json};

use crate::error::Invalid;
use crate::fields::kind;
use crate::images;

/// The type of a value; every value may also be null.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Shape {
    /// Only nulls so far.
    Unknown,
    Bool,
    /// Integers within i64.
    Int,
    /// Integers from 0 to beyond i64.
    UInt,
    Float,
    Text,
    /// Binary data: texts, and objects that the Parquet reader made of bytes.
    Bytes,
    List(Box<Shape>),
    Struct(Vec<(String, Shape)>),
}

impl Shape {
    /// Widens `self` so that it can also hold `value`.
    pub fn widen(&mut self, value: &Value) -> Result<(), Invalid> {
        match (&mut *self, value) {
            (_, Value::Null) => {}
            (Self::Unknown, _) => {
                *self = Self::first(value);
                return self.widen_inner(value);
            }
            (Self::List(_), Value::Array(_)) | (Self::Struct(_), Value::Object(_)) => return self.widen_inner(value),
            (Self::Bool, Value::Bool(_)) | (Self::Text, Value::String(_)) => {}
            (Self::Int | Self::UInt | Self::Float, Value::Number(_)) => {
                let found = Self::first(value);
                *self = match (&*self, found) {
                    (Self::Int, Self::Int) => Self::Int,
                    (Self::Float, _) | (_, Self::Float) => Self::Float,
                    _ => Self::UInt,
                };
            }
            (_, other) => {
                return Err(Invalid(format!(
                    ": is {} here and {} in an earlier record; a Parquet column has one type, write .jsonl instead",
                    kind(other),
                    self.name()
                )));
            }
        }
        Ok(())
    }

    fn first(value: &Value) -> Self {
        match value {
            Value::Null => Self::Unknown,
            Value::Bool(_) => Self::Bool,
            Value::Number(n) if n.is_i64() => Self::Int,
            Value::Number(n) if n.is_u64() => Self::UInt,
            Value::Number(_) => Self::Float,
            Value::String(_) => Self::Text,
            Value::Array(_) => Self::List(Box::new(Self::Unknown)),
            Value::Object(_) => Self::Struct(Vec::new()),
        }
    }

    fn widen_inner(&mut self, value: &Value) -> Result<(), Invalid> {
        match (self, value) {
            (Self::List(shape), Value::Array(items)) => {
                for (i, item) in items.iter().enumerate() {
                    shape.widen(item).map_err(|e| e.inside(&format!("[{i}]")))?;
                }
            }
            (Self::Struct(fields), Value::Object(map)) => widen_struct(fields, map)?,
            _ => {}
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "null",
            Self::Bool => "a boolean",
            Self::Int | Self::UInt | Self::Float => "a number",
            Self::Text => "a string",
            Self::Bytes => "binary data",
            Self::List(_) => "a list",
            Self::Struct(_) => "an object",
        }
    }

    /// Whether this is the shape of a content's parts, or nothing is known yet.
    fn has_type(&self) -> bool {
        match self {
            Self::Unknown => true,
            Self::Struct(fields) => fields.iter().any(|(name, shape)| name == "type" && *shape == Self::Text),
            _ => false,
        }
    }

    /// The path of the first struct without any field, which Parquet cannot store.
    pub fn empty_struct(&self, path: &str) -> Option<String> {
        match self {
            Self::Struct(fields) if fields.is_empty() => Some(path.to_owned()),
            Self::Struct(fields) => {
                fields.iter().find_map(|(name, shape)| shape.empty_struct(&format!("{path}.{name}")))
            }
            Self::List(shape) => shape.empty_struct(&format!("{path}[]")),
            _ => None,
        }
    }
}

/// A content of parts that is this text.
pub(crate) fn text_part(text: &str) -> Value {
    json!([{"type": "text", "text": text}])
}

/// Widens a struct's fields. New fields are appended, so columns are in the order of first appearance.
pub(crate) fn widen_struct(fields: &mut Vec<(String, Shape)>, map: &Map<String, Value>) -> Result<(), Invalid> {
    for (i, (name, value)) in map.iter().enumerate() {
        // The records of a file usually have the same fields in the same order.
        let at = match fields.get(i) {
            Some((found, _)) if found == name => i,
            _ => fields.iter().position(|(found, _)| found == name).unwrap_or_else(|| {
                fields.push((name.clone(), Shape::Unknown));
                fields.len() - 1
            }),
        };
        let shape = &mut fields[at].1;
        let widened = match (name.as_str(), &*shape, value) {
            // Pictures in the form of datasets' `Image`, `{bytes, path}`, go back into a binary column.
            ("bytes", Shape::Unknown | Shape::Text | Shape::Bytes, _) if images::binary(value).is_some() => {
                *shape = Shape::Bytes;
                Ok(())
            }
            ("bytes", Shape::Bytes, Value::String(_)) => Ok(()),
            // A column of contents is one of parts as soon as one content has parts; texts become one part each.
            ("content", Shape::Text, Value::Array(parts)) if parts.iter().all(|part| part["type"].is_string()) => {
                *shape = Shape::Unknown;
                shape.widen(&text_part("")).and_then(|()| shape.widen(value))
            }
            ("content", Shape::List(part), Value::String(text)) if part.has_type() => shape.widen(&text_part(text)),
            _ => shape.widen(value),
        };
        widened.map_err(|e| e.inside(name))?;
    }
    Ok(())
}
