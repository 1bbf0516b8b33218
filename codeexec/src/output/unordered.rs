//! Compares the parts of two outputs, lines or words, in any order.
//!
//! The outputs agree if there is a perfect matching: a pairing in which every part has one partner of its own that it
//! equals. With a tolerance, two parts that equal a third one need not equal each other, so sorting alone does not find
//! such a pairing. The parts are sorted by their numbers and paired, which leaves few parts without a partner. For each of
//! these, a search for an augmenting path changes the other pairs; if there is no such path, there is no perfect matching
//! (Berge 1957).

use std::ops::Range;

use super::{Rule, number, same_value};

/// Maximum number of pairs of parts that one comparison tries, which takes about a second. Outputs for which the
/// search needs more count as different.
const MOST_PAIRS: usize = 20_000_000;

/// A line or a word.
struct Part<'t> {
    text: &'t str,
    /// The text with `0` in place of each number. A part equals only parts of its own shape.
    shape: String,
    /// The numbers as written, with their values.
    numbers: Vec<(&'t str, f64)>,
}

impl<'t> Part<'t> {
    fn new(text: &'t str) -> Self {
        let (mut shape, mut numbers) = (String::with_capacity(text.len()), Vec::new());
        for piece in text.split_inclusive(char::is_whitespace) {
            let word = piece.trim_end();
            match number(word) {
                Some(value) => {
                    numbers.push((word, value));
                    shape.push('0');
                }
                None => shape.push_str(word),
            }
            shape.push_str(&piece[word.len()..]);
        }
        Self { text, shape, numbers }
    }

    /// Whether a part equals an expected one of the same shape.
    fn equals(&self, expected: &Self, rule: &Rule) -> bool {
        let mut pairs = self.numbers.iter().zip(&expected.numbers);
        pairs.all(|((got, g), (expected, e))| got == expected || same_value(got, *g, expected, *e, rule))
    }

    fn first(&self) -> f64 {
        self.numbers.first().map_or(0.0, |(_, value)| *value)
    }
}

/// The parts by shape, then by their numbers.
fn sorted<'t>(texts: &[&'t str]) -> Vec<Part<'t>> {
    let mut parts: Vec<Part<'t>> = texts.iter().map(|text| Part::new(text)).collect();
    parts.sort_unstable_by(|one, other| {
        let numbers = one.numbers.iter().zip(&other.numbers).map(|((_, a), (_, b))| a.total_cmp(b));
        let numbers = || numbers.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then);
        one.shape.cmp(&other.shape).then_with(numbers).then_with(|| one.text.cmp(other.text))
    });
    parts
}

/// A part of the output for which there is no partner, and an expected part that is free; `None` if the outputs agree.
/// Both have the same number of parts.
pub(super) fn unmatched<'t>(got: &[&'t str], expected: &[&'t str], rule: &Rule) -> Option<(&'t str, &'t str)> {
    let (got, expected) = (sorted(got), sorted(expected));
    let mut pairs = got.iter().zip(&expected);
    if let Some((got, expected)) = pairs.find(|(got, expected)| got.shape != expected.shape) {
        return Some((got.text, expected.text));
    }
    let (mut start, mut room) = (0, MOST_PAIRS);
    for expected in expected.chunk_by(|one, other| one.shape == other.shape) {
        let got = &got[start..start + expected.len()];
        if let Some((g, e)) = unmatched_of_shape(got, expected, rule, &mut room) {
            return Some((got[g].text, expected[e].text));
        }
        start += expected.len();
    }
    None
}

/// [`unmatched`] for parts of one shape, as indices. Both lists are sorted and of the same length. `room` is the number of pairs that may still be tried.
fn unmatched_of_shape(got: &[Part], expected: &[Part], rule: &Rule, room: &mut usize) -> Option<(usize, usize)> {
    let count = got.len();
    // The partner of each part of `expected`, and that of each part of `got`.
    let mut of_expected: Vec<Option<usize>> =
        (0..count).map(|i| got[i].equals(&expected[i], rule).then_some(i)).collect();
    let mut of_got = of_expected.clone();
    // For each part of `expected` that a search has reached: the part of `got` from which it did, and the search.
    let mut reached = vec![(0, usize::MAX); count];
    for search in 0..count {
        if of_got[search].is_some() {
            continue;
        }
        let mut open = vec![search];
        let end = 'search: loop {
            let free = || of_expected.iter().position(Option::is_none).unwrap_or(search);
            let Some(g) = open.pop() else { return Some((search, free())) };
            for e in near(&got[g], expected, rule) {
                if *room == 0 {
                    return Some((search, free()));
                }
                *room -= 1;
                if reached[e].1 != search && got[g].equals(&expected[e], rule) {
                    reached[e] = (g, search);
                    match of_expected[e] {
                        Some(partner) => open.push(partner),
                        None => break 'search e,
                    }
                }
            }
        };
        // Back along the path, each part of `got` takes the part of `expected` that it has reached.
        let mut next = Some(end);
        while let Some(e) = next {
            let g = reached[e].0;
            of_expected[e] = Some(g);
            next = of_got[g].replace(e);
        }
    }
    None
}

/// The range of the sorted `expected` that has every part whose first number may equal that of `got`.
fn near(got: &Part, expected: &[Part], rule: &Rule) -> Range<usize> {
    let (atol, rtol) = match (rule.atol, rule.rtol) {
        (None, None) => (1e-6, 1e-6),
        (atol, rtol) => (atol.unwrap_or(0.0).max(0.0), rtol.unwrap_or(0.0).max(0.0)),
    };
    if rtol >= 1.0 {
        return 0..expected.len();
    }
    // |got - expected| <= atol + rtol * |expected| gives this bound, and a little more allows for rounding.
    let first = got.first();
    let reach = (atol + rtol * first.abs()) / (1.0 - rtol) * (1.0 + 1e-9) + 1e-15 * first.abs();
    let start = expected.partition_point(|part| part.first() < first - reach);
    start..expected.partition_point(|part| part.first() <= first + reach).max(start)
}
