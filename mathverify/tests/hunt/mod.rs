//! Generators of test pairs: answers with one word, sign, name, unit or operator changed, which differ by construction,
//! and answers in two spellings, which are equal by construction.
#![allow(dead_code)]

pub mod changed;
pub mod mutated;
pub mod reshaped;
pub mod respelled;
pub mod structured;

/// SplitMix64, a small random number generator: the seed determines all pairs of a run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included.
    pub fn number(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    pub fn pick<T: Copy>(&mut self, among: &[T]) -> T {
        among[(self.next() % among.len() as u64) as usize]
    }

    /// Two items at different indices.
    pub fn two<T: Copy>(&mut self, among: &[T]) -> (T, T) {
        let i = (self.next() % among.len() as u64) as usize;
        let j = (i + 1 + (self.next() % (among.len() as u64 - 1)) as usize) % among.len();
        (among[i], among[j])
    }

    /// True with probability 1 / `of`.
    pub fn chance(&mut self, of: u64) -> bool {
        self.next().is_multiple_of(of)
    }
}

/// A prediction and a reference, with the kind of change between them.
#[derive(Debug, Clone)]
pub struct Pair {
    pub kind: &'static str,
    pub pred: String,
    pub gold: String,
}

/// The answer in a text as a model writes it, or alone.
pub fn said(random: &mut Random, answer: &str) -> String {
    match random.number(0, 7) {
        0 => format!("\\boxed{{{answer}}}"),
        1 => format!("So we are done. The answer is {answer}."),
        2 => format!("**Answer: {answer}**"),
        3 => format!("Let us see.\n\nFinal answer: {answer}"),
        4 => format!("<think>it may be 17</think>\n\\boxed{{{answer}}}"),
        _ => answer.to_owned(),
    }
}
