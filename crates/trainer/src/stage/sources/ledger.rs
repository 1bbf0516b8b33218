//! What happened to the records of one file.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Numbers under a stage's own names, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// All of them zero.
    #[must_use]
    pub fn new(names: &[&'static str]) -> Self {
        Self(names.iter().map(|&name| (name, 0)).collect())
    }

    /// Adds to a count; one that is not there yet comes last.
    pub fn add(&mut self, name: &'static str, number: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += number,
            None => self.0.push((name, number)),
        }
    }

    /// Adds all of another.
    pub fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|&(name, number)| self.add(name, number));
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, number) in &self.0 {
            map.serialize_entry(&name.replace([' ', '-'], "_"), number)?;
        }
        map.end()
    }
}

/// What happened to the records of one file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ledger {
    /// The file.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// How often an epoch has each example; 0 for evaluation data.
    pub weight: f64,
    /// Records read.
    pub rows: u64,
    /// Records set aside as bad, for every reason.
    pub set_aside: u64,
    /// Examples left out because they were too long.
    pub over_long: u64,
    /// Examples without the first turns of their prompt.
    pub truncated: u64,
    /// Tokens cut off prompts.
    pub cut_tokens: u64,
    /// Examples to train on.
    pub examples: u64,
    /// Examples held out.
    pub held_out: u64,
    /// Of these: examples whose prompt is trained on too.
    pub overlap: u64,
    /// Tokens of all examples.
    pub tokens: u64,
    /// Tokens of the longest sequence.
    pub longest: u64,
    /// The stage's own counts.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Ledger {
    /// This many of the examples are held out.
    pub(super) fn hold_out(&mut self, examples: usize) {
        self.held_out = examples as u64;
        self.examples -= self.held_out;
    }
}

/// Ledgers as a table.
#[must_use]
pub fn table(ledgers: &[Ledger]) -> String {
    let mut out = String::new();
    for l in ledgers {
        let overlap = if l.overlap > 0 { format!(" ({} with a prompt trained on)", l.overlap) } else { String::new() };
        out += &format!(
            "{} (weight {})\n  {} rows: {} set aside, {} too long, {} with a cut prompt ({} tokens)\n  {} examples to train \
             on, {} held out{overlap}: {} tokens, longest {}\n",
            l.path,
            l.weight,
            l.rows,
            l.set_aside,
            l.over_long,
            l.truncated,
            l.cut_tokens,
            l.examples,
            l.held_out,
            l.tokens,
            l.longest
        );
        let counts: Vec<String> = l.counts.0.iter().map(|(name, number)| format!("{number} {name}")).collect();
        if !counts.is_empty() {
            out += &format!("  {}\n", counts.join(", "));
        }
    }
    out
}
