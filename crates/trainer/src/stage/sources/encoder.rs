//! The part of the preparation that a stage provides: conversion of a record into tokenised examples.

use std::hash::{DefaultHasher, Hash, Hasher};

use chat::ChatError;
use dataset::{Invalid, Message, Place};
use serde_json::Value;

use super::fit::Fit;
use super::ledger::Counts;
use crate::Example;

/// A record of a file before encoding.
#[derive(Debug)]
pub struct Row {
    /// File and line of the record, for messages.
    pub place: Place,
    /// The record.
    pub value: Value,
}

/// Converts records into examples. Several threads call it at once.
pub trait Encoder: Sync {
    /// A tokenised example.
    type Example: Send;

    /// Tokenises a record.
    ///
    /// # Errors
    /// [`RecordError::Bad`] when the record is faulty, [`RecordError::Stop`] when the run must stop.
    fn encode(&self, row: &Row) -> Result<Encoded<Self::Example>, RecordError>;

    /// The example's name in messages.
    fn id<'a>(&self, example: &'a Self::Example) -> &'a str;

    /// The sequences of the example, with their loss masks.
    fn sequences(&self, example: &Self::Example) -> Vec<Sequence>;

    /// Number of tokens of the example in a row of a micro-batch; by default those of all its sequences.
    fn tokens(&self, example: &Self::Example) -> usize {
        self.sequences(example).iter().map(|one| one.ids.len()).sum()
    }

    /// Number of tokens of its longest sequence, which `--max-length` limits.
    fn longest(&self, example: &Self::Example) -> usize {
        self.sequences(example).iter().map(|one| one.ids.len()).max().unwrap_or(0)
    }

    /// Names of the stage's own counters, in the order of the table: reasons why records are left out, and the names that
    /// [`Encoder::count`] uses. The names are column titles; in `run.json` they are keys, with `_` for spaces.
    fn counters(&self) -> &'static [&'static str] {
        &[]
    }

    /// Adds an example to the stage's own counters.
    fn count(&self, _example: &Self::Example, _counts: &mut Counts) {}

    /// The example as text to print (a legend and the text), if the stage has a better form than its sequences token by token.
    fn show(&self, _example: &Self::Example) -> Option<anyhow::Result<(String, String)>> {
        None
    }

    /// Called after all files are read. It may warn about things that no record contained.
    fn finish(&self) {}
}

/// One sequence of an example.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Name for printing, such as `chosen`.
    pub name: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each token, whether it counts in the loss.
    pub mask: Vec<bool>,
}

impl Sequence {
    /// Makes the sequence `name` from an example.
    #[must_use]
    pub fn of(name: &str, example: &Example) -> Self {
        Self { name: name.into(), ids: example.ids.clone(), mask: example.trained.clone() }
    }
}

/// Result of encoding a record.
#[derive(Debug)]
pub struct Encoded<E> {
    /// Its examples.
    pub examples: Vec<E>,
    /// [`prompt_digest`] of its prompt. Records with the same prompt are held out together.
    pub prompt: u64,
    /// Further counts, under names of [`Encoder::counters`].
    pub counts: Counts,
    /// A sentence for each example that was too long.
    pub(super) too_long: Vec<String>,
    /// Number of examples with a truncated prompt, and number of tokens removed.
    pub(super) cut: (u64, u64),
}

impl<E> Encoded<E> {
    /// A result without examples yet, for a record with this prompt.
    #[must_use]
    pub fn new(prompt: &[Message]) -> Self {
        let prompt = prompt_digest(prompt);
        Self { examples: Vec::new(), prompt, counts: Counts::default(), too_long: Vec::new(), cut: (0, 0) }
    }

    /// A record that is left out. It is counted under `reason`, one of [`Encoder::counters`].
    #[must_use]
    pub fn left_out(reason: &'static str) -> Self {
        let mut none = Self::new(&[]);
        none.counts.add(reason, 1);
        none
    }

    /// Adds the outcome of [`super::Limits::fit`]. `tokens` counts the tokens of an encoded value, `make` turns it into an
    /// example.
    pub fn add<T>(&mut self, fit: Fit<T>, tokens: impl Fn(&T) -> usize, make: impl FnOnce(T) -> E) {
        match fit {
            Fit::Whole(encoded) => self.examples.push(make(encoded)),
            Fit::Cut(encoded, whole) => {
                self.cut.0 += 1;
                self.cut.1 += tokens(&whole).saturating_sub(tokens(&encoded)) as u64;
                self.examples.push(make(encoded));
            }
            Fit::TooLong(sentence) => self.too_long.push(sentence),
        }
    }
}

/// Why a record gives no example.
#[derive(Debug)]
pub enum RecordError {
    /// The record is faulty. It stops a strict run; with `--skip-bad` it is set aside and counted. If the second field is
    /// given, it is also counted under that name, one of [`Encoder::counters`].
    Bad(Invalid, Option<&'static str>),
    /// The fault is not the record's, or another flag is needed. The run stops.
    Stop(anyhow::Error),
}

impl From<Invalid> for RecordError {
    fn from(why: Invalid) -> Self {
        Self::Bad(why, None)
    }
}

impl From<anyhow::Error> for RecordError {
    fn from(error: anyhow::Error) -> Self {
        Self::Stop(error)
    }
}

impl From<ChatError> for RecordError {
    fn from(error: ChatError) -> Self {
        match error {
            error if error.is_of_conversation() => Self::Bad(Invalid(error.to_string()), None),
            error => Self::Stop(error.into()),
        }
    }
}

/// Digest of a prompt: roles, trimmed texts, and tool calls.
#[must_use]
pub fn prompt_digest(messages: &[Message]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for message in messages {
        message.role.as_str().hash(&mut hasher);
        message.text().trim().hash(&mut hasher);
        if !message.tool_calls.is_empty() {
            serde_json::to_string(&message.tool_calls).unwrap_or_default().hash(&mut hasher);
        }
    }
    hasher.finish()
}
