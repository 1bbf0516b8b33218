//! Questions about drawings.

use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::drawings::{Drawings, SETS};
use crate::scenes::{SIDE, Split};

/// Names in a choice.
const CHOICE: usize = 4;
/// The stream of random numbers; those of scenes have the numbers of the splits.
const STREAM: u64 = 0x2_0000;

/// A drawing at its place in a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Drawing {
    /// The artist's set.
    pub set: String,
    /// What it shows.
    pub name: String,
    /// Pixels of its longer side.
    pub side: u32,
    /// Pixels from the left.
    pub left: u32,
    /// Pixels from the top.
    pub top: u32,
}

/// A question about a drawing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `thing`, a choice of four names, or `naming`, without one.
    pub task: &'static str,
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// All answers that are possible.
    pub answers: Vec<String>,
    /// What the picture shows.
    pub drawing: Drawing,
}

/// Asks about drawings. All names are equally frequent, and so are the places of the right one in a choice.
pub struct Asker {
    random: ChaCha8Rng,
    split: Split,
    /// The names of this split: those that training shows, or for compositions as many others.
    names: Vec<String>,
    sets: Vec<&'static str>,
    cycle: Vec<String>,
}

impl Asker {
    /// Asks about `count` names, which depend on the seed. In compositions, about other names, of which training shows none.
    #[must_use]
    pub fn new(drawings: &Drawings, count: usize, seed: u64, split: Split) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(STREAM);
        let mut names = drawings.names().to_vec();
        names.shuffle(&mut random);
        let known = count.min(names.len());
        let mut unseen = names.split_off(known);
        unseen.truncate(known);
        let names = if split == Split::Composition { unseen } else { names };
        random.set_stream(STREAM + 1 + split as u64);
        let sets = SETS.iter().filter(|set| set.trains == (split == Split::Train)).map(|set| set.name).collect();
        Self { random, split, names, sets, cycle: Vec::new() }
    }

    /// Whether there are enough names for a choice.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.names.len() >= CHOICE
    }

    /// The next question: a choice of four names, or with `naming` without one. Names that were never shown are only asked for
    /// in choices. `None` if there are too few names.
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
            set: (*self.sets.choose(&mut self.random)?).to_owned(),
            name: answer.clone(),
            side,
            left: self.random.random_range(0..=SIDE - side),
            top: self.random.random_range(0..=SIDE - side),
        };
        if naming {
            let question = "What is in the picture?".to_owned();
            return Some(Asked { task: "naming", question, answer, answers: self.names.clone(), drawing });
        }
        let others: Vec<&String> = self.names.iter().filter(|name| **name != answer).collect();
        let mut answers: Vec<String> =
            others.sample(&mut self.random, CHOICE - 1).map(|name| (*name).clone()).collect();
        answers.insert(self.random.random_range(0..CHOICE), answer.clone());
        let (last, first) = answers.split_last()?;
        let question = format!("Which is it: {} or {last}?", first.join(", "));
        Some(Asked { task: "thing", question, answer, answers, drawing })
    }
}
