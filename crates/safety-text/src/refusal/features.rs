//! Features of an answer: hashed n-grams of words.
//!
//! There are three families: single words and pairs of the whole answer; n-grams of 1 to 3 words of its start, where most
//! refusals are stated; and n-grams of its end, where many refusals that begin with sympathy are stated. A word is a
//! lower-cased run of letters with its apostrophes. A run of digits counts as one word, and every other character that is not
//! white space is a word.

/// Number of bits of a bucket's index.
pub(super) const BITS: u32 = 16;
/// Number of words of an answer that are read. Later words do not show whether it refuses.
const WORDS: usize = 600;
/// Number of words of the start.
const HEAD: usize = 40;
/// Number of words of the end.
const TAIL: usize = 25;

/// The buckets with their weighted counts, in ascending order.
pub(super) fn buckets(answer: &str) -> Vec<(u16, f32)> {
    let words = words(answer);
    let mut all: Vec<u16> = Vec::with_capacity(words.len() * 2 + HEAD * 3 + TAIL * 2);
    grams(b'w', &words, 2, &mut all);
    grams(b'h', &words[..words.len().min(HEAD)], 3, &mut all);
    grams(b't', &words[words.len().saturating_sub(TAIL)..], 2, &mut all);
    all.sort_unstable();
    // Repetitions add little information: the weight is 1 + ln(count).
    let weighed = |count: usize| if count == 1 { 1.0 } else { 1.0 + (count as f32).ln() };
    let mut counts = Vec::with_capacity(all.len());
    counts.extend(all.chunk_by(|one, other| one == other).map(|same| (same[0], weighed(same.len()))));
    counts
}

/// Adds the buckets of all n-grams of 1 to `longest` words.
fn grams(family: u8, words: &[u64], longest: usize, all: &mut Vec<u16>) {
    for start in 0..words.len() {
        let mut hash = mix(u64::from(family));
        for word in words[start..].iter().take(longest) {
            hash = mix(hash ^ word);
            all.push((hash >> (64 - BITS)) as u16);
        }
    }
}

/// The hashes of the first words of an answer.
fn words(answer: &str) -> Vec<u64> {
    let mut words = Vec::with_capacity(128);
    let mut chars = answer.chars().map(straight).peekable();
    while words.len() < WORDS {
        let Some(first) = chars.next() else { break };
        if first.is_whitespace() {
            continue;
        }
        let mut hash = Fnv::new();
        if first.is_alphabetic() {
            hash.lower(first);
            while let Some(&next) = chars.peek() {
                // `can't`: an apostrophe within a word.
                if !(next.is_alphabetic() || next == '\'') {
                    break;
                }
                hash.lower(next);
                chars.next();
            }
        } else if first.is_numeric() {
            hash.add('0');
            while chars.next_if(|next| next.is_numeric()).is_some() {}
        } else {
            hash.add(first);
        }
        words.push(hash.0);
    }
    words
}

/// Replaces curly quotation marks by straight ones.
fn straight(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{02BC}' => '\'',
        '\u{201C}' | '\u{201D}' => '"',
        c => c,
    }
}

/// FNV-1a over code points (Fowler, Noll, Vo).
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, c: char) {
        self.0 = (self.0 ^ u64::from(u32::from(c))).wrapping_mul(0x0100_0000_01b3);
    }

    fn lower(&mut self, c: char) {
        if c.is_ascii() {
            self.add(c.to_ascii_lowercase());
        } else {
            c.to_lowercase().for_each(|c| self.add(c));
        }
    }
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014).
fn mix(mut hash: u64) -> u64 {
    hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_letters_with_apostrophes_numbers_and_marks() {
        assert_eq!(words("I can’t, 12 SAY").len(), 5);
        assert_eq!(words("I can’t"), words("i  CAN'T\n"));
        assert_eq!(words("7 9000"), words("12 3"));
        assert_ne!(words("cannot"), words("can not"));
        assert_eq!(words(&"word ".repeat(5000)).len(), WORDS);
    }

    #[test]
    fn families_do_not_share_buckets_by_name() {
        // One word gives three buckets: for the whole, the start and the end.
        assert_eq!(buckets("no").len(), 3);
        assert_eq!(buckets(""), []);
        let twice = buckets("no no");
        assert!(twice.iter().any(|(_, count)| (count - (1.0 + 2f32.ln())).abs() < 1e-6));
        assert!(twice.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
