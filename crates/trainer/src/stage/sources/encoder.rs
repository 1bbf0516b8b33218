//! What a stage brings to the preparation: from a record to tokenised examples.

use std::hash::{DefaultHasher, Hash, Hasher};

use chat::ChatError;
use dataset::{Invalid, Message, Place};
use serde_json::Value;

use super::fit::Fit;
use super::ledger::Counts;
use crate::Example;

/// A record of a file as it was read.
#[derive(Debug)]
pub struct Row {
    /// Where it stands, for messages.
    pub place: Place,
    /// The record.
    pub value: Value,
}

/// Makes examples of records. It is called on several records at once.
pub trait Encoder: Sync {
    /// A tokenised example.
    type Example: Send;

    /// Tokenises a record.
    ///
    /// # Errors
    /// [`RecordError::Bad`] when the record is at fault, [`RecordError::Stop`] when going on makes no sense.
    fn encode(&self, row: &Row) -> Result<Encoded<Self::Example>, RecordError>;

    /// The example's name in messages.
    fn id<'a>(&self, example: &'a Self::Example) -> &'a str;

    /// The sequences of the example, with what counts in the loss.
    fn sequences(&self, example: &Self::Example) -> Vec<Sequence>;

    /// Tokens that it has in a row of a micro-batch; those of all sequences unless a stage says otherwise.
    fn tokens(&self, example: &Self::Example) -> usize {
        self.sequences(example).iter().map(|one| one.ids.len()).sum()
    }

    /// Tokens of its longest sequence, which `--max-length` limits.
    fn longest(&self, example: &Self::Example) -> usize {
        self.sequences(example).iter().map(|one| one.ids.len()).max().unwrap_or(0)
    }

    /// The stage's own counts in the order of the table: reasons for which records are left out, and what
    /// [`Encoder::count`] counts. The words of the table are the keys of `run.json`, with `_` for spaces.
    fn counters(&self) -> &'static [&'static str] {
        &[]
    }

    /// Counts an example under these names.
    fn count(&self, _example: &Self::Example, _counts: &mut Counts) {}

    /// The example for people, a legend and the text, where a stage has a better way than its sequences token by token.
    fn show(&self, _example: &Self::Example) -> Option<anyhow::Result<(String, String)>> {
        None
    }

    /// Called when all files are read: for warnings about what no record had.
    fn finish(&self) {}
}

/// One sequence of an example.
#[derive(Debug, Clone)]
pub struct Sequence {
    /// Its name for people, such as `chosen`.
    pub name: String,
    /// Token ids.
    pub ids: Vec<u32>,
    /// For each id whether it counts in the loss.
    pub mask: Vec<bool>,
}

impl Sequence {
    /// An example as the sequence `name`.
    #[must_use]
    pub fn of(name: &str, example: &Example) -> Self {
        Self { name: name.into(), ids: example.ids.clone(), mask: example.trained.clone() }
    }
}

/// What became of a record.
#[derive(Debug)]
pub struct Encoded<E> {
    /// Its examples.
    pub examples: Vec<E>,
    /// [`prompt_digest`] of its prompt: records with the same prompt are held out together.
    pub prompt: u64,
    /// What else to count, under names of [`Encoder::counters`].
    pub counts: Counts,
    /// For each example that was too long a sentence.
    pub(super) too_long: Vec<String>,
    /// Examples with a cut prompt, and the tokens cut.
    pub(super) cut: (u64, u64),
}

impl<E> Encoded<E> {
    /// No example yet of a record with this prompt.
    #[must_use]
    pub fn new(prompt: &[Message]) -> Self {
        let prompt = prompt_digest(prompt);
        Self { examples: Vec::new(), prompt, counts: Counts::default(), too_long: Vec::new(), cut: (0, 0) }
    }

    /// A record that is left out, and counted under one of [`Encoder::counters`].
    #[must_use]
    pub fn left_out(reason: &'static str) -> Self {
        let mut none = Self::new(&[]);
        none.counts.add(reason, 1);
        none
    }

    /// Takes the outcome of [`super::Limits::fit`] in. `tokens` are those of what was encoded, `make` an example of it.
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
    /// The record is at fault: it stops a strict run, and is set aside and counted with `--skip-bad`; also under the
    /// second, one of [`Encoder::counters`].
    Bad(Invalid, Option<&'static str>),
    /// The fault is not the record's, or another flag is needed: the run stops.
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

/// A digest of what a prompt says: roles, texts without white space around them, and tool calls.
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
