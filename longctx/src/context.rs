//! A record's text: passages of the stream, and statements inserted into them.

use std::ops::Range;

use memchr::memmem;

use crate::draw::Draw;
use crate::stream::Stream;

/// A part of a context.
#[derive(Debug, Clone)]
pub enum Piece {
    /// A byte range of the stream.
    Passage(Range<usize>),
    /// Text that was written for the record.
    Made(String),
    /// A part inside the text whose number of tokens is known.
    Counted(u64),
}

/// Where a part of a text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The name of the source.
    pub name: String,
    /// SHA-256 of the source.
    pub sha256: String,
    /// The licence of the source.
    pub licence: String,
}

/// A record's text.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// The parts, in order.
    pub pieces: Vec<Piece>,
    /// All parts as one string.
    pub text: String,
    /// Byte ranges of the clean sentences from the stream.
    pub clean: Vec<Range<usize>>,
    /// Byte ranges of the inserted statements, in the order of the text.
    pub statements: Vec<Range<usize>>,
    /// The sources of the text other than the stream's documents.
    pub origins: Vec<Origin>,
}

impl Context {
    /// Makes a context from a passage.
    #[must_use]
    pub fn passage(stream: &Stream, passage: Range<usize>) -> Self {
        let mut context = Self::default();
        context.push_passage(stream, passage);
        context
    }

    /// Makes a context from a text that was written as a whole.
    #[must_use]
    pub fn made(text: String) -> Self {
        Self { pieces: vec![Piece::Made(text.clone())], text, ..Self::default() }
    }

    /// Inserts statements after some sentences of a passage, in the given order. `None` if the passage has too few sentences.
    #[must_use]
    pub fn with_statements(
        stream: &Stream,
        passage: Range<usize>,
        statements: &[String],
        draw: &mut Draw,
    ) -> Option<Self> {
        let all = stream.ends_in(&passage);
        // Statements do not follow a heading, unless there is no other place.
        let ends_sentence = |end: &&usize| stream.text[..**end].ends_with(['.', '!', '?', '"', '”', '\'', '’', ')']);
        let mut ends: Vec<usize> = all.iter().filter(ends_sentence).copied().collect();
        if ends.len() < statements.len() {
            ends = all.to_vec();
        }
        if ends.len() < statements.len() {
            return None;
        }
        let mut context = Self::default();
        let mut done = passage.start;
        for (statement, at) in statements.iter().zip(draw.sample(ends.len(), statements.len())) {
            context.push_passage(stream, done..ends[at]);
            done = ends[at];
            let start = context.text.len() + 1;
            context.text.push(' ');
            context.text.push_str(statement);
            context.pieces.push(Piece::Made(format!(" {statement}")));
            context.statements.push(start..context.text.len());
        }
        context.push_passage(stream, done..passage.end);
        Some(context)
    }

    /// Inserts statements before the paragraphs with the given numbers, which rise; a number past the last paragraph appends the
    /// statement. `None` if there is no paragraph.
    #[must_use]
    pub fn between_paragraphs(
        stream: &Stream,
        paragraphs: Range<usize>,
        places: &[usize],
        statements: &[String],
    ) -> Option<Self> {
        if paragraphs.is_empty() {
            return None;
        }
        let mut context = Self::default();
        let mut done = paragraphs.start;
        let push_until = |context: &mut Self, done: &mut usize, until: usize| {
            if until > *done {
                context.push_separator(stream);
                context.push_passage(stream, stream.paragraphs[*done].start..stream.paragraphs[until - 1].end);
                *done = until;
            }
        };
        for (statement, place) in statements.iter().zip(places) {
            push_until(&mut context, &mut done, (*place).min(paragraphs.end));
            context.push_separator(stream);
            let start = context.text.len();
            context.text.push_str(statement);
            context.pieces.push(Piece::Made(statement.clone()));
            context.statements.push(start..context.text.len());
        }
        push_until(&mut context, &mut done, paragraphs.end);
        Some(context)
    }

    fn push_separator(&mut self, stream: &Stream) {
        if !self.text.is_empty() {
            self.text.push_str(stream.separator);
            self.pieces.push(Piece::Made(stream.separator.to_owned()));
        }
    }

    fn push_passage(&mut self, stream: &Stream, passage: Range<usize>) {
        if passage.is_empty() {
            return;
        }
        let base = self.text.len();
        self.text.push_str(&stream.text[passage.clone()]);
        let clean = stream.clean_in(&passage).iter().map(|clean| &clean.bytes);
        self.clean.extend(clean.map(|b| base + b.start - passage.start..base + b.end - passage.start));
        self.pieces.push(Piece::Passage(passage));
    }

    /// Removes the whole paragraphs whose tokens are known; returns the remaining text and the number of removed tokens.
    #[must_use]
    pub fn hollow(&self, stream: Option<&Stream>) -> (String, u64) {
        let (mut text, mut tokens) = (String::new(), 0);
        for piece in &self.pieces {
            match (piece, stream) {
                (Piece::Made(made), _) => text.push_str(made),
                (Piece::Counted(known), _) => tokens += known,
                (Piece::Passage(passage), Some(stream)) => match stream.hollow(passage) {
                    Some((left_out, known)) => {
                        text.push_str(&stream.text[passage.start..left_out.start]);
                        text.push_str(&stream.text[left_out.end..passage.end]);
                        tokens += known;
                    }
                    None => text.push_str(&stream.text[passage.clone()]),
                },
                (Piece::Passage(_), None) => {}
            }
        }
        (text, tokens)
    }

    /// The byte offset of a string that occurs exactly once.
    #[must_use]
    pub fn only(&self, what: &str) -> Option<usize> {
        let mut found = memmem::find_iter(self.text.as_bytes(), what.as_bytes());
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Whether a string occurs.
    #[must_use]
    pub fn has(&self, what: &str) -> bool {
        memmem::find(self.text.as_bytes(), what.as_bytes()).is_some()
    }

    /// Indices of the clean sentences that are followed by another clean one, separated by one space.
    #[must_use]
    pub fn neighbours(&self) -> Vec<usize> {
        let pairs = self.clean.windows(2).enumerate();
        pairs
            .filter(|(_, pair)| pair[0].end + 1 == pair[1].start && self.is_space(pair[0].end))
            .map(|(at, _)| at)
            .collect()
    }

    fn is_space(&self, at: usize) -> bool {
        self.text.as_bytes().get(at) == Some(&b' ')
    }
}
