//! Finds personal data and keys in texts, with byte offsets, and redacts them.
//!
//! Candidates are found by a necessary feature (a digit, `@`, the prefix of a key). Then they are checked: check digits, the
//! numbering plan, the ranges of issuers, public addresses only. If the form alone is not sufficient, a word nearby is required
//! (`phone`, `Steuer-ID`), in a dozen languages. Words for numbers of things (`order`, `ISBN`) count against a candidate.
//!
//! ```
//! use safety_text::pii::{Kind, Pii};
//!
//! let pii = Pii::default();
//! let text = "Größe 42, jo@example.org, card 4111 1111 1111 1111";
//! let found = pii.find(text);
//! assert_eq!((found[0].kind(), &text[found[0].start..found[0].end]), (Kind::Email, "jo@example.org"));
//! assert_eq!(found[1].explain(), "card-issuer: length and range of an issuer, Luhn; near \"card\"");
//! assert_eq!(pii.redact(text).text, "Größe 42, <EMAIL>, card <CARD>");
//! ```
//!
//! Names and postal addresses have no form that a pattern could check, so they are not found.

mod alnum;
mod card;
mod checksums;
mod context;
mod digits;
mod email;
mod ip;
mod national;
mod phone;
mod redact;
mod secrets;

use serde::{Deserialize, Serialize};

pub use redact::Redacted;

/// Kinds of personal data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// E-mail addresses
    Email,
    /// Telephone numbers
    Phone,
    /// Payment cards
    Card,
    /// Bank accounts (IBAN)
    Iban,
    /// United States social security numbers
    Ssn,
    /// Other countries' identity and tax numbers
    Id,
    /// Public IP addresses
    Ip,
    /// Keys and tokens of known services, private keys, passwords in addresses
    Secret,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 8] =
        [Self::Email, Self::Phone, Self::Card, Self::Iban, Self::Ssn, Self::Id, Self::Ip, Self::Secret];

    /// The placeholder that redaction writes, such as `<EMAIL>`.
    #[must_use]
    pub fn placeholder(self) -> &'static str {
        ["<EMAIL>", "<PHONE>", "<CARD>", "<IBAN>", "<SSN>", "<ID>", "<IP>", "<SECRET>"][self as usize]
    }

    /// The name in flags, records and counts, such as `email`.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["email", "phone", "card", "iban", "ssn", "id", "ip", "secret"][self as usize]
    }
}

/// A rule: the data that it finds and its checks.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// Name, such as `nl-bsn`.
    pub name: &'static str,
    /// The kind of data.
    pub kind: Kind,
    /// Description of the checks.
    pub checks: &'static str,
    /// Confidence of the rule without a word nearby, from 0 to 1. It only orders the rules; it is not a probability.
    pub score: f32,
}

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Byte offset of the start.
    pub start: usize,
    /// Byte offset of the end (exclusive).
    pub end: usize,
    /// The rule that found it.
    pub rule: &'static Rule,
    /// A word nearby that supports the kind.
    pub context: Option<&'static str>,
}

impl Finding {
    /// The kind of data.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.rule.kind
    }

    /// The rule's score, increased if there is a supporting word nearby.
    #[must_use]
    pub fn score(&self) -> f32 {
        if self.context.is_some() { (self.rule.score + 0.3).min(1.0) } else { self.rule.score }
    }

    /// The reason for the finding: the rule, its checks and the word nearby. It does not contain the text itself.
    #[must_use]
    pub fn explain(&self) -> String {
        let near = self.context.map(|word| format!("; near {word:?}")).unwrap_or_default();
        format!("{}: {}{near}", self.rule.name, self.rule.checks)
    }
}

/// The filter for personal data. It is built once, and threads can share it.
#[derive(Debug, Clone)]
pub struct Pii {
    kinds: [bool; Kind::ALL.len()],
    min_score: f32,
}

impl Default for Pii {
    /// A filter for all kinds.
    fn default() -> Self {
        Self::new(&Kind::ALL)
    }
}

impl Pii {
    /// A filter for these kinds.
    #[must_use]
    pub fn new(kinds: &[Kind]) -> Self {
        Self { kinds: Kind::ALL.map(|kind| kinds.contains(&kind)), min_score: 0.0 }
    }

    /// Excludes findings with a lower score.
    #[must_use]
    pub fn min_score(mut self, score: f32) -> Self {
        self.min_score = score;
        self
    }

    /// All findings, in order and without overlaps. Time is linear in the length of the text.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        email::find(text, &mut found);
        secrets::find(text, &mut found);
        ip::find_v6(text, &mut found);
        digits::find(text, &mut found);
        found.retain(|finding| finding.score() >= self.min_score);
        let mut found = without_overlaps(found);
        found.retain(|finding| self.kinds[finding.kind() as usize]);
        found
    }
}

/// Of overlapping findings, keeps the one whose kind takes precedence, or else the longer one.
fn without_overlaps(mut found: Vec<Finding>) -> Vec<Finding> {
    // Precedence: a key may contain text that looks like a card, and an address may contain text that looks like a phone
    // number.
    let rank = |finding: &Finding| [1, 7, 3, 2, 4, 5, 6, 0][finding.kind() as usize];
    if found.len() < 2 {
        return found;
    }
    found.sort_by_key(|finding| (rank(finding), usize::MAX - (finding.end - finding.start), finding.start));
    let mut kept: std::collections::BTreeMap<usize, Finding> = std::collections::BTreeMap::new();
    for finding in found {
        let before = kept.range(..finding.end).next_back();
        if before.is_none_or(|(_, other)| other.end <= finding.start) {
            kept.insert(finding.start, finding);
        }
    }
    kept.into_values().collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
