//! Pairs of answers that differ by one word, sign, name, unit or operator, and so are different by construction; and
//! respellings, which are equal by construction.
#![allow(dead_code)]

pub mod changed;
pub mod mutated;
pub mod reshaped;
pub mod respelled;
pub mod structured;

/// A small random number generator (SplitMix64), so that a seed identifies a run.
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

    /// Two different items.
    pub fn two<T: Copy>(&mut self, among: &[T]) -> (T, T) {
        let i = (self.next() % among.len() as u64) as usize;
        let j = (i + 1 + (self.next() % (among.len() as u64 - 1)) as usize) % among.len();
        (among[i], among[j])
    }

    pub fn chance(&mut self, of: u64) -> bool {
        self.next().is_multiple_of(of)
    }
}

/// A pair with the kind of its change.
#[derive(Debug, Clone)]
pub struct Pair {
    pub kind: &'static str,
    pub pred: String,
    pub gold: String,
}

/// A text such as a model writes around an answer.
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
