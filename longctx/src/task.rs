//! The tasks: questions about a context whose answers the context alone decides.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::counter::Counter;
use crate::draw::Draw;
use crate::phrases;
use crate::repo::{self, Library};
use crate::split::Split;
use crate::stream::Stream;
use crate::{ask, key_value, statements, turns, words};

/// The task of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The sentence next to a quoted one, or the whole of one whose opening is quoted.
    Extract,
    /// The order of quoted sentences.
    Order,
    /// The number of occurrences of a word.
    Count,
    /// The most frequent, the first or the last of several words.
    Aggregate,
    /// The value of a key among keys and values that fill the whole context.
    KeyValue,
    /// A statement inserted into the text.
    Facts,
    /// A statement that a later one corrects.
    Contradiction,
    /// A number that markers pass on to each other.
    Hops,
    /// A sentence by the number of its paragraph.
    Position,
    /// Several questions about one text; the last asks to repeat an answer.
    Turns,
    /// Imports and definitions of Python packages.
    Repository,
}

impl Task {
    /// All tasks about texts.
    pub const ALL: [Self; 10] = [
        Self::Extract,
        Self::Order,
        Self::Count,
        Self::Aggregate,
        Self::KeyValue,
        Self::Facts,
        Self::Contradiction,
        Self::Hops,
        Self::Position,
        Self::Turns,
    ];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Extract => "extract",
            Self::Order => "order",
            Self::Count => "count",
            Self::Aggregate => "aggregate",
            Self::KeyValue => "key-value",
            Self::Facts => "facts",
            Self::Contradiction => "contradiction",
            Self::Hops => "hops",
            Self::Position => "position",
            Self::Turns => "turns",
            Self::Repository => "repository",
        }
    }

    /// Whether the task can ask for something that the text lacks.
    #[must_use]
    pub fn can_be_absent(self) -> bool {
        matches!(self, Self::Extract | Self::KeyValue | Self::Facts | Self::Hops | Self::Turns | Self::Repository)
    }

    /// Whether the task needs texts.
    #[must_use]
    pub fn needs_texts(self) -> bool {
        !matches!(self, Self::KeyValue | Self::Repository)
    }
}

/// A kind of question; the verifier needs it to derive the answer from the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Form {
    NextSentence,
    PreviousSentence,
    Complete,
    Order,
    Count,
    Most,
    FirstOf,
    LastOf,
    Paragraph,
    ParagraphFromEnd,
    KeyValue,
    DepotCode,
    ArchiveKeeper,
    ExpeditionGate,
    ShipCargo,
    CommitteeRoom,
    Hops,
    HopsAll,
    Again,
    Importers,
    Dependents,
    Breaks,
    ImportedNames,
    DefinedIn,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::NextSentence,
        Self::PreviousSentence,
        Self::Complete,
        Self::Order,
        Self::Count,
        Self::Most,
        Self::FirstOf,
        Self::LastOf,
        Self::Paragraph,
        Self::ParagraphFromEnd,
        Self::KeyValue,
        Self::DepotCode,
        Self::ArchiveKeeper,
        Self::ExpeditionGate,
        Self::ShipCargo,
        Self::CommitteeRoom,
        Self::Hops,
        Self::HopsAll,
        Self::Again,
        Self::Importers,
        Self::Dependents,
        Self::Breaks,
        Self::ImportedNames,
        Self::DefinedIn,
    ];
}

/// A question with its answer.
#[derive(Debug, Clone)]
pub struct Turn {
    /// Its kind.
    pub form: Form,
    /// The index of the phrase among those of the form and split.
    pub phrase: usize,
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// Byte ranges of the context that decide the answer; empty when the text has no answer.
    pub evidence: Vec<Range<usize>>,
    /// The made-up keys in the question.
    pub keys: Vec<String>,
}

impl Turn {
    /// A question about the strings in `about`, each put into quotes.
    #[must_use]
    pub fn new(form: Form, about: &[&str], answer: impl Into<String>, draw: &mut Draw) -> Self {
        let quoted: Vec<String> = about.iter().map(|thing| format!("\"{thing}\"")).collect();
        Self::about(form, &quoted.join(", "), answer, draw)
    }

    /// A question whose subject is already quoted.
    #[must_use]
    pub fn about(form: Form, about: &str, answer: impl Into<String>, draw: &mut Draw) -> Self {
        let phrases = phrases::of(form, draw.split());
        let phrase = draw.below(phrases.len());
        let text = phrases.get(phrase).copied().unwrap_or("{}");
        Self {
            form,
            phrase,
            question: text.replacen("{}", about, 1),
            answer: answer.into(),
            evidence: Vec::new(),
            keys: Vec::new(),
        }
    }

    /// Sets the evidence.
    #[must_use]
    pub fn at(mut self, evidence: Vec<Range<usize>>) -> Self {
        self.evidence = evidence;
        self
    }

    /// Appends a sentence to the question.
    #[must_use]
    pub fn saying(mut self, more: &str) -> Self {
        self.question.push_str(more);
        self
    }
}

/// A context with questions.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The text.
    pub context: Context,
    /// The questions, in order.
    pub turns: Vec<Turn>,
}

/// The material that records are made from.
#[derive(Debug)]
pub struct World {
    /// The haystack, if there are texts.
    pub stream: Option<Stream>,
    /// The packages, if there are any.
    pub library: Option<Library>,
    /// The tokenizer.
    pub counter: Counter,
    /// The split.
    pub split: Split,
    /// The average number of tokens of a key-value line.
    pub entry_tokens: f64,
}

impl World {
    /// Prepares texts, packages and a tokenizer.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub fn new(
        stream: Option<Stream>,
        library: Option<Library>,
        mut counter: Counter,
        split: Split,
    ) -> anyhow::Result<Self> {
        if let Some(stream) = &stream {
            counter.probe(stream)?;
        }
        if let Some(library) = &library {
            library.probe(&mut counter)?;
        }
        let entry_tokens = key_value::entry_tokens(&counter, split)?;
        Ok(Self { stream, library, counter, split, entry_tokens })
    }

    /// Drafts a record of about `tokens` tokens of context. With `absent`, the text does not contain the answer. `None` if the drawn
    /// passage has no suitable question, or if the texts are too short.
    #[must_use]
    pub fn draft(&self, task: Task, tokens: u64, absent: bool, draw: &mut Draw) -> Option<Draft> {
        if task == Task::KeyValue {
            return Some(key_value::draft(self, tokens, absent, draw));
        }
        if task == Task::Repository {
            return repo::draft(self, self.library.as_ref()?, tokens, absent, draw);
        }
        let stream = self.stream.as_ref()?;
        let one = |context: Context, turn: Turn| Some(Draft { context, turns: vec![turn] });
        let passage = |draw: &mut Draw| Some(Context::passage(stream, stream.passage(tokens, draw)?));
        match task {
            Task::KeyValue | Task::Repository => None,
            Task::Facts => statements::facts(self, stream, tokens, absent, draw),
            Task::Contradiction => statements::contradiction(self, stream, tokens, draw),
            Task::Hops => statements::hops(self, stream, tokens, absent, draw),
            Task::Turns => turns::draft(self, stream, tokens, absent, draw),
            Task::Extract => {
                let context = passage(draw)?;
                let turn = if absent { ask::absent(stream, &context, draw) } else { ask::extract(&context, draw) }?;
                one(context, turn.saying(phrases::not_said(self.split)))
            }
            Task::Order => {
                let context = passage(draw)?;
                let turn = ask::order(&context, draw)?;
                one(context, turn)
            }
            Task::Count => {
                let context = passage(draw)?;
                let turn = words::count(&context, draw)?;
                one(context, turn)
            }
            Task::Aggregate => {
                let context = passage(draw)?;
                let turn = words::aggregate(&context, draw)?;
                one(context, turn)
            }
            Task::Position => {
                let context = passage(draw)?;
                let turn = ask::position(&context, draw)?;
                one(context, turn)
            }
        }
    }
}
