//! A preference: one prompt with a better and a worse answer. Reward models and DPO train on preferences.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::columns;
use crate::error::Invalid;
use crate::fields::{Fields, deserialize_from_value, kind, missing, tools};
use crate::images;
use crate::message::{Message, Role, as_turns, messages};

/// How clearly the chosen answer is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Strength {
    /// A named level; Llama 3 (section 4.2.1) has significantly better, better, slightly better, marginally better.
    Level(String),
    /// A number, such as a difference of ratings.
    Score(f64),
}

/// A preference, `{"id", "prompt", "chosen", "rejected", "edited"?, "strength"?}`.
///
/// The three answers contain only the turns after the prompt. These forms are read too, and written back in the form
/// above:
/// - message lists, or plain strings (the prompt is a user turn, an answer is an assistant turn);
/// - answers that repeat the prompt (UltraFeedback's form): the repetition is removed;
/// - TRL's implicit prompt, where `prompt` is absent and the two answers share their first turns, or are strings with
///   a common prefix; strings in the style of hh-rlhf (`
/// - Human: ...
/// - Assistant: ...`) become turns.
///
/// ```
/// let line = r#"{"chosen": "\n\nHuman: Hi\n\nAssistant: Hello!", "rejected": "\n\nHuman: Hi\n\nAssistant: What?"}"#;
/// let p: dataset::Preference = serde_json::from_str(line)?;
/// assert_eq!(p.prompt, [dataset::Message::user("Hi")]);
/// assert_eq!(p.chosen, [dataset::Message::assistant("Hello!")]);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preference {
    /// The name of the record; empty if the file has none. Numbers become text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The turns before the answers.
    pub prompt: Vec<Message>,
    /// The better answer.
    pub chosen: Vec<Message>,
    /// The worse answer.
    pub rejected: Vec<Message>,
    /// The chosen answer after improvement by a person: edited > chosen > rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited: Option<Vec<Message>>,
    /// How clearly chosen is better than rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<Strength>,
    /// Every other field.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Preference {
    /// The tool descriptions for the chat template, from the field `tools`: a list, or a string holding one as JSON.
    ///
    /// # Errors
    /// [`Invalid`] when the field is something else.
    pub fn tools(&self) -> Result<Vec<Value>, Invalid> {
        tools(&self.extra)
    }
}

impl TryFrom<Value> for Preference {
    type Error = Invalid;

    fn try_from(value: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::new(value)?;
        let mut take = |name: &str| fields.take(name);
        let prompt = take("prompt").or_else(|| take("conversations"));
        let chosen = take("chosen").ok_or_else(|| missing("chosen", "the better answer"))?;
        let rejected = take("rejected").ok_or_else(|| missing("rejected", "the worse answer"))?;
        let edited = take("edited");
        let implicit = prompt.is_none();
        let unread = if implicit { columns::prompt_like(&fields.0, &[]) } else { Vec::new() };
        let no_prompt = || {
            let there = unread.join(", ");
            // The column with the prompt is not the one of the system turn.
            let first = unread.iter().find(|name| !name.to_lowercase().contains("system")).unwrap_or(&unread[0]);
            Invalid(format!(
                "prompt: is missing, but the record has {there}; rename the one with the prompt (a column system \
                 is read as the system turn), as in jq -c '.prompt = .{first} | del(.{first})'"
            ))
        };
        let (mut prompt, mut chosen, mut rejected) = match (prompt, chosen, rejected) {
            (None, Value::String(chosen), Value::String(rejected)) if as_turns(&chosen).is_none() => {
                // A prompt extracted from the answers is a guess; it is not used if a column may hold the real one.
                let transcripts = hh_turns(&chosen).is_some() && hh_turns(&rejected).is_some();
                if !unread.is_empty() && !transcripts {
                    return Err(no_prompt());
                }
                split_strings(&chosen, &rejected)?
            }
            (prompt, chosen, rejected) => (
                prompt.map_or(Ok(Vec::new()), |p| messages("prompt", p, Role::User))?,
                messages("chosen", chosen, Role::Assistant)?,
                messages("rejected", rejected, Role::Assistant)?,
            ),
        };
        let mut edited = edited.map(|e| messages("edited", e, Role::Assistant)).transpose()?;
        if implicit && prompt.is_empty() {
            prompt = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).map(|(a, _)| a.clone()).collect();
            if !unread.is_empty() && !prompt.iter().any(|turn| turn.role == Role::User) {
                return Err(no_prompt());
            }
            if prompt.is_empty() {
                return Err(Invalid(
                    "prompt: is missing, and chosen and rejected do not begin with the same turns".into(),
                ));
            }
        }
        if !prompt.is_empty() && chosen.starts_with(&prompt) && rejected.starts_with(&prompt) {
            chosen.drain(..prompt.len());
            rejected.drain(..prompt.len());
        }
        // The prompt is one text, and the answers repeat it after a system turn: the longer form is the prompt.
        let shared = chosen.iter().zip(&rejected).take_while(|(a, b)| a == b).count();
        let repeated = &chosen[..shared];
        if !prompt.is_empty()
            && shared > prompt.len()
            && repeated.ends_with(&prompt)
            && repeated[0].role == Role::System
        {
            prompt = repeated.to_vec();
            chosen.drain(..shared);
            rejected.drain(..shared);
        }
        if let Some(edited) = edited.as_mut().filter(|e| !prompt.is_empty() && e.starts_with(&prompt)) {
            edited.drain(..prompt.len());
        }
        let strength = match fields.take("strength") {
            None => None,
            Some(Value::String(level)) => Some(Strength::Level(level)),
            Some(Value::Number(n)) => n.as_f64().map(Strength::Score),
            Some(other) => {
                return Err(Invalid(format!("strength: must be a string or a number, not {}", kind(&other))));
            }
        };
        images::gather(&mut fields, &mut prompt)?;
        columns::system_turn(&mut fields, &mut prompt)?;
        Ok(Self { id: fields.id()?, prompt, chosen, rejected, edited, strength, extra: fields.0 })
    }
}
deserialize_from_value!(Preference);

type Split = (Vec<Message>, Vec<Message>, Vec<Message>);

/// Splits two strings that both contain the prompt.
fn split_strings(chosen: &str, rejected: &str) -> Result<Split, Invalid> {
    if let (Some(chosen), Some(rejected)) = (hh_turns(chosen), hh_turns(rejected)) {
        return Ok((Vec::new(), chosen, rejected));
    }
    let mut shared = chosen.bytes().zip(rejected.bytes()).take_while(|(a, b)| a == b).count();
    while !chosen.is_char_boundary(shared) || !rejected.is_char_boundary(shared) {
        shared -= 1;
    }
    // As in TRL's `extract_prompt`, a space before the difference belongs to the answers.
    if shared > 0 && chosen.as_bytes()[shared - 1] == b' ' {
        shared -= 1;
    }
    if shared == 0 {
        return Err(Invalid("prompt: is missing, and chosen and rejected do not begin with the same text".into()));
    }
    let answer = |text: &str| vec![Message::assistant(&text[shared..])];
    Ok((vec![Message::user(&chosen[..shared])], answer(chosen), answer(rejected)))
}

/// The turns of an hh-rlhf transcript, or `None` for another kind of text.
fn hh_turns(text: &str) -> Option<Vec<Message>> {
    const HUMAN: &str = "\n\nHuman:";
    const ASSISTANT: &str = "\n\nAssistant:";
    let mut rest = text;
    let mut turns = Vec::new();
    if !rest.starts_with(HUMAN) {
        return None;
    }
    while !rest.is_empty() {
        let (role, body) = match (rest.strip_prefix(HUMAN), rest.strip_prefix(ASSISTANT)) {
            (Some(body), _) => (Role::User, body),
            (_, Some(body)) => (Role::Assistant, body),
            _ => return None,
        };
        let end = [HUMAN, ASSISTANT].iter().filter_map(|mark| body.find(mark)).min().unwrap_or(body.len());
        turns.push(Message::new(role, body[..end].trim()));
        rest = &body[end..];
    }
    Some(turns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Preference, String> {
        Preference::try_from(value).map_err(|e| e.0)
    }

    fn same(p: &Preference, prompt: &[Message], chosen: &str, rejected: &str) {
        assert_eq!(p.prompt, prompt);
        assert_eq!(p.chosen, [Message::assistant(chosen)]);
        assert_eq!(p.rejected, [Message::assistant(rejected)]);
    }

    #[test]
    fn every_form_reads_the_same() {
        let q = json!({"role": "user", "content": "q"});
        let a = json!({"role": "assistant", "content": "a"});
        let b = json!({"role": "assistant", "content": "b"});
        for value in [
            json!({"prompt": "q", "chosen": "a", "rejected": "b"}),
            json!({"prompt": [q], "chosen": [a], "rejected": [b]}),
            json!({"prompt": "q", "chosen": a, "rejected": b}),
            json!({"prompt": "q", "chosen": [q, a], "rejected": [q, b]}),
            json!({"chosen": [q, a], "rejected": [q, b]}),
            json!({"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}),
            json!({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}),
            json!({"question": "not read", "chosen": [q, a], "rejected": [q, b]}),
        ] {
            same(&read(value).unwrap(), &[Message::user("q")], "a", "b");
        }
    }

    #[test]
    fn a_system_turn_in_the_answers_belongs_to_the_prompt() {
        let s = json!({"role": "system", "content": "s"});
        let turn = |role: &str, content: &str| json!({"role": role, "content": content});
        let (q, a, b) = (turn("user", "q"), turn("assistant", "a"), turn("assistant", "b"));
        let p = read(json!({"prompt": "q", "chosen": [s, q, a], "rejected": [s, q, b]})).unwrap();
        same(&p, &[Message::system("s"), Message::user("q")], "a", "b");
        // JSON stored as text.
        let text = |list: Value| list.to_string();
        let p = read(json!({"chosen": text(json!([q, a])), "rejected": text(json!([q, b]))})).unwrap();
        same(&p, &[Message::user("q")], "a", "b");
    }

    #[test]
    fn edited_and_strength() {
        let p =
            read(json!({"prompt": "q", "chosen": "a", "rejected": "b", "edited": "c", "strength": "better", "n": 1}))
                .unwrap();
        assert_eq!(p.edited, Some(vec![Message::assistant("c")]));
        assert_eq!(p.strength, Some(Strength::Level("better".into())));
        assert!(p.tools().unwrap().is_empty());
        let again: Preference = serde_json::from_str(&serde_json::to_string(&p).unwrap()).unwrap();
        assert_eq!(p, again);
    }

    #[test]
    fn implicit_strings_cut_at_a_character_and_before_the_space() {
        // TRL's documentation of extract_prompt: "The sky is" + " blue." / " green."
        let p = read(json!({"chosen": "The sky is blue.", "rejected": "The sky is green."})).unwrap();
        same(&p, &[Message::user("The sky is")], " blue.", " green.");
        // é and è share their first byte.
        let p = read(json!({"chosen": "oné", "rejected": "onè"})).unwrap();
        same(&p, &[Message::user("on")], "é", "è");
    }

    #[test]
    fn mistakes() {
        for (value, sentence) in [
            (json!({"prompt": "q", "rejected": "b"}), "chosen: is missing"),
            (json!({"prompt": "q", "chosen": "b"}), "rejected: is missing"),
            (json!({"chosen": "a", "rejected": "b"}), "prompt: is missing"),
            (
                json!({"system": "s", "question": "q", "chosen": "The answer is 2.", "rejected": "The answer is 3."}),
                "prompt: is missing, but the record has system, question; rename",
            ),
            (
                json!({"instruction": "q", "chosen": [{"role": "assistant", "content": "a"}], "rejected": [{"role": "assistant", "content": "b"}]}),
                "prompt: is missing, but the record has instruction; rename",
            ),
            (
                json!({"input": "q", "chosen": "Same 2", "rejected": "Same 3"}),
                "prompt: is missing, but the record has input",
            ),
            (
                json!({"prompt": "q", "chosen": "a", "rejected": [{"role": "x"}]}),
                "rejected[0].role: \"x\" is not known",
            ),
            (json!({"prompt": "q", "chosen": "a", "rejected": "b", "strength": []}), "strength: must be"),
        ] {
            let e = read(value).unwrap_err();
            assert!(e.starts_with(sentence), "{e}");
        }
    }
}
