//! Extends a vocabulary by further merges in other languages, as Llama 3 extended 100K tokens by 28K (The Llama 3
//! Herd of Models, section 3.2), with unchanged English ids.
//!
//! New merges come after the old ones, so a text changes only if a new merge applies to the result of the old ones in
//! one of its words. Two rules prevent that for English:
//!
//! 1. The bytes of a new token start at the first byte of a character, and contain a character, or the start of one,
//!    that is not used in English ([`is_english`]). Merges join only adjacent tokens, so no new token can occur in
//!    any text of only such characters.
//! 2. A pair of tokens that are adjacent in a word of the texts to keep is never merged, and no word of these texts
//!    becomes a token. This also covers texts that rule 1 does not, such as a name with letters of another language.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::corpus::WordCounts;
use crate::encode::{Encoder, Scratch};
use crate::learn::{Rules, learn};
use crate::train::encoded;
use crate::vocabulary::Vocabulary;

/// The result of an extension.
#[derive(Debug, Default)]
pub struct Extended {
    /// The vocabulary.
    pub vocabulary: Vocabulary,
    /// Number of new tokens.
    pub new: usize,
    /// Number of occurrences of the pair of the last merge.
    pub last_count: Option<u64>,
    /// Number of pairs that rule 1 refused.
    pub english: u64,
    /// Pairs that rule 2 refused: their bytes and number of occurrences, most frequent first.
    pub kept: Vec<(Vec<u8>, u64)>,
}

/// Whether every character of a text with these bytes is used in English: ASCII, the punctuation of Latin-1 (U+0080
/// to U+00BF), punctuation, signs, arrows and formulas (U+2000 to U+2FFF), pictographs (U+1F000 to U+1FFFF). The last
/// character may be incomplete; bytes that start inside a character count as English.
#[must_use]
pub fn is_english(bytes: &[u8]) -> bool {
    if bytes.first().is_some_and(|first| first & 0xC0 == 0x80) {
        return true;
    }
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        // ASCII, and the continuation bytes of a character.
        0..0xC0 => true,
        0xC2 | 0xE2 => true,
        0xF0 => bytes.get(at + 1).is_none_or(|next| *next == 0x9F),
        _ => false,
    })
}

/// Extends `base` to `tokens` tokens (without added tokens) by merges that are frequent in `counts`. Texts of only
/// [`is_english`] characters, and texts whose words are all in `keep`, keep their ids.
///
/// # Errors
/// When a word cannot be encoded, which cannot happen with a valid [`Vocabulary`].
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
        // Parts of characters: of “, of д, of 🙂, of 𠀀, and the second half of a character.
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
