//! The 11 tasks of RULER (Hsieh et al. 2024) that need only text, for evaluation, and their score.
//!
//! Prompts, counts, numbers of keys and values, depths and the metric are RULER's, as in lm-eval 0.4.13. Deliberate differences: the
//! words are our own, essays are the user's texts, the length includes the chat template, no haystack repeats except for the fixed
//! sentences of the noise, and each sample places its needles by its own seed.

mod inputs;
mod score;
mod verify;
mod words;

use std::ops::Range;

use dataset::{Conversation, Message};
use serde::{Deserialize, Serialize};

use crate::context::{Context, Piece};
use crate::draw::Draw;
use crate::record::{FILLED, Meta, characters};
use crate::split::Split;
use crate::task::World;

pub(crate) use inputs::key_of_words;
pub use score::score;
pub use verify::check;

/// A task of RULER.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Ruler {
    NiahSingle1,
    NiahSingle2,
    NiahSingle3,
    NiahMultikey1,
    NiahMultikey2,
    NiahMultikey3,
    NiahMultivalue,
    NiahMultiquery,
    Vt,
    Cwe,
    Fwe,
}

/// The fields that an evaluation needs in addition to the messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// The strings that a right answer contains.
    pub outputs: Vec<String>,
    /// The beginning of the answer, which the model continues.
    pub answer_prefix: String,
    /// Maximum tokens of the answer; they are part of the length.
    pub max_new_tokens: usize,
}

/// A sample before it becomes a record.
pub(crate) struct Sample {
    /// The text before the context in the user's message.
    pub(crate) before: String,
    /// The context.
    pub(crate) context: Context,
    /// The text after the context.
    pub(crate) behind: String,
    pub(crate) prefix: String,
    pub(crate) outputs: Vec<String>,
    pub(crate) keys: Vec<String>,
    /// Byte ranges of the context that decide the answer.
    pub(crate) evidence: Vec<Range<usize>>,
}

impl Ruler {
    /// All tasks.
    pub const ALL: [Self; 11] = [
        Self::NiahSingle1,
        Self::NiahSingle2,
        Self::NiahSingle3,
        Self::NiahMultikey1,
        Self::NiahMultikey2,
        Self::NiahMultikey3,
        Self::NiahMultivalue,
        Self::NiahMultiquery,
        Self::Vt,
        Self::Cwe,
        Self::Fwe,
    ];

    /// The name in RULER.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NiahSingle1 => "niah_single_1",
            Self::NiahSingle2 => "niah_single_2",
            Self::NiahSingle3 => "niah_single_3",
            Self::NiahMultikey1 => "niah_multikey_1",
            Self::NiahMultikey2 => "niah_multikey_2",
            Self::NiahMultikey3 => "niah_multikey_3",
            Self::NiahMultivalue => "niah_multivalue",
            Self::NiahMultiquery => "niah_multiquery",
            Self::Vt => "vt",
            Self::Cwe => "cwe",
            Self::Fwe => "fwe",
        }
    }

    /// The task with this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.name() == name)
    }

    /// Whether the task's haystack is made of texts.
    #[must_use]
    pub fn needs_texts(self) -> bool {
        matches!(
            self,
            Self::NiahSingle2 | Self::NiahSingle3 | Self::NiahMultikey1 | Self::NiahMultivalue | Self::NiahMultiquery
        )
    }

    /// Maximum tokens of the answer.
    #[must_use]
    pub fn max_new_tokens(self) -> usize {
        match self {
            Self::Vt => 30,
            Self::Cwe => 120,
            Self::Fwe => 50,
            _ => 128,
        }
    }
}

/// Attempts at a length with the same choices; also the number of restarts of a sample.
const FITS: usize = 12;
const ATTEMPTS: u64 = 16;

/// Makes a sample of at most `bucket` tokens, including chat template, beginning of the answer, and answer.
///
/// # Errors
/// When the tokenizer fails, or the task does not fit into the bucket or the texts.
pub fn make(world: &World, task: Ruler, number: u64, bucket: usize, seed: u64) -> anyhow::Result<Conversation> {
    for attempt in 0..ATTEMPTS {
        let draw = Draw::new(seed, number, attempt, Split::Evaluation);
        if let Some(record) = fit(world, task, number, bucket, &draw)? {
            return Ok(record);
        }
    }
    let shortage = world
        .stream
        .as_ref()
        .filter(|_| task.needs_texts())
        .map_or(String::new(), |stream| format!("; the texts of the split have {} tokens", stream.total()));
    anyhow::bail!(
        "record {number}: ruler:{} does not fit into {bucket} tokens{shortage}; leave out the task or the bucket",
        task.name()
    )
}

fn fit(world: &World, task: Ruler, number: u64, bucket: usize, draw: &Draw) -> anyhow::Result<Option<Conversation>> {
    let aim = bucket as f64 * 0.985;
    let least = (bucket as f64 * FILLED).ceil() as usize;
    let mut budget = aim - task.max_new_tokens() as f64 - 150.0;
    for _ in 0..FITS {
        if budget < 16.0 {
            return Ok(None);
        }
        let Some(sample) = inputs::sample(world, task, bucket, budget, &mut draw.clone())? else { return Ok(None) };
        let length = length(world, &sample)? + task.max_new_tokens();
        if (least..=bucket).contains(&length) {
            return Ok(Some(record(world, task, number, bucket, &sample, length)));
        }
        // The tokens of a haystack are roughly proportional to the requested size.
        let fixed = (length as f64 - budget).max(0.0).min(aim - 16.0);
        budget *= (aim - fixed) / (length as f64 - fixed).max(1.0);
    }
    Ok(None)
}

fn messages(sample: &Sample, context: &str) -> [Message; 2] {
    let asked = [&sample.before, context, &sample.behind].concat();
    [Message::user(asked), Message::assistant(sample.prefix.clone())]
}

fn length(world: &World, sample: &Sample) -> anyhow::Result<usize> {
    if !world.counter.is_by_parts() {
        return world.counter.prompt(&messages(sample, &sample.context.text));
    }
    let (text, known) = sample.context.hollow(world.stream.as_ref());
    Ok(world.counter.prompt(&messages(sample, &text))? + known as usize)
}

fn record(world: &World, task: Ruler, number: u64, bucket: usize, sample: &Sample, length: usize) -> Conversation {
    let mut messages = messages(sample, &sample.context.text).to_vec();
    messages[1] = Message::assistant(format!("{} {}", sample.prefix, sample.outputs.join(", ")));
    let before = sample.before.len();
    let whole = 0..sample.context.text.len();
    let ranges = std::iter::once(&whole).chain(&sample.evidence);
    let ranges: Vec<Range<usize>> = ranges.map(|range| before + range.start..before + range.end).collect();
    let mut places = characters(messages[0].text(), &ranges);
    let context = places.remove(0);
    let (mut haystacks, mut licences) = (Vec::new(), Vec::new());
    for piece in &sample.context.pieces {
        if let (Piece::Passage(range), Some(stream)) = (piece, &world.stream) {
            for document in stream.documents_of(range) {
                if !haystacks.contains(&document.sha256) {
                    haystacks.push(document.sha256.clone());
                }
                if !licences.contains(&document.licence) {
                    licences.push(document.licence.clone());
                }
            }
        }
    }
    let meta = Meta {
        task: format!("ruler:{}", task.name()),
        forms: Vec::new(),
        templates: vec![format!("ruler/{}", task.name())],
        length_tokens: length,
        trained_tokens: 0,
        bucket,
        split: Split::Evaluation,
        not_in_text: false,
        context,
        evidence: places,
        keys: sample.keys.clone(),
        haystacks,
        licences,
        verified_by: "computed from the text; `longctx verify` derives it again".to_owned(),
        ruler: Some(Protocol {
            outputs: sample.outputs.clone(),
            answer_prefix: sample.prefix.clone(),
            max_new_tokens: task.max_new_tokens(),
        }),
    };
    let mut made = Conversation::new(format!("ruler-{}-{number:06}", task.name()), messages);
    made.source = Some("made by longctx after RULER".to_owned());
    made.capability = Some("long-context".to_owned());
    made.extra.insert("meta".to_owned(), serde_json::to_value(meta).unwrap_or_default());
    made
}
