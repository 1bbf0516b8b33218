//! Gopher's repetition rules (Rae et al. 2021, table A1): repeated lines, paragraphs and n-grams within a document.

use serde::{Deserialize, Serialize};

use super::view::{chars, duplicates, share, split_runs, strip};
use super::{Filter, Outcome, Rules, View};
use crate::hash;

/// The rules and their thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GopherRepetition {
    /// Maximum share of repeated paragraphs.
    pub max_paragraphs: f64,
    /// Maximum share of the characters that are in repeated paragraphs.
    pub max_paragraph_chars: f64,
    /// Maximum share of repeated lines.
    pub max_lines: f64,
    /// Maximum share of the characters that are in repeated lines.
    pub max_line_chars: f64,
    /// For each length of the most frequent n-gram: the maximum share of the characters in its occurrences.
    pub top: Vec<(usize, f64)>,
    /// For each length of repeated n-grams: the maximum share of the characters in repetitions.
    pub duplicated: Vec<(usize, f64)>,
    /// Rules that are switched off.
    pub without: Vec<String>,
}

impl Default for GopherRepetition {
    fn default() -> Self {
        Self {
            max_paragraphs: 0.3,
            max_paragraph_chars: 0.2,
            max_lines: 0.3,
            max_line_chars: 0.2,
            top: vec![(2, 0.2), (3, 0.18), (4, 0.16)],
            duplicated: vec![(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)],
            without: Vec::new(),
        }
    }
}

impl Filter for GopherRepetition {
    fn rules(&self) -> Vec<String> {
        let fixed = ["empty", "dup_para_frac", "dup_para_char_frac", "dup_line_frac", "dup_line_char_frac"];
        let top = self.top.iter().map(|(n, _)| format!("top_{n}_gram"));
        let duplicated = self.duplicated.iter().map(|(n, _)| format!("duplicated_{n}_n_grams"));
        fixed.into_iter().map(str::to_owned).chain(top).chain(duplicated).collect()
    }

    fn without(&self) -> &[String] {
        &self.without
    }

    fn judge(&self, view: &View) -> Outcome {
        let text = view.text();
        let all = view.chars();
        let mut rules = Rules::new(&self.without);
        rules.at_least("empty", 1.0, || all as f64);
        let paragraphs = split_runs(strip(text), 2);
        let (count, length) = duplicates(&paragraphs);
        rules.at_most("dup_para_frac", self.max_paragraphs, || share(count, paragraphs.len()));
        rules.at_most("dup_para_char_frac", self.max_paragraph_chars, || share(length, all));
        let lines = split_runs(text, 1);
        let (count, length) = duplicates(&lines);
        rules.at_most("dup_line_frac", self.max_lines, || share(count, lines.len()));
        rules.at_most("dup_line_char_frac", self.max_line_chars, || share(length, all));
        if rules.wants("") {
            let grams = Grams::new(view);
            for (n, limit) in &self.top {
                if grams.words() >= *n {
                    rules.at_most(&format!("top_{n}_gram"), *limit, || share(grams.top(*n), all));
                }
            }
            for (n, limit) in &self.duplicated {
                rules.at_most(&format!("duplicated_{n}_n_grams"), *limit, || share(grams.repeated(*n), all));
            }
        }
        rules.finish()
    }
}

/// Words of a text as hashes, with prefix sums from which the hashes of n-grams are computed.
struct Grams {
    /// Number of characters before each word.
    length: Vec<usize>,
    /// Polynomial hash of the words before each word, modulo 2^61 - 1.
    prefix: Vec<u64>,
}

const PRIME: u64 = (1 << 61) - 1;
const BASE: u64 = 0x1357_9bdf_0246_8ace % PRIME;

fn multiply(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let sum = (product as u64 & PRIME) + (product >> 61) as u64;
    if sum >= PRIME { sum - PRIME } else { sum }
}

impl Grams {
    fn new(view: &View) -> Self {
        let count = view.word_count() + 1;
        let mut grams = Self { length: Vec::with_capacity(count), prefix: Vec::with_capacity(count) };
        let (mut length, mut prefix) = (0, 0);
        grams.length.push(0);
        grams.prefix.push(0);
        for word in view.words() {
            length += if word.is_ascii() { word.len() } else { chars(word) };
            prefix = (multiply(prefix, BASE) + hash::bytes(word.as_bytes()) % PRIME) % PRIME;
            grams.length.push(length);
            grams.prefix.push(prefix);
        }
        grams
    }

    fn words(&self) -> usize {
        self.prefix.len() - 1
    }

    /// Keys of all n-grams, in order.
    fn keys(&self, n: usize) -> impl Iterator<Item = u64> + '_ {
        let power = (0..n).fold(1, |power, _| multiply(power, BASE));
        let key = move |(before, after): (&u64, &u64)| {
            hash::fold((after + PRIME - multiply(*before, power)) % PRIME, BASE | 1)
        };
        self.prefix.iter().zip(&self.prefix[n.min(self.prefix.len())..]).map(key)
    }

    /// Number of characters in all occurrences of the most frequent n-gram, with the words joined by a space. If
    /// several are equally frequent, the first one counts.
    fn top(&self, n: usize) -> usize {
        let mut counts: hash::Map<(usize, usize)> = hash::Map::default();
        for (at, key) in self.keys(n).enumerate() {
            counts.entry(key).or_insert((0, at)).0 += 1;
        }
        let best = counts.into_values().max_by_key(|(count, at)| (*count, std::cmp::Reverse(*at)));
        best.map_or(0, |(count, at)| count * (self.length[at + n] - self.length[at] + n - 1))
    }

    /// Number of characters in n-grams that occurred before; after a repeated one, the search continues after its
    /// end.
    fn repeated(&self, n: usize) -> usize {
        let mut seen = hash::Set::default();
        let (mut next, mut length) = (0, 0);
        for (at, key) in self.keys(n).enumerate() {
            if at >= next && !seen.insert(key) {
                length += self.length[at + n] - self.length[at];
                next = at + n;
            }
        }
        length
    }

    /// Share of the characters in n-grams that occur more than once; every character counts once.
    fn covered(&self, n: usize) -> f64 {
        let mut counts: hash::Map<u32> = hash::Map::default();
        for key in self.keys(n) {
            *counts.entry(key).or_default() += 1;
        }
        let (mut covered, mut until) = (0, 0);
        for (at, key) in self.keys(n).enumerate() {
            if counts[&key] > 1 {
                covered += self.length[at + n] - self.length[until.max(at)];
                until = at + n;
            }
        }
        share(covered, *self.length.last().unwrap_or(&0))
    }
}

/// Share of a text's letters (its words without white space) in n-grams of words that occur more than once.
pub(super) fn coverage(view: &View, n: usize) -> f64 {
    Grams::new(view).covered(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let view = View::new("a b c a b c a b d");
        let grams = Grams::new(&view);
        // "a b" three times, 3 characters each.
        assert_eq!(grams.top(2), 9);
        // "a b c" repeats once, directly after itself: 3 letters; the search continues at "a b d".
        assert_eq!(grams.repeated(3), 3);
        // "a b c", "b c a" and "c a b" occur twice and cover all but "d".
        assert!((grams.covered(3) - 8.0 / 9.0).abs() < 1e-12);
        assert_eq!((grams.covered(9), grams.covered(20)), (0.0, 0.0));
        let failed = |text: &str| {
            let outcome = GopherRepetition::default().judge(&View::new(text));
            outcome.failed().map(|f| (f.rule.clone(), f.value))
        };
        assert_eq!(failed(""), Some(("empty".into(), 0.0)));
        assert_eq!(failed("x\n\nx"), Some(("dup_para_frac".into(), 0.5)));
        assert_eq!(failed("one two one two one two 3 4 5 6 7 8 9").unwrap().0, "top_2_gram");
    }
}
