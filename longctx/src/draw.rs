//! Seeded random choices, and made-up names that do not occur in natural text.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::split::Split;

const ONSETS: [&str; 24] = [
    "b", "br", "d", "dr", "f", "g", "gr", "h", "j", "k", "kl", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr",
    "v", "w", "z",
];
const VOWELS: [&str; 10] = ["a", "e", "i", "o", "u", "ai", "ea", "io", "ou", "y"];
const CODAS: [&str; 14] = ["", "", "", "l", "m", "n", "nd", "r", "rk", "s", "sk", "t", "th", "x"];
const CAPITALS: &[u8; 26] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// The random choices of one record: the same seed, record and attempt give the same choices.
#[derive(Debug, Clone)]
pub struct Draw {
    rng: ChaCha8Rng,
    split: Split,
}

impl Draw {
    /// Starts the choices of a record. `attempt` counts the restarts of a record.
    #[must_use]
    pub fn new(seed: u64, record: u64, attempt: u64, split: Split) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(record * 64 + attempt);
        Self { rng, split }
    }

    /// A whole number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.rng.random_range(0..n) }
    }

    /// A whole number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..=high)
    }

    /// A number from 0 (included) to 1 (excluded).
    pub fn unit(&mut self) -> f64 {
        self.rng.random()
    }

    /// A random element.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// Shuffles the items.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }

    /// `count` different numbers below `n`, in rising order; fewer if `n` is smaller.
    pub fn sample(&mut self, n: usize, count: usize) -> Vec<usize> {
        let count = count.min(n);
        let mut chosen = std::collections::BTreeSet::new();
        while chosen.len() < count {
            chosen.insert(self.below(n));
        }
        chosen.into_iter().collect()
    }

    /// A made-up name that belongs to the split: `Trovandek`.
    pub fn name(&mut self) -> String {
        self.of_split(|draw| {
            let mut name = String::new();
            for _ in 0..3 {
                for part in [&ONSETS[..], &VOWELS, &CODAS] {
                    name.push_str(part[draw.below(part.len())]);
                }
            }
            name[..1].to_uppercase() + &name[1..]
        })
    }

    /// Five capital letters that belong to the split: `QZTRV`.
    pub fn marker(&mut self) -> String {
        self.of_split(|draw| (0..5).map(|_| char::from(CAPITALS[draw.below(26)])).collect())
    }

    /// A random UUID (version 4) that belongs to the split.
    pub fn uuid(&mut self) -> String {
        self.of_split(|draw| {
            let bits: u128 = draw.rng.random();
            let hex = format!("{:032x}", (bits & !(0xf << 76) & !(0x3 << 62)) | 0x4 << 76 | 0x2 << 62);
            [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
        })
    }

    fn of_split(&mut self, make: impl Fn(&mut Self) -> String) -> String {
        loop {
            let key = make(self);
            if Split::of_key(&key) == self.split {
                return key;
            }
        }
    }

    /// The split that names are drawn for.
    #[must_use]
    pub fn split(&self) -> Split {
        self.split
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_record_has_the_same_choices() {
        let names = |record, attempt| {
            let mut draw = Draw::new(7, record, attempt, Split::Train);
            (draw.name(), draw.marker(), draw.uuid(), draw.below(1000))
        };
        assert_eq!(names(3, 0), names(3, 0));
        assert_ne!(names(3, 0), names(4, 0));
        assert_ne!(names(3, 0), names(3, 1));
    }

    #[test]
    fn names_of_the_splits_are_apart() {
        let mut train = Draw::new(1, 0, 0, Split::Train);
        let mut held_out = Draw::new(1, 0, 0, Split::Evaluation);
        for _ in 0..50 {
            for key in [train.name(), train.marker(), train.uuid()] {
                assert_eq!(Split::of_key(&key), Split::Train);
            }
            let uuid = held_out.uuid();
            assert_eq!((Split::of_key(&uuid), &uuid[14..15], uuid.len()), (Split::Evaluation, "4", 36));
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }

    #[test]
    fn samples_are_different_and_in_order() {
        let mut draw = Draw::new(1, 0, 0, Split::Train);
        let chosen = draw.sample(10, 6);
        assert!(chosen.len() == 6 && chosen.is_sorted() && chosen.iter().all(|n| *n < 10));
        assert_eq!(draw.sample(3, 9), [0, 1, 2]);
        let mut items: Vec<usize> = (0..20).collect();
        draw.shuffle(&mut items);
        assert_ne!(items, (0..20).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<_>>());
    }
}
