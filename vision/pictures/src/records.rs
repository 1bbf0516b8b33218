//! Lists the pictures of a conversation, in the order of its turns.

use std::path::Path;

use dataset::{Content, Message, Part};
use serde_json::{Map, Value};

use crate::source::Source;
use crate::{Result, Unusable};

/// A picture with the message part that contains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The index of the turn, from 0.
    pub message: usize,
    /// The index of the part in the turn, from 0.
    pub part: usize,
    /// The location of the picture.
    pub source: Source,
}

/// Lists the pictures of turns: parts `{"type": "image", "image" | "path" | "url" | "bytes": ...}` and OpenAI's `{"type": "image_url",
/// "image_url": {"url": ...}}`. Paths are relative to `folder`, which contains the records' file. (The other form, a list of pictures
/// beside the turns with marks in them, is converted to this one by `dataset`.)
///
/// # Errors
/// When a part has no picture, names a network address, or has another type; the error names the part.
pub fn of_messages(messages: &[Message], folder: &Path) -> Result<Vec<Placed>> {
    let mut placed = Vec::new();
    for (message, turn) in messages.iter().enumerate() {
        let Some(Content::Parts(parts)) = &turn.content else { continue };
        for (part, content) in parts.parts().iter().enumerate() {
            let Part::Other { kind, fields } = content else { continue };
            let source = of_part(kind, fields, folder)
                .map_err(|error| error.at(format_args!("messages[{message}].content[{part}]")))?;
            placed.push(Placed { message, part, source });
        }
    }
    Ok(placed)
}

fn of_part(kind: &str, fields: &Map<String, Value>, folder: &Path) -> Result<Source> {
    let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
    match kind {
        "image" | "image_url" | "input_image" => {}
        _ => {
            return Err(Unusable::new(format!(
                "a part of type {kind:?} cannot be used: only text and image parts can"
            )));
        }
    }
    if let Some(value) = field("image").or_else(|| field("image_url")) {
        return Source::of_value(value, folder);
    }
    if ["bytes", "url", "path"].iter().any(|name| field(name).is_some()) {
        return Source::of_value(&Value::Object(fields.clone()), folder);
    }
    if let (Some(data), media) = (field("data").or_else(|| field("base64")), field("media_type")) {
        let media = media.and_then(Value::as_str).unwrap_or("image/png");
        let data = data.as_str().unwrap_or_default();
        return Source::of_value(&Value::String(format!("data:{media};base64,{data}")), folder);
    }
    Err(Unusable::new("an image part names no picture, and the record has no list of images"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pictures(content: Value) -> Result<Vec<Placed>> {
        let message: Message = serde_json::from_value(json!({"role": "user", "content": content})).unwrap();
        of_messages(&[Message::system("Look."), message], Path::new("data"))
    }

    #[test]
    fn parts_of_every_form() {
        let found = pictures(json!([
            {"type": "image", "image": "a.png"},
            {"type": "text", "text": "and"},
            {"type": "image", "path": "b.png", "image": null},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQL/"}},
            {"type": "image", "image": {"bytes": {"hex": "0102ff"}, "path": null}},
            {"type": "image", "base64": "AQL/"},
        ]));
        let bytes = || Source::Bytes(vec![1, 2, 255]);
        let expected = [
            (0, Source::Path("data/a.png".into())),
            (2, Source::Path("data/b.png".into())),
            (3, bytes()),
            (4, bytes()),
            (5, bytes()),
        ];
        let expected: Vec<Placed> =
            expected.into_iter().map(|(part, source)| Placed { message: 1, part, source }).collect();
        assert_eq!(found, Ok(expected));
        assert_eq!(pictures(json!("no picture")), Ok(vec![]));
    }

    #[test]
    fn mistakes_name_the_part() {
        for (part, sentence) in [
            (json!({"type": "image"}), "an image part names no picture"),
            (json!({"type": "audio", "audio": "a.wav"}), "a part of type \"audio\" cannot be used"),
            (json!({"type": "image", "url": "https://example.org/a.png"}), "the picture is at an address"),
        ] {
            let error = pictures(json!([{"type": "text", "text": "x"}, part])).unwrap_err().to_string();
            assert!(error.starts_with(&format!("messages[1].content[1]: {sentence}")), "{error}");
        }
    }
}
