//! The document: the record that every step of the data half reads and writes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::hash;

/// One page or text, as a line of JSON: `{"id", "url"?, "date"?, "source", "text", "meta"?}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Document {
    /// Unique within the corpus. A reader makes a missing id from the content ([`Document::content_id`]).
    pub id: String,
    /// The address of the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The time of the fetch, RFC 3339 or `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The name of the source in the recipe.
    #[serde(default)]
    pub source: String,
    /// The text.
    pub text: String,
    /// Further data: `language`, scores, fields of the input.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub meta: Map<String, Value>,
}

impl Document {
    /// The language that a step wrote into `meta`, or an empty text.
    #[must_use]
    pub fn language(&self) -> &str {
        self.meta.get("language").and_then(Value::as_str).unwrap_or_default()
    }

    /// An id from the content: 128 bits over address, date and text, as 32 hexadecimal digits. It depends neither on
    /// the file of the document nor on the position in the file.
    #[must_use]
    pub fn content_id(&self) -> String {
        let parts = [self.url.as_deref().unwrap_or_default(), self.date.as_deref().unwrap_or_default(), &self.text];
        let mut high = hash::seeded(1);
        let mut low = hash::seeded(2);
        for part in parts {
            high = hash::combine(high, hash::bytes(part.as_bytes()));
            low = hash::combine(low, hash::bytes_with(part.as_bytes(), 0x9e37_79b9_7f4a_7c15));
        }
        format!("{high:016x}{low:016x}")
    }

    /// Seconds since 1970 of `date`; the smallest value if it is missing or cannot be parsed, so that a dated copy
    /// counts as newer.
    #[must_use]
    pub fn seconds(&self) -> i64 {
        self.date.as_deref().and_then(seconds).unwrap_or(i64::MIN)
    }
}

/// Seconds since 1970 of `2024-05-01T12:00:00Z`, `2024-05-01 12:00:00` or `2024-05-01`; UTC if no zone is given.
#[must_use]
pub fn seconds(date: &str) -> Option<i64> {
    use chrono::{DateTime, NaiveDate, NaiveDateTime};
    if let Ok(time) = DateTime::parse_from_rfc3339(date) {
        return Some(time.timestamp());
    }
    let plain = date.get(..19).unwrap_or(date);
    for form in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(plain, form) {
            return Some(time.and_utc().timestamp());
        }
    }
    let day = NaiveDate::parse_from_str(date.get(..10)?, "%Y-%m-%d").ok()?;
    Some(day.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_crawls() {
        assert_eq!(seconds("1970-01-02T00:00:00Z"), Some(86_400));
        assert_eq!(seconds("1970-01-02T01:00:00+01:00"), Some(86_400));
        assert_eq!(seconds("1970-01-02 00:00:01"), Some(86_401));
        assert_eq!(seconds("1970-01-02"), Some(86_400));
        assert_eq!(seconds("yesterday"), None);
        assert_eq!(Document::default().seconds(), i64::MIN);
    }

    #[test]
    fn an_id_of_the_content_depends_on_nothing_else() {
        let one = Document { text: "a".into(), url: Some("http://x".into()), ..Document::default() };
        let other = Document { source: "s".into(), ..one.clone() };
        assert_eq!(one.content_id(), other.content_id());
        assert_eq!(one.content_id().len(), 32);
        let moved = Document { text: "http://xa".into(), url: None, ..Document::default() };
        assert_ne!(one.content_id(), moved.content_id());
    }
}
