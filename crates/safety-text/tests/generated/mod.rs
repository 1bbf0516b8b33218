//! Generates documents with marked personal data and with numbers that only look like it. Values follow the numbering plans and
//! standards. Check digits are computed here by division or by trying all values, never with the filter's own code.

mod entities;
mod identity;
mod lookalikes;
mod prose;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub type Random = ChaCha8Rng;

/// A part of a document that is personal data.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    pub start: usize,
    pub end: usize,
    pub kind: &'static str,
    /// Name of the generated form, such as `de-bare`, for the report.
    pub made: &'static str,
}

pub struct Document {
    pub text: String,
    pub entities: Vec<Entity>,
}

/// A piece of a document: text, with personal data in it if there is any.
pub struct Piece {
    pub before: String,
    /// The data: its kind, the generated form, and its text.
    pub data: Option<(&'static str, &'static str, String)>,
    pub after: String,
}

/// Documents of 3 to 9 sentences: prose, personal data and look-alikes in several languages and scripts.
pub fn documents(seed: u64, count: usize) -> Vec<Document> {
    let mut random = Random::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let mut document = Document { text: String::new(), entities: Vec::new() };
            for _ in 0..random.random_range(3..10) {
                let piece = match random.random_range(0..10) {
                    0..2 => Piece { before: prose::sentence(&mut random), data: None, after: String::new() },
                    2..5 => lookalikes::piece(&mut random),
                    _ => entities::piece(&mut random),
                };
                document.text += &piece.before;
                if let Some((kind, made, text)) = piece.data {
                    let start = document.text.len();
                    document.text += &text;
                    document.entities.push(Entity { start, end: document.text.len(), kind, made });
                }
                document.text += &piece.after;
                document.text += ["  ", " ", "\n", "\n\n", "\n- "][random.random_range(0..5)];
            }
            document
        })
        .collect()
}

pub fn pick<'a, T: ?Sized>(random: &mut Random, all: &[&'a T]) -> &'a T {
    all[random.random_range(0..all.len())]
}

/// Fills a form: `#` is any digit, `¹` 1 to 9, `²` 2 to 9, `§` a capital letter, `¤` a hexadecimal digit; other characters
/// stay.
pub fn fill(random: &mut Random, form: &str) -> String {
    form.chars()
        .map(|c| match c {
            '#' => char::from(b'0' + random.random_range(0..10)),
            '¹' => char::from(b'0' + random.random_range(1..10)),
            '²' => char::from(b'0' + random.random_range(2..10)),
            '§' => char::from(b'A' + random.random_range(0..26)),
            '¤' => char::from(b"0123456789abcdef"[random.random_range(0..16)]),
            c => c,
        })
        .collect()
}

/// Splits a text into groups of these lengths.
pub fn group(text: &str, lengths: &[usize], separator: &str) -> String {
    let (mut parts, mut rest) = (Vec::new(), text);
    for &length in lengths {
        let (part, tail) = rest.split_at(length.min(rest.len()));
        parts.push(part);
        rest = tail;
    }
    if !rest.is_empty() {
        parts.push(rest);
    }
    parts.retain(|part| !part.is_empty());
    parts.join(separator)
}
