//! Passages and chunks, and the conversations about them.

use std::ops::Range;

use dataset::{Conversation, Message};
use longctx::context::Context;
use longctx::draw::Draw;
use longctx::phrases;
use longctx::record::{Meta, characters};
use longctx::split::Split;
use longctx::stream::Stream;
use longctx::task::World;

/// A passage of the texts, cut into chunks of whole paragraphs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// The record's number.
    pub number: u64,
    /// Tokens that the record may have.
    pub bucket: usize,
    /// Bytes of the stream.
    pub bytes: Range<usize>,
    /// Bytes of the stream of each chunk.
    pub chunks: Vec<Range<usize>>,
    /// The chunk that questions are about.
    pub chosen: usize,
    /// The layout of the record.
    pub layout: usize,
}

/// The share of a bucket that is left for questions and answers.
const LEFT: f64 = 0.1;

/// The passage of a record; none when the texts are too short.
#[must_use]
pub fn passage(world: &World, number: u64, bucket: usize, chunk: usize, seed: u64) -> Option<Passage> {
    let stream = world.stream.as_ref()?;
    let mut draw = Draw::new(seed, number, 0, world.split);
    let left = ((bucket as f64 * LEFT) as usize).min(1500);
    let bytes = stream.passage((bucket - left) as u64, &mut draw)?;
    let chunks = chunks(stream, &bytes, chunk);
    let chosen = draw.below(chunks.len());
    let layout = draw.below(phrases::layouts(world.split).len());
    Some(Passage { number, bucket, bytes, chunks, chosen, layout })
}

/// Cuts a passage into chunks of whole paragraphs: as many as fit into `most` tokens, and at least one.
fn chunks(stream: &Stream, passage: &Range<usize>, most: usize) -> Vec<Range<usize>> {
    let first = stream.paragraphs.partition_point(|paragraph| paragraph.start < passage.start);
    let last = stream.paragraphs.partition_point(|paragraph| paragraph.start < passage.end);
    let mut chunks = Vec::new();
    let mut begin = first;
    while begin < last {
        let mut end = begin + 1;
        while end < last && stream.between(begin, end + 1) <= most as u64 {
            end += 1;
        }
        // The passage may end inside its last paragraph.
        chunks.push(stream.paragraphs[begin].start..stream.paragraphs[end - 1].end.min(passage.end));
        begin = end;
    }
    chunks
}

/// A turn of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// The place in the passage that proves the answer, in bytes.
    pub evidence: Option<Range<usize>>,
}

/// The conversation about a passage; none where it is longer than its bucket.
///
/// # Errors
/// When the tokenizer or the chat template refuses it.
pub fn conversation(
    world: &World,
    passage: &Passage,
    task: &str,
    turns: &[Turn],
    verified_by: &str,
) -> anyhow::Result<Option<Conversation>> {
    let (Some(stream), Some(first)) = (&world.stream, turns.first()) else { return Ok(None) };
    let context = Context::passage(stream, passage.bytes.clone());
    let layout = &phrases::layouts(world.split)[passage.layout];
    let before = layout.before.replacen("{}", &first.question, 1);
    let behind = layout.behind.replacen("{}", &first.question, 1);
    let messages = |text: &str| {
        let mut messages = Vec::new();
        for (at, turn) in turns.iter().enumerate() {
            let asked = if at == 0 { [&before, text, &behind].concat() } else { turn.question.clone() };
            messages.push(Message::user(asked));
            messages.push(Message::assistant(turn.answer.clone()));
        }
        messages
    };
    let length = if world.counter.is_by_parts() {
        let (hollow, known) = context.hollow(Some(stream));
        let mut length = world.counter.conversation(&messages(&hollow))?;
        length.tokens += known as usize;
        length
    } else {
        world.counter.conversation(&messages(&context.text))?
    };
    if length.tokens > passage.bucket {
        return Ok(None);
    }
    let whole = messages(&context.text);
    let start = before.len();
    let quotes = turns.iter().filter_map(|turn| turn.evidence.clone()).map(|at| start + at.start..start + at.end);
    let places: Vec<Range<usize>> = std::iter::once(start..start + context.text.len()).chain(quotes).collect();
    let mut places = characters(whole[0].text(), &places);
    let context_place = places.remove(0);
    let (mut haystacks, mut licences, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for document in stream.documents_of(&passage.bytes) {
        for (list, text) in
            [(&mut haystacks, &document.sha256), (&mut licences, &document.licence), (&mut names, &document.name)]
        {
            if !list.contains(text) {
                list.push(text.clone());
            }
        }
    }
    let meta = Meta {
        task: task.to_owned(),
        forms: Vec::new(),
        templates: vec![format!("{}/layout-{}", world.split.name(), passage.layout)],
        length_tokens: length.tokens,
        trained_tokens: length.trained,
        bucket: passage.bucket,
        split: world.split,
        not_in_text: false,
        context: context_place,
        evidence: places,
        keys: Vec::new(),
        haystacks,
        licences,
        verified_by: verified_by.to_owned(),
        ruler: None,
    };
    let mut made = Conversation::new(format!("longctx-{task}-{:06}", passage.number), whole);
    made.source = Some(names.join(", "));
    made.capability = Some("long-context".to_owned());
    made.extra.insert("meta".to_owned(), serde_json::to_value(meta)?);
    Ok(Some(made))
}

/// The split that records are written for.
pub const SPLIT: Split = Split::Train;
