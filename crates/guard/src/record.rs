//! Conversations to judge, and labelled records.

use std::path::{Path, PathBuf};

use dataset::jsonl::{self, OnBadLine};
use dataset::{Message, Place, Role};
use safety_text::policy::{Applies, Policy};
use serde_json::Value;

use crate::clean::clean;

/// A turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The author: [`Applies::Prompt`] for a client, [`Applies::Response`] for a model.
    pub side: Applies,
    /// Its text, cleaned ([`clean()`]).
    pub text: String,
}

/// A conversation whose last turn is judged. Adjacent turns of one side are merged, so that a request in two messages is judged as a
/// whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    turns: Vec<Turn>,
    removed: usize,
}

impl Asked {
    /// A user's text without a conversation before it.
    #[must_use]
    pub fn prompt(text: &str) -> Self {
        let mut asked = Self { turns: Vec::new(), removed: 0 };
        asked.push(Applies::Prompt, text);
        asked
    }

    /// Adds a turn; the last one is judged.
    pub fn push(&mut self, side: Applies, text: &str) {
        let (text, removed) = clean(text);
        self.removed += removed;
        match self.turns.last_mut() {
            Some(last) if last.side == side => {
                last.text.push_str("\n\n");
                last.text.push_str(&text);
            }
            _ => self.turns.push(Turn { side, text: text.into_owned() }),
        }
    }

    /// The same conversation with a model's answer, which is judged. An unfinished answer at its end is continued.
    #[must_use]
    pub fn answered(&self, answer: &str) -> Self {
        let mut asked = self.clone();
        let (text, removed) = clean(answer);
        asked.removed += removed;
        match asked.turns.last_mut() {
            Some(last) if last.side == Applies::Response => last.text.push_str(&text),
            _ => asked.turns.push(Turn { side: Applies::Response, text: text.into_owned() }),
        }
        asked
    }

    /// The conversation before its last answer; `None` if it does not end with an answer.
    #[must_use]
    pub fn before_answer(&self) -> Option<Self> {
        let before = match self.turns.split_last() {
            Some((last, before)) if last.side == Applies::Response && !before.is_empty() => before.to_vec(),
            _ => return None,
        };
        Some(Self { turns: before, removed: self.removed })
    }

    /// The same conversation with another last turn of the same side.
    #[must_use]
    pub fn with_last(&self, text: &str) -> Self {
        let mut asked = self.clone();
        let (text, removed) = clean(text);
        asked.removed = removed;
        if let Some(last) = asked.turns.last_mut() {
            last.text = text.into_owned();
        }
        asked
    }

    /// Makes a conversation from messages. All turns except the assistant's count as the client's, because system messages and tool
    /// results can also contain a request. Tool calls are judged as text.
    ///
    /// # Errors
    /// When there are no messages, or when a part of a content is not a text.
    pub fn from_messages(messages: &[Message]) -> Result<Self, String> {
        let mut asked = Self { turns: Vec::new(), removed: 0 };
        for (at, message) in messages.iter().enumerate() {
            if let Some((part, kind)) = message.content.as_ref().and_then(dataset::Content::first_other) {
                return Err(format!("messages[{at}].content[{part}]: a guard cannot judge a part of type {kind:?}"));
            }
            let side = if message.role == Role::Assistant { Applies::Response } else { Applies::Prompt };
            let calls = message.tool_calls.iter().map(Value::to_string);
            let text: Vec<String> =
                std::iter::once(message.text().to_owned()).filter(|text| !text.is_empty()).chain(calls).collect();
            asked.push(side, &text.join("\n"));
        }
        if asked.turns.is_empty() { Err("messages: there is none to judge".into()) } else { Ok(asked) }
    }

    /// The turns, the judged one last.
    #[must_use]
    pub fn turns(&self) -> &[Turn] {
        &self.turns
    }

    /// The side whose text is judged.
    #[must_use]
    pub fn side(&self) -> Applies {
        self.turns.last().map_or(Applies::Prompt, |turn| turn.side)
    }

    /// The judged text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.turns.last().map_or("", |turn| &turn.text)
    }

    /// Number of invisible characters that were removed.
    #[must_use]
    pub fn removed(&self) -> usize {
        self.removed
    }

    /// Whether the judged text is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text().trim().is_empty()
    }
}

/// A labelled record: `{"id", "messages", "label": "safe"|"unsafe", "categories"?, "judge"?, "language"?, "source", "group"?}`.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The record's id; its place if it has none.
    pub id: String,
    /// The conversation to judge.
    pub asked: Asked,
    /// Whether it is unsafe.
    pub is_unsafe: bool,
    /// Ids of the violated categories; empty if they are not known.
    pub categories: Vec<String>,
    /// The language code, if known.
    pub language: Option<String>,
    /// The set of the record.
    pub source: String,
    /// A key that keeps records on the same side of a split.
    pub group: Option<String>,
    /// The place of the record: file and line.
    pub place: (PathBuf, u64),
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: Option<String>,
    messages: Vec<Message>,
    label: String,
    #[serde(default)]
    categories: Vec<String>,
    judge: Option<Applies>,
    #[serde(rename = "refusal")]
    _refusal: Option<bool>,
    language: Option<String>,
    source: String,
    group: Option<String>,
    #[serde(rename = "meta")]
    _meta: Option<Value>,
}

/// Reads labelled records.
///
/// # Errors
/// `file:line` and the fault: a label that is neither `safe` nor `unsafe`, an unknown category (with the nearest known one), a category
/// of a safe record, or a `judge` that is not the side of the last message.
pub fn read(paths: &[PathBuf], policy: &Policy) -> anyhow::Result<Vec<Labelled>> {
    let mut all = Vec::new();
    for path in paths {
        let mut reader = jsonl::read::<Value>(path, OnBadLine::Error)?;
        while let Some(record) = reader.next() {
            let record = record?;
            let place = reader.place();
            all.push(labelled(record, &place, policy).map_err(|what| anyhow::anyhow!("{place}: {what}"))?);
        }
    }
    anyhow::ensure!(!all.is_empty(), "{} has no records", names(paths));
    Ok(all)
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Parses one labelled record.
///
/// # Errors
/// The fault of the record.
pub fn labelled(record: Value, place: &Place, policy: &Policy) -> Result<Labelled, String> {
    let line: Line = serde_json::from_value(record).map_err(|error| without_values(&error.to_string()))?;
    let is_unsafe = match line.label.as_str() {
        "safe" => false,
        "unsafe" => true,
        _ => return Err("label is neither \"safe\" nor \"unsafe\"".into()),
    };
    let asked = Asked::from_messages(&line.messages)?;
    if line.judge.is_some_and(|judge| judge != asked.side()) {
        return Err(
            "judge is not the side of the last message: prompt for a user's, response for an assistant's".into()
        );
    }
    let mut categories = Vec::new();
    for id in &line.categories {
        categories.push(policy.category(id).map_err(|error| format!("categories: {error}"))?.id.clone());
    }
    if !is_unsafe && !categories.is_empty() {
        return Err("a safe record has categories; leave them out, or make its label \"unsafe\"".into());
    }
    Ok(Labelled {
        id: line.id.unwrap_or_else(|| place.to_string()),
        asked,
        is_unsafe,
        categories,
        language: line.language,
        source: line.source,
        group: line.group,
        place: (place.path.clone(), place.number),
    })
}

/// Removes quoted values from a message of serde, because they may be harmful texts.
pub(crate) fn without_values(message: &str) -> String {
    let quoted = message.find("string \"").zip(message.rfind('"'));
    match quoted.filter(|(start, end)| start + 8 < *end) {
        Some((start, end)) => format!("{}string{}", &message[..start], &message[end + 1..]),
        None => message.to_owned(),
    }
}

/// Writes a file completely or not at all, readable only by its owner, because it may contain harmful texts.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;

    use anyhow::Context as _;
    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    // Temporary files are created with mode 0600, and keep it after renaming.
    let mut file =
        tempfile::Builder::new().prefix(".guard.").suffix(".tmp").tempfile_in(folder).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(record: Value) -> Result<Labelled, String> {
        let place = Place { path: "x.jsonl".into(), number: 3, is_row: false };
        labelled(record, &place, &Policy::builtin("herd-14").unwrap())
    }

    #[test]
    fn messages_become_turns() {
        let messages = [
            Message::system("s"),
            Message::user("a\u{200B}"),
            Message::assistant("b"),
            Message::new(Role::Tool, "t"),
            Message::user("c"),
        ];
        let asked = Asked::from_messages(&messages).unwrap();
        let turns: Vec<(&str, Applies)> = asked.turns().iter().map(|turn| (turn.text.as_str(), turn.side)).collect();
        assert_eq!(turns, [("s\n\na", Applies::Prompt), ("b", Applies::Response), ("t\n\nc", Applies::Prompt)]);
        assert_eq!((asked.side(), asked.removed()), (Applies::Prompt, 1));
        let answered = asked.answered("d").answered("e");
        assert_eq!((answered.text(), answered.side()), ("de", Applies::Response));
        assert!(Asked::from_messages(&[]).is_err() && Asked::prompt(" \u{FEFF}\n").is_empty());
        let call = json!({"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]});
        let asked = Asked::from_messages(&[Message::try_from(call).unwrap()]).unwrap();
        assert!(asked.text().contains("\"name\":\"f\""), "{}", asked.text());
        let image = json!({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]});
        let error = Asked::from_messages(&[Message::try_from(image).unwrap()]).unwrap_err();
        assert_eq!(error, "messages[0].content[0]: a guard cannot judge a part of type \"image_url\"");
    }

    #[test]
    fn bad_records_are_named() {
        let good = json!({"id": "a", "messages": [{"role": "user", "content": "x"}], "label": "unsafe", "source": "s",
            "categories": ["S1", "hate"]});
        let record = one(good.clone()).unwrap();
        assert!(record.is_unsafe && record.categories == ["S1", "S10"] && record.place.1 == 3);
        for (key, value, what) in [
            ("label", json!("bad"), "label is neither \"safe\" nor \"unsafe\""),
            ("categories", json!(["S41"]), "categories: \"S41\" is no category of the policy herd-14; did you mean S4"),
            ("label", json!("safe"), "a safe record has categories"),
            ("judge", json!("response"), "judge is not the side of the last message"),
            ("messages", json!([]), "messages: there is none to judge"),
            ("labels", json!("x"), "unknown field `labels`"),
            ("messages", json!("a \"secret\" text"), "invalid type: string, expected a sequence"),
            ("categories", json!(["secret"]), "categories: \"secret\" is no category"),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            let error = one(bad).unwrap_err();
            assert!(error.starts_with(what), "{error}");
        }
    }

    #[test]
    fn a_private_file_is_for_its_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items.jsonl");
        write_private(&path, b"x").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
