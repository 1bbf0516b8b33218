//! JSON lines and Parquet: one document per record. The fields of published corpora are read: `text` or `content`,
//! `url`, `date` or `timestamp`, an object `meta` or `metadata`. All other fields of a record go into `meta`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use dataset::jsonl::{self, OnBadLine, Reader};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Event, Events, Item};
use crate::document::Document;

pub(super) fn open(path: &Path, source: &str, rejected: PathBuf) -> anyhow::Result<Events> {
    let reader = match jsonl::read::<Record>(path, OnBadLine::SetAside(rejected.clone())) {
        Ok(reader) => reader,
        // An empty or truncated Parquet file: the run continues with the next file.
        Err(error @ dataset::Error::File { .. }) => {
            return Ok(Box::new(std::iter::once(Event::Problem(error.to_string()))));
        }
        Err(error) => return Err(error.into()),
    };
    let source = source.to_owned();
    Ok(Box::new(Records { reader, source, rejected, told: 0, bad: 0, waiting: VecDeque::new(), ended: false }))
}

struct Records {
    reader: Reader<Record>,
    source: String,
    rejected: PathBuf,
    /// Bytes of the file of rejected lines that were reported.
    told: u64,
    /// Number of rejected lines that were reported.
    bad: u64,
    /// Events that come before the reader's next record.
    waiting: VecDeque<Event>,
    ended: bool,
}

/// A record as in the file, checked.
struct Record(Document);

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        document(Map::deserialize(deserializer)?).map(Self).map_err(serde::de::Error::custom)
    }
}

fn document(mut fields: Map<String, Value>) -> Result<Document, String> {
    let mut meta = match fields.shift_remove("meta").or_else(|| fields.shift_remove("metadata")) {
        Some(Value::Object(meta)) => meta,
        Some(Value::Null) | None => Map::new(),
        Some(other) => Map::from_iter([("meta".to_owned(), other)]),
    };
    let text = match fields.shift_remove("text").or_else(|| fields.shift_remove("content")) {
        Some(Value::String(text)) => text,
        Some(_) => return Err("text: must be a string".into()),
        None => {
            return Err(
                "text: is missing (a document is {\"id\", \"url\", \"date\", \"source\", \"text\", \"meta\"})".into()
            );
        }
    };
    let mut take = |names: &[&str]| {
        let holds = |fields: &Map<String, Value>, name: &str| fields.get(name).is_some_and(|value| !value.is_null());
        for name in names {
            let from = if holds(&fields, name) { &mut fields } else { &mut meta };
            match from.get(*name) {
                Some(Value::String(_)) => {
                    if let Some(Value::String(text)) = from.shift_remove(*name) {
                        return Some(text);
                    }
                }
                Some(Value::Number(_)) if *name == "id" => return from.shift_remove(*name).map(|n| n.to_string()),
                _ => {}
            }
        }
        None
    };
    let id = take(&["id"]);
    let (url, date) = (take(&["url"]), take(&["date", "timestamp", "crawl_date"]));
    let source = take(&["source"]);
    for (name, value) in fields {
        if !value.is_null() {
            meta.insert(name, value);
        }
    }
    let mut document = Document { id: String::new(), url, date, source: source.unwrap_or_default(), text, meta };
    document.id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| document.content_id());
    Ok(document)
}

impl Iterator for Records {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(event) = self.waiting.pop_front() {
            return Some(event);
        }
        if self.ended {
            return None;
        }
        let next = self.reader.next();
        self.ended = !matches!(next, Some(Ok(_)));
        if self.reader.bad() > self.bad {
            self.tell();
            self.bad = self.reader.bad();
        }
        match next {
            Some(Ok(Record(mut document))) => {
                if !document.source.is_empty() && document.source != self.source {
                    let inner = Value::String(std::mem::take(&mut document.source));
                    document.meta.entry("source").or_insert(inner);
                }
                document.source.clone_from(&self.source);
                self.waiting.push_back(Event::Document(Box::new(Item { document, page: None })));
            }
            Some(Err(error)) => self.waiting.push_back(Event::Problem(error.to_string())),
            None => {}
        }
        self.waiting.pop_front()
    }
}

impl Records {
    /// Reads the lines that were rejected since the last call.
    fn tell(&mut self) {
        let place = self.reader.place();
        let lines = (|| {
            let mut file = File::open(&self.rejected)?;
            file.seek(SeekFrom::Start(self.told))?;
            let mut text = Vec::new();
            self.told += file.read_to_end(&mut text)? as u64;
            io::Result::Ok(text)
        })();
        let text = lines.unwrap_or_default();
        let mut count = 0;
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let Ok(line) = serde_json::from_slice::<Value>(line) else { continue };
            let part = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            self.waiting.push_back(Event::Problem(format!("{}: {}", part("place"), part("reason"))));
            count += 1;
        }
        // If the file cannot be read back, the lines are still counted.
        for _ in count..self.reader.bad() - self.bad {
            self.waiting.push_back(Event::Problem(format!("{place}: a line before this one is not a document")));
        }
    }
}
