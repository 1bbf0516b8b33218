//! Checks of a record's content that go beyond its form. Each function checks one property; a stage calls those that
//! it needs.
//!
//! ```
//! use dataset::{Conversation, check, jsonl::{self, OnBadLine}};
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("train.jsonl");
//! # let rejected = dir.path().join("rejected.jsonl");
//! std::fs::write(&path, r#"{"id": "a", "messages": [{"role": "user", "content": "Hi"}]}"#).unwrap();
//! let mut reader = jsonl::read::<Conversation>(&path, OnBadLine::SetAside(rejected.clone()))?;
//! let mut ids = check::Ids::default();
//! let mut kept = Vec::new();
//! while let Some(conversation) = reader.next() {
//!     let mut conversation = conversation?;
//!     let place = reader.place();
//!     check::fill_id(&mut conversation.id, &place);
//!     let answer = check::has_answer(&conversation.messages);
//!     match answer.and_then(|()| ids.add(&conversation.id, &place)) {
//!         Ok(()) => kept.push(conversation),
//!         Err(why) => reader.reject(why, &conversation)?, // set aside and counted; an error in a strict run
//!     }
//! }
//! assert_eq!((kept.len(), reader.bad()), (0, 1));
//! assert!(std::fs::read_to_string(&rejected).unwrap().contains("no assistant turn"));
//! # Ok::<(), dataset::Error>(())
//! ```

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::error::{Invalid, Place};
use crate::message::{Message, Role};
use crate::preference::Preference;

fn refuse(sentence: impl Into<String>) -> Result<(), Invalid> {
    Err(Invalid(sentence.into()))
}

/// Checks that there is at least one turn.
///
/// # Errors
/// A message for an empty list.
pub fn not_empty(messages: &[Message]) -> Result<(), Invalid> {
    if messages.is_empty() { refuse("messages: the list is empty") } else { Ok(()) }
}

/// Checks that every turn is text, without pictures or other parts that this stage would have to leave out.
///
/// # Errors
/// A message that names the turn and the part.
pub fn text_only(name: &str, messages: &[Message]) -> Result<(), Invalid> {
    let other = |message: &Message| message.content.as_ref()?.first_other().map(|(i, kind)| (i, kind.to_owned()));
    match messages.iter().enumerate().find_map(|(i, message)| Some((i, other(message)?))) {
        Some((i, (part, kind))) => refuse(format!(
            "{name}[{i}].content[{part}]: a part of type {kind:?} cannot be used here; only text parts can"
        )),
        None => Ok(()),
    }
}

/// Checks that there is something to train on: an assistant turn with text or tool calls.
///
/// # Errors
/// A message that says what is missing.
pub fn has_answer(messages: &[Message]) -> Result<(), Invalid> {
    not_empty(messages)?;
    text_only("messages", messages)?;
    let mut answers = messages.iter().filter(|m| m.role == Role::Assistant).peekable();
    if answers.peek().is_none() {
        return refuse("messages: there is no assistant turn, so there is nothing to train on");
    }
    if answers.all(|m| m.text().trim().is_empty() && m.tool_calls.is_empty()) {
        return refuse("messages: every assistant turn is empty, so there is nothing to train on");
    }
    Ok(())
}

/// Checks that a prompt can be answered: it is not empty, and the last turn is not an assistant turn.
///
/// # Errors
/// A message that says what is wrong.
pub fn is_prompt(messages: &[Message]) -> Result<(), Invalid> {
    text_only("prompt", messages)?;
    match messages.last() {
        None => refuse("prompt: the list is empty"),
        Some(last) if last.role == Role::Assistant => {
            refuse("prompt: ends with an assistant turn; a prompt ends with the turn to answer")
        }
        Some(_) => Ok(()),
    }
}

/// Checks that a system turn is only at the beginning, where chat templates expect it.
///
/// # Errors
/// A message that names the turn.
pub fn system_first(messages: &[Message]) -> Result<(), Invalid> {
    match messages.iter().skip(1).position(|m| m.role == Role::System) {
        Some(i) => refuse(format!("messages[{}].role: a system turn can only be the first", i + 1)),
        None => Ok(()),
    }
}

/// Checks that no turn is blank: each has text or tool calls.
///
/// # Errors
/// A message that names the turn.
pub fn no_blank_turn(messages: &[Message]) -> Result<(), Invalid> {
    text_only("messages", messages)?;
    match messages.iter().position(|m| m.text().trim().is_empty() && m.tool_calls.is_empty()) {
        Some(i) => refuse(format!("messages[{i}].content: is blank")),
        None => Ok(()),
    }
}

/// Checks that a preference can be trained on: it has a prompt and two different assistant answers.
///
/// # Errors
/// A message that says what is wrong.
pub fn is_preference(preference: &Preference) -> Result<(), Invalid> {
    is_prompt(&preference.prompt)?;
    let edited = preference.edited.as_ref();
    let answers = [("chosen", &preference.chosen), ("rejected", &preference.rejected)];
    for (name, answer) in answers.into_iter().chain(edited.map(|e| ("edited", e))) {
        text_only(name, answer)?;
        match answer.first() {
            None => return refuse(format!("{name}: the answer is empty")),
            Some(m) if m.role != Role::Assistant => {
                let role = m.role.as_str();
                return refuse(format!("{name}[0].role: is {role}; an answer begins with an assistant turn"));
            }
            Some(_) => {}
        }
    }
    if preference.chosen == preference.rejected {
        return refuse("chosen, rejected: are equal, so there is nothing to prefer");
    }
    Ok(())
}

/// Gives a record without an id an id that is the same in every run: file name and line, `train.jsonl:12`.
pub fn fill_id(id: &mut String, place: &Place) {
    if id.is_empty() {
        let name = place.path.file_name().unwrap_or_default().to_string_lossy();
        *id = format!("{name}:{}", place.number);
    }
}

/// The ids seen so far, to find duplicates over all files that are added.
#[derive(Debug, Default)]
pub struct Ids(HashMap<String, Place>);

impl Ids {
    /// Adds an id.
    ///
    /// # Errors
    /// A message with the place of the first record with this id.
    pub fn add(&mut self, id: &str, place: &Place) -> Result<(), Invalid> {
        match self.0.entry(id.to_owned()) {
            Entry::Occupied(first) => refuse(format!("id: {id:?} is also the id of {}", first.get())),
            Entry::Vacant(free) => {
                free.insert(place.clone());
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(result: Result<(), Invalid>) -> String {
        result.err().map_or_else(String::new, |e| e.0)
    }

    #[test]
    fn conversations() {
        let (s, u, a) = (Message::system("s"), Message::user("u"), Message::assistant("a"));
        let blank = Message::assistant(" \n");
        let good = [s.clone(), u.clone(), a.clone()];
        for check in [not_empty, has_answer, system_first, no_blank_turn] {
            check(&good).unwrap();
        }
        is_prompt(&good[..2]).unwrap();
        assert_eq!(sentence(has_answer(&[])), "messages: the list is empty");
        assert!(sentence(has_answer(&good[..2])).contains("no assistant turn"));
        assert!(sentence(has_answer(&[u.clone(), blank.clone()])).contains("every assistant turn is empty"));
        has_answer(&[u.clone(), blank.clone(), a.clone()]).unwrap();
        assert_eq!(sentence(is_prompt(&[])), "prompt: the list is empty");
        assert!(sentence(is_prompt(&good)).contains("ends with an assistant turn"));
        assert_eq!(sentence(system_first(&[u.clone(), s])), "messages[1].role: a system turn can only be the first");
        assert_eq!(sentence(no_blank_turn(&[u, a, blank])), "messages[2].content: is blank");
        let picture =
            r#"{"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image", "image": "p.png"}]}"#;
        let picture: Message = serde_json::from_str(picture).unwrap();
        let turns = [picture.clone(), Message::assistant("a")];
        for refused in [has_answer(&turns), no_blank_turn(&turns), text_only("messages", &turns)] {
            assert!(sentence(refused).starts_with("messages[0].content[1]: a part of type \"image\""));
        }
        assert!(sentence(is_prompt(&[picture])).starts_with("prompt[0].content[1]: a part"));
        let call = r#"{"role": "assistant", "content": null, "tool_calls": [{"name": "f"}]}"#;
        let call: Message = serde_json::from_str(call).unwrap();
        has_answer(std::slice::from_ref(&call)).unwrap();
        no_blank_turn(&[call]).unwrap();
    }

    #[test]
    fn preferences() {
        let read = |line: &str| serde_json::from_str::<Preference>(line).unwrap();
        is_preference(&read(r#"{"prompt": "q", "chosen": "a", "rejected": "b", "edited": "c"}"#)).unwrap();
        for (line, why) in [
            (r#"{"prompt": [], "chosen": "a", "rejected": "b"}"#, "prompt: the list is empty"),
            (r#"{"prompt": "q", "chosen": [], "rejected": "b"}"#, "chosen: the answer is empty"),
            (r#"{"prompt": "q", "chosen": "a", "rejected": "b", "edited": []}"#, "edited: the answer is empty"),
            (r#"{"prompt": "q", "chosen": "a", "rejected": "a"}"#, "chosen, rejected: are equal"),
            (
                r#"{"prompt": "q", "chosen": "a", "rejected": [{"role": "user", "content": "b"}]}"#,
                "rejected[0].role: is user; an answer begins",
            ),
        ] {
            assert!(sentence(is_preference(&read(line))).starts_with(why), "{line}");
        }
    }

    #[test]
    fn ids() {
        let place = |number| Place { path: "data/a.jsonl".into(), number, is_row: false };
        let mut ids = Ids::default();
        ids.add("x", &place(3)).unwrap();
        assert_eq!(sentence(ids.add("x", &place(5))), "id: \"x\" is also the id of data/a.jsonl:3");
        let mut id = String::new();
        fill_id(&mut id, &place(7));
        fill_id(&mut id, &place(8));
        assert_eq!(id, "a.jsonl:7");
    }
}
