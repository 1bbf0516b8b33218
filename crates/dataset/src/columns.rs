//! Records whose conversation is spread over columns: Alpaca's `instruction`, `input`, `output`, a `system` column
//! beside the turns, a prompt under another name. No part of the prompt is dropped silently: it is read, or the
//! record is refused with the names of the columns.

use serde_json::{Map, Value};

use crate::error::Invalid;
use crate::fields::{Checked, Fields, kind};
use crate::message::{Message, Role};

/// Columns that hold a system turn for the record.
const SYSTEM: [&str; 3] = ["system", "system_prompt", "system_message"];
/// Columns that hold the input of an instruction: the text that the instruction is about.
const INPUT: [&str; 2] = ["input", "context"];
/// Names of answer columns beside `instruction`.
const OUTPUT: [&str; 3] = ["output", "response", "completion"];
/// Parts of a column name which show that the column holds (a part of) a prompt.
const PROMPT_LIKE: [&str; 22] = [
    "prompt",
    "question",
    "query",
    "instruct",
    "input",
    "context",
    "system",
    "problem",
    "human",
    "history",
    "conversation",
    "message",
    "task",
    "passage",
    "document",
    "article",
    "dialog",
    "request",
    "user",
    "post",
    "story",
    "text",
];
/// Endings of column names which show that the column describes a prompt but does not hold one.
const ABOUT: [&str; 12] =
    ["id", "ids", "type", "source", "name", "category", "hash", "url", "language", "lang", "model", "tokens"];

/// Adds the record's system turn, from its own column, before `messages`. If `messages` already start with a system
/// turn, both must be equal.
pub(crate) fn system_turn(fields: &mut Fields, messages: &mut Vec<Message>) -> Checked<()> {
    for name in SYSTEM {
        let text = match fields.0.get(name) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(other) => return Err(Invalid(format!("{name}: must be a string, not {}", kind(other)))),
        };
        fields.0.shift_remove(name);
        if text.trim().is_empty() {
            continue;
        }
        match messages.first() {
            Some(first) if first.role == Role::System && first.text().trim() == text.trim() => {}
            Some(first) if first.role == Role::System => {
                return Err(Invalid(format!("{name}: differs from the system turn in messages; keep one of them")));
            }
            _ => messages.insert(0, Message::system(text)),
        }
    }
    Ok(())
}

/// Alpaca's form: `instruction` with an optional `input` (Dolly: `context`), `history` (LLaMA-Factory: pairs of
/// question and answer), and `output` (Dolly: `response`). `None` if the record has no `instruction` with an answer.
///
/// The input follows the instruction, as in LLaMA-Factory.
pub(crate) fn alpaca(fields: &mut Fields) -> Checked<Option<Vec<Message>>> {
    let there = |name: &&str| fields.0.get(*name).is_some_and(|value| !value.is_null());
    let Some(output) = OUTPUT.into_iter().find(there).filter(|_| there(&"instruction")) else { return Ok(None) };
    let mut messages = history(fields)?;
    let prompt = instruction(fields, "instruction")?;
    let answer = fields.string(output)?;
    messages.extend([Message::user(prompt), Message::assistant(answer)]);
    Ok(Some(messages))
}

/// Takes the prompt column, joined with the input of an instruction.
fn instruction(fields: &mut Fields, column: &str) -> Checked<String> {
    let mut prompt = fields.string(column)?;
    for name in INPUT {
        if let Some(text) = fields.optional_string(name)?.filter(|text| !text.trim().is_empty()) {
            if !prompt.is_empty() {
                prompt.push('\n');
            }
            prompt.push_str(&text);
        }
    }
    Ok(prompt)
}

/// LLaMA-Factory's `history`: a list of `[question, answer]`.
fn history(fields: &mut Fields) -> Checked<Vec<Message>> {
    let pairs = match fields.take("history") {
        None => return Ok(Vec::new()),
        Some(Value::Array(pairs)) => pairs,
        Some(other) => {
            return Err(Invalid(format!("history: must be a list of [question, answer], not {}", kind(&other))));
        }
    };
    let mut messages = Vec::new();
    for (i, pair) in pairs.iter().enumerate() {
        match pair.as_array().map(Vec::as_slice) {
            Some([Value::String(question), Value::String(answer)]) => {
                messages.extend([Message::user(question.clone()), Message::assistant(answer.clone())]);
            }
            _ => return Err(Invalid(format!("history[{i}]: must be [question, answer], two strings"))),
        }
    }
    Ok(messages)
}

/// Converts named columns into `messages`: `prompt` and `answer` are columns of strings or of message lists. If
/// `prompt` is `instruction`, its `input` or `context` is joined. Another column whose name suggests a part of the
/// prompt is an error, since leaving it out would train on half a question.
pub(crate) fn named(mut fields: Fields, prompt: &str, answer: &str) -> Checked<Fields> {
    for name in [prompt, answer] {
        if fields.0.get(name).is_none_or(Value::is_null) {
            return Err(Invalid(format!("{name}: is missing; the record has {}", names(&fields.0))));
        }
    }
    let value = match (prompt, &fields.0[prompt]) {
        ("instruction", Value::String(_)) => {
            let before = history(&mut fields)?;
            let text = instruction(&mut fields, prompt)?;
            if before.is_empty() {
                Value::String(text)
            } else {
                let turns: Vec<Message> = before.into_iter().chain([Message::user(text)]).collect();
                serde_json::to_value(turns).map_err(|e| Invalid(e.to_string()))?
            }
        }
        _ => fields.take(prompt).unwrap_or_default(),
    };
    let completion = fields.take(answer).unwrap_or_default();
    let unread =
        prompt_like(&fields.0, &["history", "input", "context", "instruction", "question", "query", "passage"]);
    if !unread.is_empty() {
        return Err(Invalid(format!(
            "{}: holds text that neither {prompt} nor {answer} has; join it to the prompt, or remove the column",
            unread.join(", ")
        )));
    }
    // Columns with the usual names that are not used.
    for name in ["messages", "conversations", "prompt", "completion"] {
        if let Some(other) = fields.take(name) {
            fields.0.insert(format!("{name} (not read)"), other);
        }
    }
    fields.0.insert("prompt".into(), value);
    fields.0.insert("completion".into(), completion);
    Ok(fields)
}

/// Columns with text (or a list) whose names suggest a part of a prompt; all of them, or only those `among` a few.
pub(crate) fn prompt_like(fields: &Map<String, Value>, among: &[&str]) -> Vec<String> {
    let says = |name: &str| {
        let name = name.to_lowercase();
        let last = name.rsplit(['_', '-', ' ']).next().unwrap_or_default();
        if !among.is_empty() {
            return among.contains(&&*name);
        }
        PROMPT_LIKE.iter().any(|part| name.contains(part)) && !ABOUT.contains(&last)
    };
    let full = |value: &Value| match value {
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    fields.iter().filter(|(name, value)| says(name) && full(value)).map(|(name, _)| name.clone()).collect()
}

/// The message for a record without a conversation: what to do with its columns.
pub(crate) fn no_messages(fields: &Map<String, Value>) -> Invalid {
    let turns = fields.iter().find(|(_, value)| {
        let first = value.as_array().and_then(|items| items.first());
        first.is_some_and(|item| item.get("role").is_some() || item.get("from").is_some())
    });
    let base = "messages: is missing (it must be a list of {\"role\", \"content\"} objects)";
    Invalid(match turns {
        Some((name, _)) => format!("{base}; {name} holds turns: rename it to messages"),
        None if fields.is_empty() => base.to_owned(),
        None => format!(
            "{base}; the record has {}: where two of them are prompt and answer, name them with --prompt-column and \
             --answer-column",
            names(fields)
        ),
    })
}

fn names(fields: &Map<String, Value>) -> String {
    fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conversation, Preference};
    use serde_json::json;

    fn read(value: Value) -> Result<Vec<Message>, String> {
        Conversation::try_from(value).map(|c| c.messages).map_err(|e| e.0)
    }

    fn by_columns(value: Value, prompt: &str, answer: &str) -> Result<Conversation, String> {
        Conversation::from_columns(value, prompt, answer).map_err(|e| e.0)
    }

    #[test]
    fn a_system_column_is_the_system_turn() {
        let (s, u, a) = (Message::system("s"), Message::user("u"), Message::assistant("a"));
        let turns = json!([{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]);
        for name in SYSTEM {
            let expected = [s.clone(), u.clone(), a.clone()];
            assert_eq!(read(json!({"conversations": turns, name: "s"})).unwrap(), expected);
            assert_eq!(read(json!({"prompt": "u", "completion": "a", name: "s"})).unwrap(), expected);
            assert_eq!(read(json!({"instruction": "u", "output": "a", name: "s"})).unwrap(), expected);
        }
        assert_eq!(read(json!({"conversations": turns, "system": " "})).unwrap(), [u.clone(), a.clone()]);
        assert_eq!(read(json!({"conversations": turns, "system": null})).unwrap(), [u, a]);
        let with = json!([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]);
        assert_eq!(read(json!({"messages": with, "system": "s"})).unwrap().len(), 2);
        assert!(read(json!({"messages": with, "system": "t"})).unwrap_err().starts_with("system: differs"));
        assert!(read(json!({"messages": with, "system": 5})).unwrap_err().starts_with("system: must be a string"));
        let pair = json!({"system": "s", "prompt": "u", "chosen": "a", "rejected": "b"});
        assert_eq!(Preference::try_from(pair).unwrap().prompt, [s, Message::user("u")]);
    }

    #[test]
    fn alpacas_input_joins_the_instruction() {
        let expected = [Message::user("Sort.\nb, a"), Message::assistant("a, b")];
        for value in [
            json!({"instruction": "Sort.", "input": "b, a", "output": "a, b"}),
            json!({"instruction": "Sort.", "context": "b, a", "response": "a, b", "category": "x"}),
        ] {
            let answer = if value.get("output").is_some() { "output" } else { "response" };
            assert_eq!(read(value.clone()).unwrap(), expected);
            assert_eq!(by_columns(value, "instruction", answer).unwrap().messages, expected);
        }
        let value = json!({"instruction": "Sort.", "input": "", "output": "a", "history": [["q", "r"]]});
        let expected = ["q", "r", "Sort.", "a"];
        let texts = |messages: &[Message]| messages.iter().map(|m| m.text().to_owned()).collect::<Vec<_>>();
        assert_eq!(texts(&read(value.clone()).unwrap()), expected);
        assert_eq!(texts(&by_columns(value, "instruction", "output").unwrap().messages), expected);
    }

    #[test]
    fn columns_that_are_left_out_are_named() {
        let value = json!({"question": "q", "context": "c", "answer": "a", "url": "u"});
        let error = by_columns(value, "question", "answer").unwrap_err();
        assert_eq!(
            error,
            "context: holds text that neither question nor answer has; join it to the prompt, or remove the column"
        );
        let value = json!({"id": 4, "question": "q", "answer": "a", "level": "hard", "weight": 0.5, "n": 3});
        let c = by_columns(value, "question", "answer").unwrap();
        assert_eq!((c.id.as_str(), c.weight), ("4", Some(0.5)));
        assert_eq!(c.unread_text().collect::<Vec<_>>(), ["level"]);
        let error = read(json!({"query": "a", "response": "b"})).unwrap_err();
        assert!(error.contains("the record has query, response") && error.contains("--prompt-column"), "{error}");
        let error = read(json!({"items": [{"from": "human", "value": "a"}]})).unwrap_err();
        assert!(error.ends_with("items holds turns: rename it to messages"), "{error}");
        // The named columns take precedence over columns with the usual names.
        let c = by_columns(json!({"prompt": "x", "q": "q", "completion": "y", "a": "a"}), "q", "a").unwrap();
        assert_eq!(c.messages, [Message::user("q"), Message::assistant("a")]);
    }

    #[test]
    fn which_names_read_like_a_prompt() {
        let fields = json!({"question": "q", "prompt_id": "x", "Instruction": "i", "score": 1, "input": "", "source": "s",
            "chat_history": ["a"], "question_type": "t"});
        assert_eq!(prompt_like(fields.as_object().unwrap(), &[]), ["question", "Instruction", "chat_history"]);
    }
}
