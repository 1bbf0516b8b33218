//! Measures a tokenizer on texts: compression by language and domain, compared with other tokenizers, and faults of
//! its vocabulary.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;
use serde::Serialize;

use crate::alphabet;
use crate::encode::{Encoder, Pool};
use crate::split::words;
use crate::vocabulary::Vocabulary;

/// A text with its group: a language, a domain.
#[derive(Debug, Clone)]
pub struct Grouped {
    /// The group.
    pub group: String,
    /// The text.
    pub text: String,
}

/// Sums over the texts of a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sums {
    /// Number of texts.
    pub texts: u64,
    /// Number of characters (code points).
    pub chars: u64,
    /// Number of bytes in UTF-8.
    pub bytes: u64,
    /// Number of words, separated by white space. Languages written without spaces have few.
    pub words: u64,
    /// Number of tokens, for each tokenizer.
    pub tokens: Vec<u64>,
}

impl Sums {
    /// Bytes per token of tokenizer `at`.
    #[must_use]
    pub fn bytes_per_token(&self, at: usize) -> f64 {
        self.bytes as f64 / self.tokens[at].max(1) as f64
    }

    /// Characters per token of tokenizer `at`.
    #[must_use]
    pub fn chars_per_token(&self, at: usize) -> f64 {
        self.chars as f64 / self.tokens[at].max(1) as f64
    }

    /// Tokens per word of tokenizer `at`: its fertility.
    #[must_use]
    pub fn tokens_per_word(&self, at: usize) -> f64 {
        self.tokens[at] as f64 / self.words.max(1) as f64
    }

    fn add(&mut self, other: &Self) {
        self.texts += other.texts;
        self.chars += other.chars;
        self.bytes += other.bytes;
        self.words += other.words;
        self.tokens.resize(other.tokens.len(), 0);
        self.tokens.iter_mut().zip(&other.tokens).for_each(|(sum, more)| *sum += more);
    }
}

/// The measurements on texts.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Sums by group.
    pub groups: BTreeMap<String, Sums>,
    /// Sums over all texts.
    pub all: Sums,
    /// Number of occurrences of each token of the first tokenizer.
    pub seen: Vec<u64>,
    /// Number of texts that decoding the first tokenizer's ids does not restore byte for byte.
    pub lost: u64,
}

impl Measured {
    /// Encodes texts with each tokenizer and adds the counts. Each tokenizer has its own pool, since caches hold its
    /// ids.
    ///
    /// # Errors
    /// When a tokenizer fails.
    pub fn add(&mut self, texts: &[Grouped], tokenizers: &[(Encoder, Pool)]) -> anyhow::Result<()> {
        let mut columns = Vec::new();
        for (encoder, pool) in tokenizers {
            let ids: anyhow::Result<Vec<Vec<u32>>> = pool
                .map(texts, |grouped, scratch| {
                    let mut ids = Vec::new();
                    encoder.encode(&grouped.text, scratch, &mut ids).map(|()| ids)
                })
                .into_iter()
                .collect();
            columns.push(ids?);
        }
        for (at, grouped) in texts.iter().enumerate() {
            let text = &grouped.text;
            let sums = Sums {
                texts: 1,
                chars: text.chars().count() as u64,
                bytes: text.len() as u64,
                words: text.split_whitespace().count() as u64,
                tokens: columns.iter().map(|ids| ids[at].len() as u64).collect(),
            };
            self.all.add(&sums);
            self.groups.entry(grouped.group.clone()).or_default().add(&sums);
        }
        let Some(first) = columns.first() else { return Ok(()) };
        for (ids, grouped) in first.iter().zip(texts) {
            for &id in ids {
                if self.seen.len() <= id as usize {
                    self.seen.resize(id as usize + 1, 0);
                }
                self.seen[id as usize] += 1;
            }
            if let Some(vocabulary) = tokenizers[0].0.vocabulary() {
                self.lost += u64::from(vocabulary.decode(ids).ok().as_deref() != Some(grouped.text.as_bytes()));
            }
        }
        Ok(())
    }
}

/// Faults of a vocabulary that do not depend on texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Checked {
    /// Tokens that no text can produce: their bytes are always merged into other tokens, or are never valid UTF-8.
    pub unreachable: Vec<u32>,
    /// Whether decoding restores each byte and each pair of bytes.
    pub every_byte_comes_back: bool,
}

/// Searches for tokens that no text can produce. Merges inside a token do not depend on its neighbours, so a token
/// whose bytes encode to something else never occurs, unless it is a word and words are looked up as a whole.
#[must_use]
pub fn check(vocabulary: &Vocabulary) -> Checked {
    let encoder = Encoder::new(vocabulary.clone());
    let merged = |bytes: &[u8]| encoder.encode_bytes(bytes).unwrap_or_default();
    let is_word = |bytes: &[u8]| {
        vocabulary.ignore_merges && std::str::from_utf8(bytes).is_ok_and(|text| words(text).nth(1).is_none())
    };
    let never = |byte: &u8| matches!(byte, 0xC0 | 0xC1 | 0xF5..);
    let unreachable = vocabulary
        .tokens()
        .filter(|(id, bytes)| bytes.iter().any(never) || merged(bytes) != [*id] && !is_word(bytes))
        .map(|(id, _)| id)
        .collect();
    let comes_back = |bytes: &[u8]| vocabulary.decode(&merged(bytes)).ok().as_deref() == Some(bytes);
    let every_byte_comes_back = (0..=255u8).all(|a| comes_back(&[a]) && (0..=255u8).all(|b| comes_back(&[a, b])));
    Checked { unreachable, every_byte_comes_back }
}

/// Tokens that occurred fewer than `least` times, without unreachable ones.
#[must_use]
pub fn rare(vocabulary: &Vocabulary, measured: &Measured, checked: &Checked, least: u64) -> Vec<u32> {
    let unreachable: FxHashSet<u32> = checked.unreachable.iter().copied().collect();
    let seen = |id: u32| measured.seen.get(id as usize).copied().unwrap_or(0);
    vocabulary.tokens().map(|(id, _)| id).filter(|id| seen(*id) < least && !unreachable.contains(id)).collect()
}

/// A token for printing: its text, or its bytes if they are not valid text.
#[must_use]
pub fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => format!("{text:?}"),
        Err(_) => alphabet::written(bytes),
    }
}
