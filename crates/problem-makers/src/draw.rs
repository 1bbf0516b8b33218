//! The random choices of families: numbers and structure, which are part of the key, and names, objects and
//! phrasings, which are not.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

/// A seeded source of choices that records those that are part of the key.
pub(crate) struct Draw {
    rng: ChaCha8Rng,
    key: String,
}

/// A person in a word problem.
#[derive(Clone, Copy)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    /// he, she
    pub(crate) they: &'static str,
    /// his, her
    pub(crate) their: &'static str,
}

const HE: [&str; 26] = [
    "Adam", "Ben", "Carlos", "Diego", "Emeka", "Felix", "George", "Hiro", "Ivan", "Jamal", "Kofi", "Liam", "Marco",
    "Nikhil", "Omar", "Pavel", "Quentin", "Rashid", "Samuel", "Tomás", "Umar", "Viktor", "Wei", "Xavier", "Yusuf",
    "Zane",
];
const SHE: [&str; 26] = [
    "Aisha", "Bella", "Chloe", "Daria", "Elena", "Fatima", "Grace", "Hana", "Ingrid", "Jasmine", "Keiko", "Leila",
    "Maya", "Nora", "Olga", "Priya", "Quinn", "Rosa", "Sofia", "Tara", "Uma", "Vera", "Wanda", "Ximena", "Yara", "Zoe",
];
const THINGS: [&str; 40] = [
    "apples",
    "marbles",
    "stickers",
    "pencils",
    "seashells",
    "stamps",
    "cookies",
    "balloons",
    "coins",
    "buttons",
    "postcards",
    "crayons",
    "oranges",
    "beads",
    "cards",
    "books",
    "toy cars",
    "candles",
    "muffins",
    "flowers",
    "notebooks",
    "lemons",
    "badges",
    "puzzles",
    "walnuts",
    "erasers",
    "peaches",
    "tickets",
    "ribbons",
    "magnets",
    "acorns",
    "eggs",
    "paper cranes",
    "carrots",
    "bottle caps",
    "figs",
    "keys",
    "bookmarks",
    "pebbles",
    "tomatoes",
];
const CONTAINERS: [&str; 12] =
    ["boxes", "bags", "baskets", "jars", "trays", "crates", "packets", "drawers", "shelves", "bins", "cases", "tins"];
const GOODS: [&str; 20] = [
    "notebook",
    "sandwich",
    "ticket",
    "mug",
    "T-shirt",
    "plant",
    "candle",
    "toy",
    "poster",
    "scarf",
    "pizza",
    "ball",
    "book",
    "cap",
    "lamp",
    "puzzle",
    "cake",
    "brush",
    "bottle of juice",
    "pair of socks",
];

/// All lists of words that families choose from.
#[cfg(test)]
pub(crate) const WORDS: [&[&str]; 5] = [&HE, &SHE, &THINGS, &CONTAINERS, &GOODS];

impl Draw {
    pub(crate) fn new(rng: ChaCha8Rng) -> Self {
        Self { rng, key: String::new() }
    }

    /// The recorded choices.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// A number of the problem.
    pub(crate) fn number(&mut self, range: RangeInclusive<i64>) -> i64 {
        let number = self.rng.random_range(range);
        let _ = write!(self.key, "{number},");
        number
    }

    /// A number of the problem that is a multiple of `unit`.
    pub(crate) fn multiple(&mut self, unit: i64, range: RangeInclusive<i64>) -> i64 {
        unit * self.number(range)
    }

    /// A choice that changes the structure of the problem.
    pub(crate) fn structure<T: Copy>(&mut self, choices: &[T]) -> T {
        let index = self.number(0..=choices.len() as i64 - 1);
        choices[index as usize]
    }

    /// A choice of words.
    pub(crate) fn phrase<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.rng.random_range(0..choices.len())].clone()
    }

    /// A number of different numbers of the problem.
    pub(crate) fn numbers(&mut self, count: usize, range: RangeInclusive<i64>) -> Vec<i64> {
        (0..count).map(|_| self.number(range.clone())).collect()
    }

    /// Numbers for tests of programs, which are not part of the key.
    pub(crate) fn test_numbers(&mut self, count: RangeInclusive<usize>, range: RangeInclusive<i64>) -> Vec<i64> {
        let count = self.rng.random_range(count);
        (0..count).map(|_| self.rng.random_range(range.clone())).collect()
    }

    pub(crate) fn person(&mut self) -> Person {
        if self.rng.random() {
            Person { name: self.phrase(&HE), they: "he", their: "his" }
        } else {
            Person { name: self.phrase(&SHE), they: "she", their: "her" }
        }
    }

    /// Two people with different names.
    pub(crate) fn two_people(&mut self) -> (Person, Person) {
        let first = self.person();
        loop {
            let second = self.person();
            if second.name != first.name {
                return (first, second);
            }
        }
    }

    /// Objects that can be counted, in the plural.
    pub(crate) fn things(&mut self) -> &'static str {
        self.phrase(&THINGS)
    }

    /// Containers of objects, in the plural.
    pub(crate) fn containers(&mut self) -> &'static str {
        self.phrase(&CONTAINERS)
    }

    /// A good for sale, in the singular.
    pub(crate) fn good(&mut self) -> &'static str {
        self.phrase(&GOODS)
    }
}

/// `1 day`, `3 days`.
pub(crate) fn count(n: i64, singular: &str) -> String {
    if n == 1 { format!("1 {singular}") } else { format!("{n} {singular}s") }
}

/// The singular of one of the containers or objects.
pub(crate) fn singular(plural: &str) -> String {
    match plural {
        "shelves" => "shelf".into(),
        "boxes" => "box".into(),
        "tomatoes" => "tomato".into(),
        "peaches" => "peach".into(),
        _ => plural.strip_suffix('s').unwrap_or(plural).into(),
    }
}
