//! Parses tool calls in a model's text: `<tool_call>{"name", "arguments"}</tool_call>` of Hermes and Qwen, and an
//! answer that is JSON as a whole, as Llama 3 (`{"name", "parameters"}`, several in sequence or with `;`) and Mistral
//! (a list) write.

use serde_json::{Map, Value};

/// The form of a model's calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFormat {
    /// Between tags, anywhere in the answer.
    Tags,
    /// The answer is JSON; this is the name of the field with the arguments.
    Json(&'static str),
}

pub(crate) const OPEN: &str = "<tool_call>";
pub(crate) const CLOSE: &str = "</tool_call>";

/// A call of a function.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub name: String,
    /// A JSON object as text.
    pub arguments: String,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    Text(String),
    Call(Call),
}

/// Parses an answer piece by piece. Without a format, all of it is text.
pub(crate) struct CallReader {
    format: Option<CallFormat>,
    /// The functions that the model may call.
    names: Vec<String>,
    /// At most one call is read; the text after it is dropped.
    only_one: bool,
    /// Text that is not classified yet.
    held: String,
    inside: bool,
    /// White space before an opened tag: part of the text only if no call follows.
    space: String,
    /// Whether text other than white space was emitted.
    spoken: bool,
    calls: usize,
}

impl CallReader {
    pub fn new(format: Option<CallFormat>, names: Vec<String>, only_one: bool) -> Self {
        Self {
            format,
            names,
            only_one,
            held: String::new(),
            inside: false,
            space: String::new(),
            spoken: false,
            calls: 0,
        }
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.calls
    }

    /// Adds a piece of text and returns the parts that are now classified.
    pub fn push(&mut self, text: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        match self.format {
            None => parts.push(Part::Text(text.to_owned())),
            Some(CallFormat::Tags) => {
                self.held.push_str(text);
                self.read_tags(&mut parts);
            }
            Some(CallFormat::Json(_)) => {
                self.held.push_str(text);
                let start = self.held.trim_start();
                if self.spoken || !start.is_empty() && !start.starts_with(['{', '[']) {
                    let text = std::mem::take(&mut self.held);
                    self.say(&mut parts, text);
                }
            }
        }
        parts.retain(|part| *part != Part::Text(String::new()));
        parts
    }

    /// Ends the answer and returns the remaining parts.
    pub fn finish(&mut self) -> Vec<Part> {
        let mut parts = Vec::new();
        let rest = std::mem::take(&mut self.held);
        match self.format {
            Some(CallFormat::Tags) if self.inside => match self.parse(&rest) {
                // The closing tag may have been the stop text.
                Some(call) => self.call(&mut parts, call),
                None => self.say(&mut parts, format!("{}{OPEN}{rest}", self.space)),
            },
            Some(CallFormat::Json(_)) => match self.parse_all(&rest) {
                Some(calls) => calls.into_iter().for_each(|call| self.call(&mut parts, call)),
                None => self.say(&mut parts, rest),
            },
            // White space beside calls is not content.
            _ if self.calls > 0 && rest.trim().is_empty() => {}
            _ => parts.push(Part::Text(rest)),
        }
        parts.retain(|part| *part != Part::Text(String::new()));
        parts
    }

    fn read_tags(&mut self, parts: &mut Vec<Part>) {
        loop {
            let tag = if self.inside { CLOSE } else { OPEN };
            let Some(at) = self.held.find(tag) else { break };
            let before: String = self.held[..at].to_owned();
            self.held.drain(..at + tag.len());
            match self.inside {
                false => {
                    let (text, space) = before.split_at(before.trim_end().len());
                    self.space = space.to_owned();
                    self.say(parts, text.to_owned());
                }
                true => match self.parse(&before) {
                    Some(call) => self.call(parts, call),
                    None => self.say(parts, format!("{}{OPEN}{before}{CLOSE}", self.space)),
                },
            }
            self.inside = !self.inside;
        }
        if self.inside {
            return;
        }
        // The end may be the start of a tag; white space waits for the text after it.
        let start = (1..OPEN.len()).rev().find(|&length| self.held.ends_with(&OPEN[..length])).unwrap_or(0);
        let sure = self.held[..self.held.len() - start].trim_end().len();
        let text: String = self.held.drain(..sure).collect();
        self.say(parts, text);
    }

    /// Emits text, unless it is white space around calls.
    fn say(&mut self, parts: &mut Vec<Part>, text: String) {
        if text.trim().is_empty() && (self.calls > 0 || !self.spoken) && self.format == Some(CallFormat::Tags) {
            return;
        }
        if self.only_one && self.calls > 0 {
            return;
        }
        self.spoken |= !text.trim().is_empty();
        parts.push(Part::Text(text));
    }

    fn call(&mut self, parts: &mut Vec<Part>, call: Call) {
        if self.only_one && self.calls > 0 {
            return;
        }
        self.calls += 1;
        parts.push(Part::Call(call));
    }

    fn parse(&self, text: &str) -> Option<Call> {
        read_call(serde_json::from_str(text.trim()).ok()?)
    }

    /// Parses a whole text as calls of known functions.
    fn parse_all(&self, text: &str) -> Option<Vec<Call>> {
        let mut calls = Vec::new();
        let mut rest = text.trim_matches(|c: char| c.is_whitespace() || c == ';');
        while !rest.is_empty() {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            let value = values.next()?.ok()?;
            rest = rest[values.byte_offset()..].trim_start_matches(|c: char| c.is_whitespace() || c == ';');
            let list = if let Value::Array(list) = value { list } else { vec![value] };
            for value in list {
                let call = read_call(value)?;
                self.names.contains(&call.name).then(|| calls.push(call))?;
            }
        }
        (!calls.is_empty()).then_some(calls)
    }
}

/// `{"name": ..., "arguments" or "parameters": {...}}`.
fn read_call(value: Value) -> Option<Call> {
    let Value::Object(mut map) = value else { return None };
    let name = map.get("name")?.as_str()?.to_owned();
    let arguments = match map.remove("arguments").or_else(|| map.remove("parameters")) {
        None | Some(Value::Null) => "{}".to_owned(),
        Some(Value::Object(arguments)) => Value::Object(arguments).to_string(),
        // Some models write the object as a string.
        Some(Value::String(text)) => serde_json::from_str::<Map<String, Value>>(&text).ok().map(|_| text)?,
        Some(_) => return None,
    };
    Some(Call { name, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parses a text in pieces of every length; all results must agree.
    fn read(format: CallFormat, only_one: bool, text: &str) -> (String, Vec<Call>) {
        let mut found = None;
        for length in [1, 2, 3, 7, text.len().max(1)] {
            let mut reader = CallReader::new(Some(format), vec!["f".into(), "g".into()], only_one);
            let characters: Vec<char> = text.chars().collect();
            let mut parts: Vec<Part> =
                characters.chunks(length).flat_map(|piece| reader.push(&piece.iter().collect::<String>())).collect();
            parts.extend(reader.finish());
            let (mut said, mut calls) = (String::new(), Vec::new());
            for part in parts {
                match part {
                    Part::Text(text) => said.push_str(&text),
                    Part::Call(call) => calls.push(call),
                }
            }
            assert_eq!(reader.calls(), calls.len());
            let read = (said, calls);
            assert!(found.is_none() || found == Some(read.clone()), "{length}: {read:?} {found:?}");
            found = Some(read);
        }
        found.unwrap()
    }

    fn call(name: &str, arguments: &str) -> Call {
        Call { name: name.into(), arguments: arguments.into() }
    }

    #[test]
    fn calls_between_tags() {
        let tags = |text: &str| read(CallFormat::Tags, false, text);
        let one = "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>";
        assert_eq!(tags(one), (String::new(), vec![call("f", "{\"a\":1}")]));
        assert_eq!(tags(&format!("Let me see.\n{one}\n{one}\n")).1.len(), 2);
        assert_eq!(tags(&format!("Let me see.\n{one}")).0, "Let me see.");
        assert_eq!(tags("a < b <tool\n").0, "a < b <tool\n");
        assert_eq!(tags("<tool_call>no json</tool_call> x").0, "<tool_call>no json</tool_call> x");
        assert_eq!(tags("x\n <tool_call>no json</tool_call>").0, "x\n <tool_call>no json</tool_call>");
        assert_eq!(tags("x\n <tool_call>no js").0, "x\n <tool_call>no js");
        assert_eq!(tags("<tool_call>{\"name\": \"f\"}").1, [call("f", "{}")]);
        assert_eq!(tags("<tool_call>{\"name\": ").0, "<tool_call>{\"name\": ");
        assert_eq!(tags("ü <ü").0, "ü <ü");
        assert_eq!(
            read(CallFormat::Tags, true, &format!("{one}{one} then")),
            (String::new(), vec![call("f", "{\"a\":1}")])
        );
    }

    #[test]
    fn an_answer_that_is_json() {
        let json = |text: &str| read(CallFormat::Json("parameters"), false, text);
        assert_eq!(json("{\"name\": \"f\", \"parameters\": {}}"), (String::new(), vec![call("f", "{}")]));
        let two = "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": {\"x\": \"ü\"}}]";
        assert_eq!(json(two).1, [call("f", "{}"), call("g", "{\"x\":\"ü\"}")]);
        assert_eq!(json("{\"name\": \"f\"}; {\"name\": \"g\"}").1.len(), 2);
        // JSON that is not a call of a known function stays text.
        for text in ["{\"name\": \"h\"}", "{\"a\": 1}", "[1, 2]", "{broken", "plain {\"name\": \"f\"}"] {
            assert_eq!(json(text), (text.to_owned(), vec![]), "{text}");
        }
    }
}
