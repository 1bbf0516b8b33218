//! The texts of a record: a field that is a text or a list of messages.

use serde_json::Value;

/// The text of a field, or the contents of its messages. `None` if the record has no such field.
pub(super) fn texts<'a>(record: &'a mut Value, field: &str) -> Result<Option<Vec<&'a mut String>>, String> {
    match record.get_mut(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text])),
        Some(Value::Array(messages)) => {
            let mut all = Vec::with_capacity(messages.len());
            for (at, message) in messages.iter_mut().enumerate() {
                match message.get_mut("content") {
                    Some(Value::String(text)) => all.push(text),
                    // Content parts: {"type": "text", "text": ...}; images have no text.
                    Some(Value::Array(parts)) => {
                        let texts = parts.iter_mut().filter_map(|part| part.get_mut("text"));
                        all.extend(
                            texts.filter_map(|text| if let Value::String(text) = text { Some(text) } else { None }),
                        );
                    }
                    Some(Value::Null) => {}
                    _ => return Err(format!("{field}[{at}] has no content; {field} is a text or a list of messages")),
                }
            }
            Ok(Some(all))
        }
        Some(_) => Err(format!("{field} is neither a text nor a list of messages")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_and_messages() {
        let mut record = json!({"text": "a", "messages": [
            {"role": "user", "content": "b"}, {"role": "assistant", "content": null},
            {"role": "user", "content": [{"type": "text", "text": "c"}, {"type": "image"}]}], "n": 3, "l": [1], "z": null});
        let mut of = |field: &str| {
            texts(&mut record, field).map(|all| all.map(|all| all.iter().map(|t| t.to_string()).collect()))
        };
        assert_eq!(of("text"), Ok(Some(vec!["a".to_owned()])));
        assert_eq!(of("messages"), Ok(Some(vec!["b".to_owned(), "c".to_owned()])));
        assert_eq!((of("z"), of("none")), (Ok(None), Ok(None)));
        assert_eq!(of("n").unwrap_err(), "n is neither a text nor a list of messages");
        assert!(of("l").unwrap_err().starts_with("l[0] has no content"));
    }
}
