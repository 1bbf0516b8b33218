//! A vocabulary extended by further merges in other languages, as Llama 3 extended 100K tokens by 28K (The Llama 3 Herd of
//! Models, section 3.2), with English ids unchanged.
//!
//! New merges come behind the old ones, so a text changes only when one of them applies to what the old ones left of a word.
//! Two rules keep English from that:
//!
//! 1. What a new token stands for begins at a character's first byte and holds a character, or the beginning of one, that
//!    English is not written with ([`is_english`]). Merges only join what stands side by side, so no new token can come up
//!    in a text of such characters alone, whatever text that is.
//! 2. A pair of tokens that stand side by side in a word of the texts to keep is never merged, and no word of theirs becomes
//!    a token. This keeps also what rule 1 does not know of: a name with letters of another language, say.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::corpus::WordCounts;
use crate::encode::{Encoder, Scratch};
use crate::learn::{Rules, learn};
use crate::train::encoded;
use crate::vocabulary::Vocabulary;

/// What the extension did.
#[derive(Debug, Default)]
pub struct Extended {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// New tokens.
    pub new: usize,
    /// How often the pair of the last merge occurred.
    pub last_count: Option<u64>,
    /// Pairs that rule 1 refused.
    pub english: u64,
    /// Pairs that rule 2 refused: what they stand for and how often they occurred, most frequent first.
    pub kept: Vec<(Vec<u8>, u64)>,
}

/// Whether every character of a text that has these bytes is one that English is written with: ASCII, the punctuation of
/// Latin-1 (U+0080 to U+00BF), and punctuation, signs, arrows and formulas (U+2000 to U+2FFF), pictographs (U+1F000 to
/// U+1FFFF). The last character may be cut off; bytes that begin inside a character count as English.
#[must_use]
pub fn is_english(bytes: &[u8]) -> bool {
    if bytes.first().is_some_and(|first| first & 0xC0 == 0x80) {
        return true;
    }
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        // ASCII, and the further bytes of a character.
        0..0xC0 => true,
        0xC2 | 0xE2 => true,
        0xF0 => bytes.get(at + 1).is_none_or(|next| *next == 0x9F),
        _ => false,
    })
}

/// Extends `base` to `tokens` tokens (added tokens not counted) by merges that are frequent in `counts`. Texts of characters
/// of [`is_english`], and texts whose words are all in `keep`, have the ids that they had.
///
/// # Errors
/// Only when a word cannot be encoded, which a [`Vocabulary`] cannot give.
pub fn extend(
    base: &Vocabulary,
    counts: &WordCounts,
    keep: &WordCounts,
    tokens: usize,
    least: u64,
) -> anyhow::Result<Extended> {
    let encoder = Encoder::new(base.clone());
    let words = encoded(&encoder, counts)?;
    let mut side_by_side: FxHashSet<(u32, u32)> = FxHashSet::default();
    let (mut scratch, mut ids) = (Scratch::default(), Vec::new());
    for (word, _) in keep.sorted() {
        ids.clear();
        encoder.encode(word, &mut scratch, &mut ids)?;
        side_by_side.extend(ids.windows(2).map(|pair| (pair[0], pair[1])));
    }
    let mut made = Extended { vocabulary: base.clone(), ..Extended::default() };
    let mut kept: FxHashMap<Vec<u8>, u64> = FxHashMap::default();
    let ignore_merges = base.ignore_merges;
    let mut refuse = |pair: (u32, u32), bytes: &[u8], count: u64| {
        if is_english(bytes) {
            made.english += 1;
            return true;
        }
        let is_word = || ignore_merges && std::str::from_utf8(bytes).is_ok_and(|word| keep.contains(word));
        let refused = side_by_side.contains(&pair) || is_word();
        if refused {
            *kept.entry(bytes.to_vec()).or_default() += count;
        }
        refused
    };
    made.last_count = learn(words, &mut made.vocabulary, &mut Rules { tokens, least, refuse: &mut refuse });
    made.new = made.vocabulary.len() - base.len();
    made.kept = kept.into_iter().collect();
    made.kept.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_of_english() {
        for text in ["", "plain", " “quoted” — it’s £5 ± 2%", "🙂", "∑ ≤ →", "\u{a0}"] {
            assert!(is_english(text.as_bytes()), "{text}");
        }
        for text in ["é", " naïve", "日", "’е", "Б", "𠀀"] {
            assert!(!is_english(text.as_bytes()), "{text}");
        }
        // Parts of characters: of “, of д, of 🙂, of 𠀀, and the second half of something.
        let parts: [(&[u8], bool); 7] = [
            (&[0xE2, 0x80], true),
            (&[b' ', 0xF0], true),
            (&[0xD0], false),
            (&[0xF0, 0x9F], true),
            (&[0xF0, 0xA0], false),
            (&[0x80, 0x99], true),
            (&[0x80, 0xD0], true),
        ];
        parts.iter().for_each(|(bytes, english)| assert_eq!(is_english(bytes), *english, "{bytes:x?}"));
    }
}
