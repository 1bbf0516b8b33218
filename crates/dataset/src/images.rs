//! Pictures that a record lists beside its turns: TRL's and LLaMA-Factory's `images`, LLaVA's `image`. They move to the
//! parts of the turns that mean them, so that readers find one form, and a stage that takes text only refuses the record
//! instead of training on it without its picture.

use serde_json::{Map, Value, json};

use crate::content::{Content, Part};
use crate::error::Invalid;
use crate::fields::{Checked, Fields};
use crate::message::{Message, Role};

/// LLaVA's mark of a picture in a text.
const MARK: &str = "<image>";
/// Endings of the names of picture files.
const ENDINGS: [&str; 11] = ["png", "jpg", "jpeg", "gif", "webp", "bmp", "svg", "tif", "tiff", "heic", "avif"];

/// Moves the record's pictures into the turns: to the parts `{"type": "image"}` that name none, or else to the marks
/// `<image>` in the texts, in order; if there are neither, before the text of the first user turn, as TRL does.
///
/// # Errors
/// When the numbers of marks and of pictures differ.
pub(crate) fn gather(fields: &mut Fields, messages: &mut [Message]) -> Checked<()> {
    let Some((name, pictures)) = listed(&fields.0)? else { return Ok(()) };
    let named = parts(messages).filter(|part| is_image(part) && !is_placeholder(part)).count();
    if named > 0 {
        return Err(Invalid(format!(
            "{name}: lists pictures, but {named} parts of the turns name pictures themselves; keep one of the two"
        )));
    }
    let placeholders = parts(messages).filter(|part| is_placeholder(part)).count();
    let marks: usize = texts(messages).map(|text| text.matches(MARK).count()).sum();
    let count = pictures.len();
    let mut next = pictures.into_iter().map(|picture| Part::Other {
        kind: "image".to_owned(),
        fields: Map::from_iter([("image".to_owned(), picture)]),
    });
    match (placeholders, marks) {
        (0, 0) => {
            let first = messages.iter_mut().find(|message| message.role == Role::User);
            let first = first.ok_or_else(|| Invalid(format!("{name}: lists pictures, but there is no user turn")))?;
            let parts = next.chain(taken(first)).collect();
            first.content = Some(Content::from_parts(parts));
        }
        (found, _) if found == count => change(messages, |part, parts| {
            let picture = if is_placeholder(&part) { next.next() } else { None };
            parts.push(picture.unwrap_or(part));
        }),
        (0, found) if found == count => change(messages, |part, parts| {
            let Part::Text(text) = part else { return parts.push(part) };
            for (i, piece) in text.split(MARK).enumerate() {
                parts.extend(if i == 0 { None } else { next.next() });
                if !piece.is_empty() {
                    parts.push(Part::Text(piece.to_owned()));
                }
            }
        }),
        (placeholders, marks) => {
            let found = placeholders.max(marks);
            return Err(Invalid(format!(
                "{name}: there are {found} image marks and {count} images; each picture needs one mark, {{\"type\": \
                 \"image\"}} or {MARK}"
            )));
        }
    }
    fields.0.shift_remove(name);
    Ok(())
}

/// The column with pictures, and the pictures.
fn listed(fields: &Map<String, Value>) -> Checked<Option<(&'static str, Vec<Value>)>> {
    match (fields.get("images"), fields.get("image")) {
        (Some(Value::Array(list)), _) if !list.is_empty() => {
            let named = |value: &Value| value.is_object() || value.as_str().is_some_and(|text| !text.trim().is_empty());
            match list.iter().position(|value| !named(value)) {
                None => Ok(Some(("images", list.clone()))),
                Some(i) => {
                    Err(Invalid(format!("images[{i}]: must be a path, a data URI, or an object with bytes or path")))
                }
            }
        }
        (_, Some(picture)) if is_picture(picture) => Ok(Some(("image", vec![picture.clone()]))),
        _ => Ok(None),
    }
}

/// Whether a value of a column `image` names a picture; a column of that name may be something else.
fn is_picture(value: &Value) -> bool {
    match value {
        Value::Object(map) => ["bytes", "path", "url"].iter().any(|name| map.get(*name).is_some_and(|v| !v.is_null())),
        Value::String(text) => {
            let ending = text.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
            text.starts_with("data:image/") || ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
        }
        _ => false,
    }
}

fn parts(messages: &[Message]) -> impl Iterator<Item = &Part> {
    let all = messages.iter().filter_map(|message| match &message.content {
        Some(Content::Parts(parts)) => Some(parts.parts()),
        _ => None,
    });
    all.flatten()
}

fn texts(messages: &[Message]) -> impl Iterator<Item = &str> {
    let of_parts = parts(messages).filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Other { .. } => None,
    });
    let whole = messages.iter().filter_map(|message| match &message.content {
        Some(Content::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    whole.chain(of_parts)
}

fn is_image(part: &Part) -> bool {
    matches!(part, Part::Other { kind, .. } if kind == "image" || kind == "image_url")
}

/// A part that stands for a picture and names none.
fn is_placeholder(part: &Part) -> bool {
    matches!(part, Part::Other { kind, fields } if kind == "image" && fields.values().all(Value::is_null))
}

/// The parts of a turn, taken out of it; an empty text is none.
fn taken(message: &mut Message) -> Vec<Part> {
    match message.content.take() {
        None => Vec::new(),
        Some(Content::Text(text)) if text.is_empty() => Vec::new(),
        Some(Content::Text(text)) => vec![Part::Text(text)],
        Some(Content::Parts(parts)) => parts.parts().to_vec(),
    }
}

/// Replaces each part by those that `each` pushes for it.
fn change(messages: &mut [Message], mut each: impl FnMut(Part, &mut Vec<Part>)) {
    for message in messages.iter_mut().filter(|message| message.content.is_some()) {
        let mut parts = Vec::new();
        for part in taken(message) {
            each(part, &mut parts);
        }
        message.content = Some(Content::from_parts(parts));
    }
}

/// Binary data as the Parquet reader gives it: `{"hex": ...}`.
pub(crate) fn binary(value: &Value) -> Option<Vec<u8>> {
    let digits = value.as_object().filter(|map| map.len() == 1)?.get("hex")?.as_str()?;
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|&[high, low]| Some((digit(high)? * 16 + digit(low)?) as u8));
    bytes.collect::<Option<Vec<u8>>>().filter(|_| rest.is_empty())
}

/// Binary data as a JSON value.
pub(crate) fn binary_value(bytes: &[u8]) -> Value {
    json!({"hex": crate::digest::hex(bytes)})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conversation, Preference, Prompt, check};

    fn read(value: Value) -> Result<Conversation, String> {
        Conversation::try_from(value).map_err(|e| e.0)
    }

    fn image(path: &str) -> Value {
        json!({"type": "image", "image": path})
    }

    fn text(text: &str) -> Value {
        json!({"type": "text", "text": text})
    }

    /// The content of the first turn, which says what became of the pictures.
    fn first(record: Value) -> Value {
        let conversation = read(record).unwrap();
        assert!(!conversation.extra.contains_key("images") && !conversation.extra.contains_key("image"));
        assert!(check::text_only("messages", &conversation.messages).is_err());
        serde_json::to_value(&conversation.messages[0].content).unwrap()
    }

    #[test]
    fn placeholders_marks_and_neither() {
        let answer = json!({"role": "assistant", "content": "a cat <image>"});
        let parts = json!([{"type": "image", "text": null}, text("or"), {"type": "image"}]);
        let trl = json!({"images": ["a.png", {"path": "b.png"}],
            "messages": [{"role": "user", "content": parts}, answer]});
        let b = json!({"type": "image", "image": {"path": "b.png"}});
        assert_eq!(first(trl), json!([image("a.png"), text("or"), b]));
        let llava = json!({"image": "coco/1.JPG", "conversations": [
            {"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "A cat."}]});
        assert_eq!(first(llava), json!([image("coco/1.JPG"), text("\nWhat is it?")]));
        let two = json!({"images": ["a.png", "b.png"], "prompt": "x <image> y<image>", "completion": "z"});
        assert_eq!(first(two), json!([text("x "), image("a.png"), text(" y"), image("b.png")]));
        let bare = json!({"images": ["a.png"], "prompt": "What is it?", "completion": "z"});
        assert_eq!(first(bare), json!([image("a.png"), text("What is it?")]));
        // The pictures of a preference and of a prompt belong to the prompt.
        let preference = json!({"images": ["a.png"], "prompt": "<image>x", "chosen": "y", "rejected": "z"});
        let preference = Preference::try_from(preference).unwrap();
        let expected = json!([image("a.png"), text("x")]);
        assert_eq!(serde_json::to_value(&preference.prompt[0].content).unwrap(), expected);
        let prompt = Prompt::try_from(json!({"images": ["a.png"], "prompt": "<image>x"})).unwrap();
        assert_eq!(serde_json::to_value(&prompt.prompt[0].content).unwrap(), expected);
    }

    #[test]
    fn what_is_no_picture_stays_as_it_is() {
        for (name, value) in
            [("images", json!([])), ("images", json!(5)), ("image", json!("ubuntu")), ("image", json!(7))]
        {
            let record = json!({"prompt": "write <image>", "completion": "y", name: value});
            let conversation = read(record).unwrap();
            assert_eq!((conversation.messages[0].text(), &conversation.extra[name]), ("write <image>", &value));
            assert_eq!(check::text_only("messages", &conversation.messages), Ok(()));
        }
    }

    #[test]
    fn marks_and_pictures_must_match() {
        let error = |images: Value, prompt: Value| {
            read(json!({"images": images, "prompt": prompt, "completion": "y"})).unwrap_err()
        };
        let sentence = error(json!(["a.png"]), json!("<image> and <image>"));
        assert!(sentence.starts_with("images: there are 2 image marks and 1 images;"), "{sentence}");
        let turn = |content: Value| json!([{"role": "user", "content": content}]);
        let sentence = error(json!(["a.png", "b.png"]), turn(json!([{"type": "image"}])));
        assert!(sentence.starts_with("images: there are 1 image marks and 2 images;"), "{sentence}");
        let sentence = error(json!(["a.png"]), turn(json!([image("b.png")])));
        assert!(sentence.starts_with("images: lists pictures, but 1 parts of the turns"), "{sentence}");
        assert!(error(json!(["a.png", 5]), json!("x")).starts_with("images[1]: must be a path"));
    }

    #[test]
    fn binary_data_in_json() {
        for bytes in [&b""[..], b"\x00\xFF\x10"] {
            assert_eq!(binary(&binary_value(bytes)), Some(bytes.to_vec()));
        }
        for other in [json!({"hex": "0"}), json!({"hex": "0g"}), json!({"hex": "00", "x": 1}), json!("00")] {
            assert_eq!(binary(&other), None);
        }
    }
}
