//! Ordinary text that contains special tokens: finds them, marks them while a conversation is rendered, and tokenises
//! them as plain text.

use dataset::{Content, Message};
use serde_json::Value as Json;

use crate::error::ChatError;
use crate::tokenizer::Tokenizer;

/// Enclose such a text until it is tokenised. These are Unicode noncharacters, which do not occur in text.
const MARKS: [char; 2] = ['\u{FDD0}', '\u{FDD1}'];

/// Refuses messages that contain the text of a special token: in their content, reasoning or tool calls.
///
/// # Errors
/// [`ChatError::SpecialInContent`] for the first one.
pub(crate) fn refuse(tokenizer: &Tokenizer, messages: &[Message]) -> Result<(), ChatError> {
    for (message, turn) in messages.iter().enumerate() {
        let mut found = None;
        let mut copy = turn.clone();
        each_text(&mut copy, &mut |text| {
            if found.is_none() {
                found = next(tokenizer, text).map(|(_, token)| token.to_owned());
            }
        });
        if let Some(token) = found {
            return Err(ChatError::SpecialInContent { message, token });
        }
    }
    Ok(())
}

/// The messages with marks around the text of every special token.
pub(crate) fn mark(tokenizer: &Tokenizer, messages: &[Message]) -> Vec<Message> {
    let mut marked = messages.to_vec();
    for message in &mut marked {
        each_text(message, &mut |text| {
            let mut out = String::new();
            let mut rest = text.as_str();
            while let Some((at, token)) = next(tokenizer, rest) {
                out.push_str(&rest[..at]);
                out.push(MARKS[0]);
                out.push_str(token);
                out.push(MARKS[1]);
                rest = &rest[at + token.len()..];
            }
            if !out.is_empty() {
                out.push_str(rest);
                *text = out;
            }
        });
    }
    marked
}

/// The text without marks.
pub(crate) fn without_marks(text: &str) -> String {
    text.replace(MARKS, "")
}

/// The ids of a text in which marked parts are plain text.
pub(crate) fn encode(tokenizer: &Tokenizer, marked: &str) -> Result<Vec<u32>, ChatError> {
    if !marked.contains(MARKS) {
        return tokenizer.encode(marked, false);
    }
    let mut ids = Vec::new();
    // Text between intended special tokens: if it contains marked parts, it is tokenised as plain text as a whole.
    let (mut rest, mut usual) = (marked, String::new());
    while !rest.is_empty() {
        let (stretch, token) = match next_meant(tokenizer, rest) {
            Some((at, token)) => (&rest[..at], token),
            None => (rest, ""),
        };
        rest = &rest[stretch.len() + token.len()..];
        if stretch.contains(MARKS) {
            ids.extend(tokenizer.encode(&usual, false)?);
            usual.clear();
            ids.extend(tokenizer.encode_plain(&without_marks(stretch))?);
        } else {
            usual.push_str(stretch);
        }
        usual.push_str(token);
    }
    ids.extend(tokenizer.encode(&usual, false)?);
    Ok(ids)
}

/// The first special token in a text; of several at the same place, the longest.
fn next<'t>(tokenizer: &'t Tokenizer, text: &str) -> Option<(usize, &'t str)> {
    let found = tokenizer.special_tokens().iter().filter(|(token, _)| !token.is_empty());
    let found = found.filter_map(|(token, _)| Some((text.find(token.as_str())?, token.as_str())));
    found.min_by_key(|(at, token)| (*at, std::cmp::Reverse(token.len())))
}

/// The first special token outside marks.
fn next_meant<'t>(tokenizer: &'t Tokenizer, text: &str) -> Option<(usize, &'t str)> {
    let mut start = 0;
    loop {
        let (at, token) = next(tokenizer, &text[start..])?;
        let at = start + at;
        let inside = text[..at].rfind(MARKS).is_some_and(|mark| text[mark..].starts_with(MARKS[0]));
        if !inside {
            return Some((at, token));
        }
        start = at + text[at..].find(MARKS[1])?;
    }
}

/// Calls `change` for every text of a turn that a template writes.
fn each_text(message: &mut Message, change: &mut impl FnMut(&mut String)) {
    if let Some(Content::Text(text)) = &mut message.content {
        change(text);
    }
    for call in &mut message.tool_calls {
        each_string(call, change);
    }
    for (name, value) in &mut message.extra {
        if ["reasoning_content", "thinking", "reasoning", "name"].contains(&name.as_str()) {
            each_string(value, change);
        }
    }
}

fn each_string(value: &mut Json, change: &mut impl FnMut(&mut String)) {
    match value {
        Json::String(text) => change(text),
        Json::Array(items) => items.iter_mut().for_each(|item| each_string(item, change)),
        Json::Object(map) => map.values_mut().for_each(|item| each_string(item, change)),
        _ => {}
    }
}
