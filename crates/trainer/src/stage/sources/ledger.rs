//! Ledger: counts of what happened to the records of one file.

use dataset::Reasons;
use run::counted;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// Counters under a stage's own names, in a fixed order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(Vec<(&'static str, u64)>);

impl Counts {
    /// All counters at zero.
    #[must_use]
    pub fn new(names: &[&'static str]) -> Self {
        Self(names.iter().map(|&name| (name, 0)).collect())
    }

    /// Adds to a counter. An unknown name is appended at the end.
    pub fn add(&mut self, name: &'static str, number: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += number,
            None => self.0.push((name, number)),
        }
    }

    /// Adds all counters of `other`.
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

/// Counts of what happened to the records of one file.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ledger {
    /// Path of the file.
    pub path: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// How often an epoch contains each example; 0 for evaluation data.
    pub weight: f64,
    /// Number of records read.
    pub rows: u64,
    /// Number of records set aside as bad, for any reason.
    pub set_aside: u64,
    /// Why they were set aside, with the place of the first record of each reason.
    pub reasons: Reasons,
    /// The file that has the records set aside, with the reason for each; `None` in a strict run.
    pub rejected: Option<String>,
    /// Number of examples left out because they were too long.
    pub over_long: u64,
    /// Number of examples whose prompt was truncated at its start.
    pub truncated: u64,
    /// Number of tokens removed from prompts.
    pub cut_tokens: u64,
    /// Number of training examples.
    pub examples: u64,
    /// Number of held-out examples.
    pub held_out: u64,
    /// Number of held-out examples whose prompt is also in the training data.
    pub overlap: u64,
    /// Number of tokens of all examples.
    pub tokens: u64,
    /// Number of tokens of the longest sequence.
    pub longest: u64,
    /// The stage's own counts.
    #[serde(flatten)]
    pub counts: Counts,
}

impl Ledger {
    /// Moves this many examples from training to held-out in the counts.
    pub(super) fn hold_out(&mut self, examples: usize) {
        self.held_out = examples as u64;
        self.examples -= self.held_out;
    }
}

/// Formats ledgers as a table.
#[must_use]
pub fn table(ledgers: &[Ledger]) -> String {
    let mut out = String::new();
    for l in ledgers {
        let overlap = if l.overlap > 0 { format!(" ({} with a prompt trained on)", l.overlap) } else { String::new() };
        out += &format!(
            "{} (weight {})\n  {}: {} set aside, {} too long, {} with a cut prompt ({})\n  {} to train on, {} held \
             out{overlap}: {}, longest {}\n",
            l.path,
            l.weight,
            counted(l.rows, "row"),
            l.set_aside,
            l.over_long,
            l.truncated,
            counted(l.cut_tokens, "token"),
            counted(l.examples, "example"),
            l.held_out,
            counted(l.tokens, "token"),
            l.longest
        );
        if !l.reasons.is_empty() {
            let file = l.rejected.as_deref().unwrap_or_default();
            let reasons = l.reasons.to_string().replace('\n', "\n    ");
            out += &format!("  set aside in {file}:\n    {reasons}\n");
        }
        let counts: Vec<String> = l.counts.0.iter().map(|(name, number)| format!("{number} {name}")).collect();
        if !counts.is_empty() {
            out += &format!("  {}\n", counts.join(", "));
        }
    }
    out
}
