//! Turns a draft into a conversation of the right length, with its `meta`.

use std::ops::Range;

use dataset::{Conversation, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::counter::Length;
use crate::draw::Draw;
use crate::phrases::{self, NOT_SAID};
use crate::ruler::Protocol;
use crate::split::Split;
use crate::task::{Draft, Form, Task, World};

/// The minimum share of its bucket that a record fills.
pub const FILLED: f64 = 0.95;
/// The share of the bucket that the first attempt aims at.
const AIM: f64 = 0.985;
/// Attempts at a length with the same choices.
const FITS: usize = 8;
/// Number of restarts of a record, each with other choices.
const ATTEMPTS: u64 = 60;

/// The specification of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// The record's number in the file, from 0.
    pub number: u64,
    /// The task.
    pub task: Task,
    /// Maximum tokens of the record.
    pub bucket: usize,
    /// Whether the text must not contain the answer.
    pub absent: bool,
}

/// The field `meta` of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// The task's name.
    pub task: String,
    /// The kinds of its questions.
    pub forms: Vec<Form>,
    /// Layout and phrases, for example `train/layout-1` and `train/count-0`.
    pub templates: Vec<String>,
    /// Tokens with chat template and answers.
    pub length_tokens: usize,
    /// Tokens of the answers and of their end-of-turn tokens.
    pub trained_tokens: usize,
    /// Maximum tokens of the record.
    pub bucket: usize,
    /// The split.
    pub split: Split,
    /// Whether a question has no answer in the text.
    pub not_in_text: bool,
    /// The range of the text in the first message, in characters (Unicode scalar values), end excluded.
    pub context: [usize; 2],
    /// The ranges in the first message that decide the answers, in characters, end excluded.
    pub evidence: Vec<[usize; 2]>,
    /// The made-up keys in the questions.
    pub keys: Vec<String>,
    /// SHA-256 of the documents in the text.
    pub haystacks: Vec<String>,
    /// The licences of these documents.
    pub licences: Vec<String>,
    /// The method that verified the answers.
    pub verified_by: String,
    /// The fields that evaluations of RULER's tasks need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruler: Option<Protocol>,
}

/// A finished record.
#[derive(Debug)]
pub struct Made {
    /// The record.
    pub conversation: Conversation,
    /// The record's length.
    pub length: Length,
}

/// The specifications of all records: tasks and buckets take turns, and a tenth has no answer in the text.
#[derive(Debug)]
pub struct Plan<'a> {
    /// The tasks.
    pub tasks: &'a [Task],
    /// The buckets, in tokens.
    pub buckets: &'a [usize],
}

impl Plan<'_> {
    /// The record with this number.
    #[must_use]
    pub fn item(&self, number: u64) -> Item {
        let count = self.tasks.len() as u64;
        let (round, at) = (number / count, (number % count) as usize);
        let bucket = self.buckets[(round % self.buckets.len() as u64) as usize];
        Item { number, task: self.tasks[at], bucket, absent: self.is_absent(round, at) }
    }

    /// Every tenth record has no answer in the text; the tasks that support this take turns.
    fn is_absent(&self, round: u64, at: usize) -> bool {
        let able: Vec<usize> = (0..self.tasks.len()).filter(|at| self.tasks[*at].can_be_absent()).collect();
        let Some(rank) = able.iter().position(|able| *able == at) else { return false };
        let count = self.tasks.len() as u64;
        let (from, until) = (round * count / 10, (round + 1) * count / 10);
        // After all pairs of bucket and task were used, the turns shift by one, so that every task gets every bucket.
        let shift = round / least_common_multiple(self.buckets.len() as u64, able.len() as u64);
        (from..until).any(|turn| (turn + shift) % able.len() as u64 == rank as u64)
    }
}

fn least_common_multiple(a: u64, b: u64) -> u64 {
    let (mut divisor, mut rest) = (a, b);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor * b
}

/// Makes a record. A pure function of the world, the item and the seed.
///
/// # Errors
/// When the tokenizer fails, or when no choice of text gives a record of this task and length.
pub fn make(world: &World, item: Item, seed: u64) -> anyhow::Result<Made> {
    for attempt in 0..ATTEMPTS {
        let draw = Draw::new(seed, item.number, attempt, world.split);
        if let Some((conversation, length)) = fit(world, item, draw)? {
            return Ok(Made { conversation, length });
        }
    }
    let shortage = match (&world.stream, &world.library) {
        (Some(stream), _) if item.task.needs_texts() => {
            format!("; the texts of the split have {} tokens", stream.total())
        }
        (_, Some(library)) if item.task == Task::Repository => {
            format!("; the packages of the split have {} tokens in {} files", library.total(), library.files())
        }
        _ => String::new(),
    };
    anyhow::bail!(
        "record {}: no {} of {} tokens in {ATTEMPTS} attempts{shortage}; give more texts, or leave out the task or the bucket",
        item.number,
        item.task.name(),
        item.bucket
    )
}

/// Tries one choice of text and question in several sizes until the record fills its bucket.
fn fit(world: &World, item: Item, draw: Draw) -> anyhow::Result<Option<(Conversation, Length)>> {
    let aim = (item.bucket as f64 * AIM) as i64;
    let least = (item.bucket as f64 * FILLED).ceil() as usize;
    let mut budget = aim - 150.min(aim / 3);
    for _ in 0..FITS {
        if budget <= 0 {
            return Ok(None);
        }
        let mut draw = draw.clone();
        let layout = draw.below(phrases::layouts(world.split).len());
        let Some(draft) = world.draft(item.task, budget as u64, item.absent, &mut draw) else { return Ok(None) };
        let length = length(world, &draft, layout)?;
        if (least..=item.bucket).contains(&length.tokens) {
            let whole = messages(&draft, world.split, layout, &draft.context.text);
            return Ok(Some((conversation(world, item, &draft, layout, whole, length), length)));
        }
        budget += aim - length.tokens as i64;
    }
    Ok(None)
}

/// The tokens of a draft as a conversation.
fn length(world: &World, draft: &Draft, layout: usize) -> anyhow::Result<Length> {
    if !world.counter.is_by_parts() {
        return world.counter.conversation(&messages(draft, world.split, layout, &draft.context.text));
    }
    let (text, known) = draft.context.hollow(world.stream.as_ref());
    let rest = world.counter.conversation(&messages(draft, world.split, layout, &text))?;
    Ok(Length { tokens: rest.tokens + known as usize, trained: rest.trained })
}

/// The messages of a draft, with this text as context.
fn messages(draft: &Draft, split: Split, layout: usize, text: &str) -> Vec<Message> {
    let layout = &phrases::layouts(split)[layout];
    let mut messages = Vec::new();
    for (at, turn) in draft.turns.iter().enumerate() {
        let asked = if at > 0 {
            turn.question.clone()
        } else {
            let before = layout.before.replacen("{}", &turn.question, 1);
            let behind = layout.behind.replacen("{}", &turn.question, 1);
            [&before, text, &behind].concat()
        };
        messages.push(Message::user(asked));
        messages.push(Message::assistant(turn.answer.clone()));
    }
    messages
}

fn conversation(
    world: &World,
    item: Item,
    draft: &Draft,
    layout: usize,
    messages: Vec<Message>,
    length: Length,
) -> Conversation {
    let split = world.split;
    let first = messages[0].text();
    let before = phrases::layouts(split)[layout].before.replacen("{}", &draft.turns[0].question, 1).len();
    let evidence = draft.turns.iter().flat_map(|turn| &turn.evidence);
    let whole = 0..draft.context.text.len();
    let within = std::iter::once(&whole).chain(evidence);
    let within: Vec<Range<usize>> = within.map(|range| before + range.start..before + range.end).collect();
    let mut ranges = characters(first, &within);
    let context = ranges.remove(0);
    ranges.sort_unstable();
    ranges.dedup();
    let form_name = |form: Form| serde_json::to_value(form).ok().and_then(|v| v.as_str().map(str::to_owned));
    let mut templates = vec![format!("{}/layout-{layout}", split.name())];
    templates.extend(
        draft
            .turns
            .iter()
            .map(|turn| format!("{}/{}-{}", split.name(), form_name(turn.form).unwrap_or_default(), turn.phrase)),
    );
    templates.sort_unstable();
    templates.dedup();
    let (mut haystacks, mut licences, mut names) = (Vec::new(), Vec::new(), Vec::new());
    let add = |list: &mut Vec<String>, text: &str| {
        if !list.iter().any(|known| known == text) {
            list.push(text.to_owned());
        }
    };
    for piece in &draft.context.pieces {
        if let (crate::context::Piece::Passage(range), Some(stream)) = (piece, &world.stream) {
            for document in stream.documents_of(range) {
                add(&mut haystacks, &document.sha256);
                add(&mut licences, &document.licence);
                add(&mut names, &document.name);
            }
        }
    }
    for origin in &draft.context.origins {
        add(&mut haystacks, &origin.sha256);
        add(&mut licences, &origin.licence);
        add(&mut names, &origin.name);
    }
    if names.is_empty() {
        names.push("made by longctx".to_owned());
        licences.push("none needed".to_owned());
    }
    let mut keys: Vec<String> = draft.turns.iter().flat_map(|turn| turn.keys.clone()).collect();
    keys.sort_unstable();
    keys.dedup();
    let meta = Meta {
        task: item.task.name().to_owned(),
        forms: draft.turns.iter().map(|turn| turn.form).collect(),
        templates,
        length_tokens: length.tokens,
        trained_tokens: length.trained,
        bucket: item.bucket,
        split,
        not_in_text: draft.turns.iter().any(|turn| turn.answer == NOT_SAID),
        context,
        evidence: ranges,
        keys,
        haystacks,
        licences,
        verified_by: "computed from the text; `longctx verify` derives it again".to_owned(),
        ruler: None,
    };
    let mut made = Conversation::new(format!("longctx-{}-{:06}", split.name(), item.number), messages);
    made.source = Some(names.join(", "));
    made.capability = Some("long-context".to_owned());
    made.extra.insert("meta".to_owned(), serde_json::to_value(meta).unwrap_or_else(|_| json!({})));
    made
}

/// Converts byte ranges into character ranges.
#[must_use]
pub fn characters(text: &str, ranges: &[Range<usize>]) -> Vec<[usize; 2]> {
    if text.is_ascii() {
        return ranges.iter().map(|range| [range.start, range.end]).collect();
    }
    let mut places: Vec<usize> = ranges.iter().flat_map(|range| [range.start, range.end]).collect();
    places.sort_unstable();
    places.dedup();
    let (mut byte, mut count) = (0, 0);
    let counted: Vec<(usize, usize)> = places
        .into_iter()
        .map(|place| {
            count += text[byte..place].chars().count();
            byte = place;
            (place, count)
        })
        .collect();
    let of = |place: usize| counted.binary_search_by_key(&place, |(byte, _)| *byte).map_or(0, |at| counted[at].1);
    ranges.iter().map(|range| [of(range.start), of(range.end)]).collect()
}

/// The `meta` of a record.
///
/// # Errors
/// When the field is missing or another program wrote it.
pub fn meta(record: &Conversation) -> Result<Meta, String> {
    let value = record.extra.get("meta").cloned().unwrap_or(Value::Null);
    serde_json::from_value(value).map_err(|error| format!("meta: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_not_in_the_text_in_every_task_and_bucket() {
        let plan = Plan { tasks: &Task::ALL, buckets: &[1, 2, 3, 4] };
        let items: Vec<Item> = (0..2000).map(|number| plan.item(number)).collect();
        assert_eq!(items.iter().filter(|item| item.absent).count(), 200);
        for task in Task::ALL {
            for bucket in plan.buckets {
                let of = items.iter().filter(|item| item.task == task && item.bucket == *bucket);
                assert_eq!(of.clone().count(), 50);
                assert_eq!(of.filter(|item| item.absent).count(), if task.can_be_absent() { 10 } else { 0 });
            }
        }
        let one = Plan { tasks: &[Task::Facts], buckets: &[1, 2] };
        assert_eq!((0..100).filter(|number| one.item(*number).absent).count(), 10);
        let none = Plan { tasks: &[Task::Order], buckets: &[1] };
        assert_eq!((0..100).filter(|number| none.item(*number).absent).count(), 0);
    }

    #[test]
    fn places_in_characters() {
        let text = "aé€b";
        assert_eq!(characters(text, &[0..1, 1..3, 3..6, 6..7, 0..7]), [[0, 1], [1, 2], [2, 3], [3, 4], [0, 4]]);
        assert_eq!(characters("abc", &[1..2, 0..3]), [[1, 2], [0, 3]]);
    }
}
