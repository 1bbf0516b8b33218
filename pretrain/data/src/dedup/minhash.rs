//! MinHash signatures (Broder 1997) over n-grams of words, and band keys of them.
//!
//! Words are sequences of letters and digits in lower case; a character of a script without spaces (Han, Kana, Thai,
//! Lao, Khmer, Myanmar) is a separate word. The hash of an n-gram is a mixed polynomial over the hashes of its words.
//! The i-th permutation is `a_i x + b_i` modulo 2^64 with odd `a_i`, compared as signed 64-bit numbers
//! (multiply-shift: Dietzfelbinger et al. 1997; high bits count first).

use serde::{Deserialize, Serialize};

use crate::hash;

/// Shape of the signatures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinHash {
    /// Number of bands; two documents that share a band are duplicates.
    pub bands: usize,
    /// Number of rows per band.
    pub rows: usize,
    /// Number of words per n-gram.
    pub n: usize,
    /// Documents with fewer words have no signature; only exact deduplication sees them.
    pub min_words: usize,
    /// Seed of the permutations.
    pub seed: u64,
}

impl Default for MinHash {
    fn default() -> Self {
        Self { bands: 14, rows: 8, n: 5, min_words: 10, seed: 1 }
    }
}

/// The permutations of a [`MinHash`], and buffers that are reused for each text.
#[derive(Debug, Clone)]
pub struct Signer {
    shape: MinHash,
    multiply: Vec<u64>,
    add: Vec<u64>,
    signature: Vec<i64>,
    words: Vec<u64>,
}

/// Number of shingles that pass through all permutations together.
const BLOCK: usize = 64;

impl Signer {
    /// Draws the permutations from the seed.
    #[must_use]
    pub fn new(shape: &MinHash) -> Self {
        let count = shape.bands * shape.rows;
        let number = |n: usize| hash::combine(hash::seeded(shape.seed), n as u64);
        Self {
            shape: shape.clone(),
            multiply: (0..count).map(|n| number(2 * n) | 1).collect(),
            add: (0..count).map(|n| number(2 * n + 1)).collect(),
            signature: vec![i64::MAX; count],
            words: Vec::new(),
        }
    }

    /// The signature of a text, `bands * rows` numbers; `None` if it has fewer than `min_words` or `n` words.
    pub fn signature(&mut self, text: &str) -> Option<&[i64]> {
        self.words.clear();
        words(text, &mut self.words);
        let n = self.shape.n;
        if self.words.len() < self.shape.min_words.max(n) {
            return None;
        }
        self.signature.fill(i64::MAX);
        let power = (0..n).fold(1_u64, |power, _| power.wrapping_mul(BASE));
        let mut state = 0_u64;
        let mut block = [0_u64; BLOCK];
        let mut filled = 0;
        for (at, word) in self.words.iter().enumerate() {
            state = state.wrapping_mul(BASE).wrapping_add(*word);
            if at >= n {
                state = state.wrapping_sub(self.words[at - n].wrapping_mul(power));
            }
            if at + 1 >= n {
                block[filled] = hash::fold(state ^ 0x2545_f491_4f6c_dd1d, 0x9e37_79b9_7f4a_7c15);
                filled += 1;
                if filled == BLOCK {
                    lower(&mut self.signature, &self.multiply, &self.add, &block);
                    filled = 0;
                }
            }
        }
        // The rest of the block repeats a shingle, which does not change any minimum.
        if filled > 0 {
            let first = block[0];
            block[filled..].fill(first);
            lower(&mut self.signature, &self.multiply, &self.add, &block);
        }
        Some(&self.signature)
    }

    /// A key for each band: documents of one `group` (a language) that share a key are candidates. `None` as in
    /// [`Signer::signature`].
    pub fn bands(&mut self, text: &str, group: u64) -> Option<Vec<u64>> {
        let rows = self.shape.rows;
        let signature = self.signature(text)?;
        let key = |(band, rows): (usize, &[i64])| {
            rows.iter().fold(hash::combine(group, band as u64), |state, row| hash::combine(state, row.cast_unsigned()))
        };
        Some(signature.chunks_exact(rows).enumerate().map(key).collect())
    }
}

const BASE: u64 = 0x9e6c_63d0_676a_9a99;

/// Updates every minimum with a block of shingles.
fn lower(signature: &mut [i64], multiply: &[u64], add: &[u64], block: &[u64; BLOCK]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU has these instructions.
        return unsafe { lower_wide(signature, multiply, add, block) };
    }
    lower_plain(signature, multiply, add, block);
}

/// [`lower_plain`], compiled for wider vectors.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn lower_wide(signature: &mut [i64], multiply: &[u64], add: &[u64], block: &[u64; BLOCK]) {
    lower_plain(signature, multiply, add, block);
}

/// Eight minima side by side, so that the compiler can vectorise. Hashes are compared as signed numbers, which vector
/// instructions support; any fixed order is valid.
#[inline(always)]
fn lower_plain(signature: &mut [i64], multiply: &[u64], add: &[u64], block: &[u64; BLOCK]) {
    for ((least, a), b) in signature.iter_mut().zip(multiply).zip(add) {
        let mut lanes = [i64::MAX; 8];
        for shingles in block.as_chunks::<8>().0 {
            for (lane, shingle) in lanes.iter_mut().zip(shingles) {
                *lane = (*lane).min(a.wrapping_mul(*shingle).wrapping_add(*b).cast_signed());
            }
        }
        *least = lanes.into_iter().fold(*least, i64::min);
    }
}

/// Hashes of the words of a text, in order.
pub fn words(text: &str, out: &mut Vec<u64>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut state = START;
    let mut open = false;
    while at < bytes.len() {
        let byte = bytes[at];
        if byte < 128 {
            let class = LETTER[byte as usize];
            if class != 0 {
                state = (state ^ u64::from(class)).wrapping_mul(STEP);
                open = true;
            } else if open {
                out.push(finished(state));
                (state, open) = (START, false);
            }
            at += 1;
            continue;
        }
        let Some(c) = text[at..].chars().next() else { break };
        at += c.len_utf8();
        if stands_alone(c) {
            if open {
                out.push(finished(state));
            }
            out.push(finished((START ^ u64::from(c as u32)).wrapping_mul(STEP)));
            (state, open) = (START, false);
        } else if c.is_alphanumeric() || (open && is_mark(c)) {
            for lower in c.to_lowercase() {
                state = (state ^ u64::from(lower as u32)).wrapping_mul(STEP);
            }
            open = true;
        } else if open {
            out.push(finished(state));
            (state, open) = (START, false);
        }
    }
    if open {
        out.push(finished(state));
    }
}

// FNV-1a over code points, with a final mix.
const START: u64 = 0xcbf2_9ce4_8422_2325;
const STEP: u64 = 0x0000_0100_0000_01b3;

#[inline]
fn finished(state: u64) -> u64 {
    hash::fold(state, 0xd6e8_feb8_6659_fd93)
}

/// For each ASCII character: its lower case if it is a letter or digit, else 0.
static LETTER: [u8; 128] = {
    let mut table = [0; 128];
    let mut at = 0;
    while at < 128 {
        let byte = at as u8;
        if byte.is_ascii_alphanumeric() {
            table[at] = byte.to_ascii_lowercase();
        }
        at += 1;
    }
    table
};

/// Characters of scripts without spaces between words.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}' | '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}')
        && c.is_alphanumeric()
}

/// Combining marks continue a word.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{93a}'..='\u{94f}' | '\u{64b}'..='\u{65f}')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dedup::curve;
    use crate::made::{Draw, word};

    fn hashes(text: &str) -> Vec<u64> {
        let mut out = Vec::new();
        words(text, &mut out);
        out
    }

    #[test]
    fn words_are_the_same_whatever_their_case_and_signs() {
        assert_eq!(hashes("Hello, WORLD! 42"), hashes("hello world (42)"));
        assert_ne!(hashes("hello world"), hashes("helloworld"));
        assert_eq!(hashes("Straße ÉTÉ"), hashes("straße été"));
        assert_eq!(hashes("日本語 text").len(), 4);
        assert_eq!(hashes("हिन्दी में").len(), 2);
        assert_eq!(hashes("...").len(), 0);
    }

    #[test]
    fn short_documents_have_no_signature() {
        let mut signer = Signer::new(&MinHash::default());
        assert!(signer.bands("one two three", 0).is_none());
        let text = "one two three four five six seven eight nine ten";
        let (first, again) = (signer.bands(text, 0), signer.bands(text, 0));
        assert!(first == again && first.as_ref().unwrap().len() == 14);
        assert_ne!(first, signer.bands(text, 1), "another language has other keys");
    }

    /// Two lists of words whose sets of 5-grams have a Jaccard similarity of about `s`, and their exact similarity.
    fn pair(draw: &mut Draw, s: f64) -> (String, String, f64) {
        let all = 600;
        let texts: Vec<String> = (0..all).map(|_| word(draw.below(1_000_000))).collect();
        // Changing a share c of the words in one part changes 5 n-grams each: single changes are made until J fits.
        let mut other = texts.clone();
        let grams = |words: &[String]| words.windows(5).map(|w| w.join(" ")).collect::<HashSet<_>>();
        let first = grams(&texts);
        let similarity = |other: &[String]| {
            let second = grams(other);
            first.intersection(&second).count() as f64 / first.union(&second).count() as f64
        };
        // Most of the changes are made without measuring: k changes leave about (n - 5k) / (n + 5k).
        let few = (all as f64 * (1.0 - s) / (1.0 + s) / 5.0) as usize * 4 / 5;
        for _ in 0..few {
            other[draw.below(all)] = word(2_000_000 + draw.below(1_000_000));
        }
        let mut now = similarity(&other);
        while now > s {
            other[draw.below(all)] = word(2_000_000 + draw.below(1_000_000));
            now = similarity(&other);
        }
        (texts.join(" "), other.join(" "), now)
    }

    #[test]
    fn recall_is_the_theorys_curve() {
        let mut signer = Signer::new(&MinHash::default());
        for (s, pairs) in [(0.6, 700), (0.75, 700), (0.85, 500)] {
            let mut draw = Draw::new(5, (s * 100.0) as u64);
            let (mut found, mut expected, mut agree) = (0.0, 0.0, 0.0);
            for _ in 0..pairs {
                let (one, other, exact) = pair(&mut draw, s);
                let first = signer.signature(&one).unwrap().to_vec();
                let second = signer.signature(&other).unwrap();
                agree += first.iter().zip(second).filter(|(a, b)| a == b).count() as f64 / 112.0 - exact;
                let (a, b) = (signer.bands(&one, 0).unwrap(), signer.bands(&other, 0).unwrap());
                found += f64::from(u8::from(a.iter().zip(&b).any(|(a, b)| a == b)));
                expected += curve::probability(exact, 14, 8);
            }
            let (found, expected) = (found / f64::from(pairs), expected / f64::from(pairs));
            println!(
                "J {s}: found {found:.4}, theory {expected:.4}, mean error of the estimate {:.5}",
                agree / f64::from(pairs)
            );
            // Three standard deviations of the sample, plus the allowed 2 points.
            let noise = 3.0 * (expected * (1.0 - expected) / f64::from(pairs)).sqrt();
            assert!((found - expected).abs() < 0.02 + noise, "J {s}: found {found}, theory {expected}");
            assert!((agree / f64::from(pairs)).abs() < 0.01);
        }
    }
}
