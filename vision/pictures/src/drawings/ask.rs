//! Questions about drawings.

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::drawings::{Drawings, Of};
use crate::scenes::{SIDE, Split};

/// Number of names in a choice.
const CHOICE: usize = 4;

/// A drawing placed in a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drawing {
    /// The artist's set, or the font.
    pub set: String,
    /// The name of the thing, or the word.
    pub name: String,
    /// The longer side in pixels.
    pub side: u32,
    /// Distance from the left in pixels.
    pub left: u32,
    /// Distance from the top in pixels.
    pub top: u32,
}

/// A question about a drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `thing` and `word` for a choice of four, `naming` and `reading` without a choice.
    pub task: &'static str,
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// All possible answers.
    pub answers: Vec<String>,
    /// The drawing in the picture.
    pub drawing: Drawing,
}

/// Makes questions about drawings. All names are equally frequent, and so are the positions of the right one in a choice.
pub struct Asker {
    random: ChaCha8Rng,
    split: Split,
    of: Of,
    /// The names of this split: those that training shows; for compositions, as many others.
    names: Vec<String>,
    sets: Vec<String>,
    cycle: Vec<String>,
}

impl Asker {
    /// Selects `count` names by the seed. In compositions these are other names, which training never shows.
    #[must_use]
    pub fn new(drawings: &Drawings, count: usize, seed: u64, split: Split) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(drawings.of().stream());
        let mut names = drawings.names().to_vec();
        names.shuffle(&mut random);
        let known = count.min(names.len());
        let mut unseen = names.split_off(known);
        unseen.truncate(known);
        let names = if split == Split::Composition { unseen } else { names };
        random.set_stream(drawings.of().stream() + 1 + split as u64);
        let sets = drawings.sets(split == Split::Train).map(str::to_owned).collect();
        Self { random, split, of: drawings.of(), names, sets, cycle: Vec::new() }
    }

    /// Whether there are enough names for a choice.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.names.len() >= CHOICE
    }

    /// The next question: a choice of four names, or without a choice if `naming` is set. Names that training never shows are only asked
    /// for in choices. `None` if there are too few names.
    pub fn next(&mut self, naming: bool) -> Option<Asked> {
        if !self.can_ask() || (naming && self.split == Split::Composition) {
            return None;
        }
        if self.cycle.is_empty() {
            self.cycle.clone_from(&self.names);
            self.cycle.shuffle(&mut self.random);
        }
        let answer = self.cycle.pop()?;
        let side = self.random.random_range(SIDE * 6 / 10..=SIDE * 95 / 100);
        let drawing = Drawing {
            set: self.sets.choose(&mut self.random)?.clone(),
            name: answer.clone(),
            side,
            left: self.random.random_range(0..=SIDE - side),
            top: self.random.random_range(0..=SIDE - side),
        };
        let [choice, open] = self.of.tasks();
        if naming {
            let question = self.of.question().to_owned();
            return Some(Asked { task: open, question, answer, answers: self.names.clone(), drawing });
        }
        let others: Vec<&String> = self.names.iter().filter(|name| **name != answer).collect();
        let mut answers: Vec<String> =
            others.sample(&mut self.random, CHOICE - 1).map(|name| (*name).clone()).collect();
        answers.insert(self.random.random_range(0..CHOICE), answer.clone());
        let (last, first) = answers.split_last()?;
        let question = format!("Which is it: {} or {last}?", first.join(", "));
        Some(Asked { task: choice, question, answer, answers, drawing })
    }
}
