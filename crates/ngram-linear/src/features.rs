//! Features of texts: n-grams of words and of the characters of words, hashed.
//!
//! There are two families, each scaled to length 1 after weighting: words and word pairs; and runs of 3 to 5 characters within a word and
//! the spaces around it. The second family covers unknown words, and languages without spaces.

use text_quality::normal::hash;

/// Number of bits of a bucket's index.
const BITS: u32 = 20;
/// Lengths of character runs.
const RUNS: std::ops::RangeInclusive<usize> = 3..=5;
/// The buckets of each family with their weighted counts (`1 + ln count`), in ascending order. No bucket is in both families.
#[must_use]
pub fn buckets(words: &[String]) -> [Vec<(u32, f32)>; 2] {
    let mut grams: [Vec<u32>; 2] = [word_grams(words), Vec::new()];
    for word in words {
        let characters: Vec<char> = format!(" {word} ").chars().collect();
        for length in RUNS {
            for run in characters.windows(length) {
                grams[1].push(bucket(1, &run.iter().collect::<String>()));
            }
        }
    }
    grams.map(counted)
}

/// Only the first family of [`buckets`]: words and word pairs. Many times faster than both.
#[must_use]
pub fn word_buckets(words: &[String]) -> [Vec<(u32, f32)>; 1] {
    [counted(word_grams(words))]
}

fn word_grams(words: &[String]) -> Vec<u32> {
    let mut grams = Vec::with_capacity(2 * words.len());
    for (at, word) in words.iter().enumerate() {
        grams.push(bucket(0, word));
        if let Some(next) = words.get(at + 1) {
            grams.push(bucket(0, &format!("{word} {next}")));
        }
    }
    grams
}

fn counted(mut all: Vec<u32>) -> Vec<(u32, f32)> {
    all.sort_unstable();
    let weighed = |count: usize| 1.0 + (count as f32).ln();
    all.chunk_by(|a, b| a == b).map(|same| (same[0], weighed(same.len()))).collect()
}

/// The highest bit of a bucket is its family.
fn bucket(family: u32, gram: &str) -> u32 {
    // FNV mixes the high bits of short texts badly.
    let mixed = hash(gram).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (family << (BITS - 1)) | (mixed >> (64 - BITS + 1)) as u32
}

/// The words of a text in lower case; characters that are neither letters nor digits are separate words.
#[must_use]
pub fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars().map(|c| if matches!(c, '\u{2018}' | '\u{2019}') { '\'' } else { c }) {
        if c.is_alphanumeric() || c == '\'' && !word.is_empty() {
            word.extend(c.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if !c.is_whitespace() {
            words.push(c.to_string());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_signs() {
        assert_eq!(words("Don’t SAY 12.5%!"), ["don't", "say", "12", ".", "5", "%", "!"]);
        let [grams, runs] = buckets(&words("no no"));
        // "no" twice, "no no" once; " no", "no ", " no " twice each.
        assert_eq!((grams.len(), runs.len()), (2, 3));
        assert!(runs.iter().all(|(bucket, count)| bucket >> (BITS - 1) == 1 && *count > 1.69));
        assert!(grams.iter().all(|(bucket, _)| bucket >> (BITS - 1) == 0));
        assert_eq!(buckets(&[]), [vec![], vec![]]);
        assert_eq!(word_buckets(&words("no no")), [grams]);
    }
}
