//! The loop of byte-pair encoding: merge the most frequent pair, update the counts, repeat until the vocabulary is
//! large enough.
//!
//! Words are stored as ids with their counts. A queue holds pairs by count. When an entry with an outdated count
//! comes up, it goes back into the queue with the right count, as in Hugging Face's `BpeTrainer`. The ids and merges
//! equal those of that trainer: among pairs of equal count, the one with the lower ids comes first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::vocabulary::Vocabulary;

/// Words as ids, with their counts.
#[derive(Default)]
pub(crate) struct Words {
    ids: Vec<u32>,
    /// For each word: its start in `ids`, its current number of ids, and its count.
    words: Vec<(usize, u32, u64)>,
}

impl Words {
    /// Adds a word.
    pub fn push(&mut self, ids: &[u32], count: u64) {
        // A single token has no pair to merge.
        if ids.len() > 1 {
            self.words.push((self.ids.len(), ids.len() as u32, count));
            self.ids.extend_from_slice(ids);
        }
    }
}

/// Whether a pair must not be merged, given the two ids, the bytes of the merged token, and the number of occurrences
/// of the pair.
pub(crate) type Refuse<'a> = dyn FnMut((u32, u32), &[u8], u64) -> bool + 'a;

/// The stop criterion, and the pairs that must not be merged.
pub(crate) struct Rules<'a> {
    /// Number of tokens of the final vocabulary, without added tokens.
    pub tokens: usize,
    /// Minimum number of occurrences of a pair.
    pub least: u64,
    /// The test for pairs that must not be merged.
    pub refuse: &'a mut Refuse<'a>,
}

/// A pair that may be merged, with the words that contain it.
struct Candidate {
    count: u64,
    pair: (u32, u32),
    words: Vec<u32>,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        // The same pair can be in the queue twice, if two pairs have produced the same token; the larger half is
        // merged first.
        (self.count.cmp(&other.count))
            .then_with(|| other.pair.cmp(&self.pair))
            .then_with(|| self.words.len().cmp(&other.words.len()))
            .then_with(|| other.words.cmp(&self.words))
    }
}

/// Learns merges from words, and appends them with their tokens to the vocabulary. Returns the count of the last
/// merge, or `None` if no merge was learned.
pub(crate) fn learn(mut words: Words, vocabulary: &mut Vocabulary, rules: &mut Rules) -> Option<u64> {
    let mut counts: FxHashMap<(u32, u32), i64> = FxHashMap::default();
    let mut places: FxHashMap<(u32, u32), Vec<u32>> = FxHashMap::default();
    for (number, &(start, length, count)) in words.words.iter().enumerate() {
        for pair in words.ids[start..start + length as usize].windows(2) {
            let pair = (pair[0], pair[1]);
            *counts.entry(pair).or_default() += count as i64;
            note(&mut places, pair, number as u32);
        }
    }
    let mut queue = BinaryHeap::new();
    let push_all = |places: &mut FxHashMap<_, _>, counts: &FxHashMap<_, i64>, queue: &mut BinaryHeap<Candidate>| {
        for (pair, words) in places.drain() {
            if let Some(count) = counts.get(&pair).filter(|count| **count > 0) {
                queue.push(Candidate { count: *count as u64, pair, words });
            }
        }
    };
    push_all(&mut places, &counts, &mut queue);
    let mut refused: FxHashSet<(u32, u32)> = FxHashSet::default();
    let mut last = None;
    let mut changes = Vec::new();
    while vocabulary.len() < rules.tokens {
        let Some(mut top) = queue.pop() else { break };
        let count = counts.get(&top.pair).map_or(0, |count| (*count).max(0) as u64);
        if top.count != count {
            top.count = count;
            queue.push(top);
            continue;
        }
        if top.count < 1 || top.count < rules.least {
            break;
        }
        if refused.contains(&top.pair) {
            continue;
        }
        let part = |id| vocabulary.bytes(id).unwrap_or_default();
        let bytes = [part(top.pair.0), part(top.pair.1)].concat();
        if (rules.refuse)(top.pair, &bytes, top.count) {
            refused.insert(top.pair);
            continue;
        }
        let becomes = vocabulary.id(&bytes).unwrap_or_else(|| vocabulary.push(bytes.into()));
        vocabulary.push_merge(top.pair, becomes);
        last = Some(top.count);
        for &number in &top.words {
            let (start, length, count) = &mut words.words[number as usize];
            let word = &mut words.ids[*start..*start + *length as usize];
            *length = merge(word, top.pair, becomes, &mut changes) as u32;
            for (pair, change) in changes.drain(..) {
                *counts.entry(pair).or_default() += change * *count as i64;
                if change > 0 {
                    note(&mut places, pair, number);
                }
            }
        }
        push_all(&mut places, &counts, &mut queue);
    }
    vocabulary.settle();
    last
}

/// Records that a word contains a pair. Words come in order, each once for all its pairs.
fn note(places: &mut FxHashMap<(u32, u32), Vec<u32>>, pair: (u32, u32), number: u32) {
    let words = places.entry(pair).or_default();
    if words.last() != Some(&number) {
        words.push(number);
    }
}

/// Merges a pair in a word, from left to right. Returns the remaining number of ids, and reports the changes of pair
/// counts.
fn merge(word: &mut [u32], pair: (u32, u32), becomes: u32, changes: &mut Vec<((u32, u32), i64)>) -> usize {
    let (mut from, mut to) = (0, 0);
    while from < word.len() {
        if from + 1 < word.len() && (word[from], word[from + 1]) == pair {
            if to > 0 {
                changes.push(((word[to - 1], pair.0), -1));
                changes.push(((word[to - 1], becomes), 1));
            }
            if from + 2 < word.len() {
                changes.push(((pair.1, word[from + 2]), -1));
                changes.push(((becomes, word[from + 2]), 1));
            }
            word[to] = becomes;
            from += 2;
        } else {
            word[to] = word[from];
            from += 1;
        }
        to += 1;
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_a_word_are_counted_anew() {
        let mut changes = Vec::new();
        let mut word = [7, 1, 2, 1, 2, 8];
        assert_eq!(merge(&mut word, (1, 2), 9, &mut changes), 4);
        assert_eq!(word[..4], [7, 9, 9, 8]);
        let mut sums: FxHashMap<(u32, u32), i64> = FxHashMap::default();
        changes.iter().for_each(|(pair, change)| *sums.entry(*pair).or_default() += change);
        sums.retain(|_, sum| *sum != 0);
        let mut sums: Vec<_> = sums.into_iter().collect();
        sums.sort_unstable();
        // (1, 2) itself is merged and no longer counted.
        assert_eq!(sums, [((2, 1), -1), ((2, 8), -1), ((7, 1), -1), ((7, 9), 1), ((9, 8), 1), ((9, 9), 1)]);
    }
}
