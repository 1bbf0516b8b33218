//! Reads texts from files, and counts the words in them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use dataset::jsonl::{self, OnBadLine};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::Deserialize;
use serde_json::Value;

use crate::split::words;

/// One record of a file of documents: `{"text": ...}` or a conversation `{"messages": [...]}`; other keys are ignored.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Fields")]
pub struct Document {
    /// The text; of a conversation, the texts of its turns, each on a line of its own.
    pub text: String,
}

#[derive(Deserialize)]
struct Fields {
    text: Option<String>,
    messages: Option<Value>,
}

#[derive(Deserialize)]
struct Turn {
    content: String,
}

impl TryFrom<Fields> for Document {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let messages = match fields {
            Fields { text: Some(text), .. } => return Ok(Self { text }),
            Fields { messages: Some(messages), .. } => messages,
            _ => return Err("text: is missing: a record needs a text, or messages".into()),
        };
        let turns: Vec<Turn> = serde_json::from_value(messages)
            .map_err(|error| format!("messages: must be a list of turns with a text as content: {error}"))?;
        Ok(Self { text: turns.into_iter().map(|turn| turn.content).collect::<Vec<_>>().join("\n") })
    }
}

/// Texts are counted and encoded in batches of about this many bytes.
const BATCH: usize = 8 << 20;

/// The texts of files: a `.txt` file is one text; every other file has records with `text`, or conversations (JSON
/// lines, gzip, zstd, Parquet, by name).
///
/// # Errors
/// Each item may be an error: a file that cannot be read, or a record without text (`file:line: what is wrong`).
pub fn texts(paths: &[PathBuf]) -> impl Iterator<Item = anyhow::Result<String>> + Send + use<> {
    let paths: Vec<PathBuf> = paths.into();
    paths.into_iter().flat_map(|path| -> Box<dyn Iterator<Item = anyhow::Result<String>> + Send> {
        if path.extension().is_some_and(|ending| ending == "txt") {
            return Box::new(std::iter::once(
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display())),
            ));
        }
        match records(&path) {
            Ok(records) => Box::new(records),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    })
}

fn records(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<String>> + Send + use<>> {
    let reader = jsonl::read::<Document>(path, OnBadLine::Error)?;
    Ok(reader.map(|record| Ok(record?.text)))
}

/// Groups texts into batches of about `bytes` bytes; an error ends the iteration.
pub(crate) fn batches<I: Iterator<Item = anyhow::Result<String>>>(
    texts: I,
    bytes: usize,
) -> impl Iterator<Item = anyhow::Result<Vec<String>>> {
    let mut texts = texts.fuse();
    let mut failed = None;
    std::iter::from_fn(move || {
        if let Some(error) = failed.take() {
            return Some(Err(error));
        }
        let (mut batch, mut size) = (Vec::new(), 0);
        while size < bytes {
            match texts.next() {
                None => break,
                Some(Ok(text)) => {
                    size += text.len();
                    batch.push(text);
                }
                Some(Err(error)) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        match batch.is_empty() {
            false => Some(Ok(batch)),
            true => failed.take().map(Err),
        }
    })
}

/// The words of a corpus with their counts, and the size of the corpus.
#[derive(Debug, Clone, Default)]
pub struct WordCounts {
    counts: FxHashMap<Box<str>, u64>,
    /// Number of texts.
    pub texts: u64,
    /// Total size of the texts in bytes.
    pub bytes: u64,
    /// Total number of words.
    pub words: u64,
}

impl WordCounts {
    /// Counts the words of texts, on all threads of the current pool. The result does not depend on the number of
    /// threads.
    ///
    /// # Errors
    /// The first error of the input texts.
    pub fn of(texts: impl Iterator<Item = anyhow::Result<String>>) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for batch in batches(texts, BATCH) {
            let batch = batch?;
            let parts: Vec<FxHashMap<&str, u64>> = batch
                .par_chunks(batch.len().div_ceil(rayon::current_num_threads() * 4).max(1))
                .map(|texts| {
                    let mut counts: FxHashMap<&str, u64> = FxHashMap::default();
                    texts.iter().flat_map(|text| words(text)).for_each(|word| *counts.entry(word).or_default() += 1);
                    counts
                })
                .collect();
            for part in parts {
                for (word, count) in part {
                    all.words += count;
                    all.add(word, count);
                }
            }
            all.texts += batch.len() as u64;
            all.bytes += batch.iter().map(|text| text.len() as u64).sum::<u64>();
        }
        Ok(all)
    }

    /// Increases the count of a word by `count`.
    pub fn add(&mut self, word: &str, count: u64) {
        match self.counts.get_mut(word) {
            Some(sum) => *sum += count,
            None => drop(self.counts.insert(word.into(), count)),
        }
    }

    /// Number of different words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Whether the word occurs.
    #[must_use]
    pub fn contains(&self, word: &str) -> bool {
        self.counts.contains_key(word)
    }

    /// Words with their counts, sorted by word.
    #[must_use]
    pub fn sorted(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> = self.counts.iter().map(|(word, count)| (&**word, *count)).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> anyhow::Result<Vec<String>> {
        let place = tempfile::tempdir()?;
        let path = place.path().join("a.jsonl");
        std::fs::write(&path, line)?;
        texts(&[path]).collect()
    }

    #[test]
    fn a_conversation_is_the_texts_of_its_turns() {
        let turns = r#"[{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}]"#;
        assert_eq!(read(&format!("{{\"id\": \"a\", \"messages\": {turns}}}")).unwrap(), ["1 + 1?\n2"]);
        // A text wins, whatever else the record has.
        assert_eq!(read(r#"{"text": "x", "messages": 3}"#).unwrap(), ["x"]);
        for (line, sentence) in [
            (r#"{"id": "a"}"#, "a.jsonl:1: text: is missing: a record needs a text, or messages"),
            (
                r#"{"messages": [{"role": "user"}]}"#,
                "a.jsonl:1: messages: must be a list of turns with a text as content",
            ),
        ] {
            let error = format!("{:#}", read(line).unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
    }
}
