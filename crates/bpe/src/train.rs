//! Trains a vocabulary on a corpus.

use crate::corpus::WordCounts;
use crate::encode::{Encoder, Scratch};
use crate::learn::{Rules, Words, learn};
use crate::vocabulary::Vocabulary;

/// A vocabulary of `tokens` tokens, including the 256 bytes, for words with their counts. Ids and merges are those of
/// Hugging Face's `BpeTrainer` with the bytes as initial alphabet. The vocabulary is smaller if no further pair
/// occurs `least` times.
#[must_use]
pub fn train(counts: &WordCounts, tokens: usize, least: u64) -> Vocabulary {
    let mut vocabulary = Vocabulary::of_bytes();
    let ids: [u32; 256] = std::array::from_fn(|byte| vocabulary.id(&[byte as u8]).unwrap_or_default());
    let mut words = Words::default();
    let mut word_ids = Vec::new();
    for (word, count) in counts.sorted() {
        word_ids.clear();
        word_ids.extend(word.bytes().map(|byte| ids[usize::from(byte)]));
        words.push(&word_ids, count);
    }
    learn(words, &mut vocabulary, &mut Rules { tokens, least, refuse: &mut |_, _, _| false });
    vocabulary
}

/// Words as the ids of an encoder.
pub(crate) fn encoded(encoder: &Encoder, counts: &WordCounts) -> anyhow::Result<Words> {
    let mut words = Words::default();
    let (mut scratch, mut ids) = (Scratch::default(), Vec::new());
    for (word, count) in counts.sorted() {
        ids.clear();
        encoder.encode(word, &mut scratch, &mut ids)?;
        words.push(&ids, count);
    }
    Ok(words)
}
