//! Personal data and keys in texts: found with byte offsets, redacted.
//!
//! Candidates are found by what cannot be missing (a digit, `@`, a key's prefix), then checked: check digits, the
//! numbering plan, the ranges of issuers, public addresses only. What a form alone cannot tell needs a word near it
//! (`phone`, `Steuer-ID`), in a dozen languages; words for numbers of things (`order`, `ISBN`) tell against it.
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
//! Names and postal addresses have no form that a pattern could check: they are not found.

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

    /// What redaction writes in its place, such as `<EMAIL>`.
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

/// A rule: what it finds and what it checks.
#[derive(Debug, PartialEq)]
pub struct Rule {
    /// Its name, such as `nl-bsn`.
    pub name: &'static str,
    /// The kind of data.
    pub kind: Kind,
    /// What was checked, in words.
    pub checks: &'static str,
    /// How sure the rule is without a word near it, from 0 to 1: an order, not a probability.
    pub score: f32,
}

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
    /// The rule that found it.
    pub rule: &'static Rule,
    /// A word near it that speaks for the kind.
    pub context: Option<&'static str>,
}

impl Finding {
    /// The kind of data.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.rule.kind
    }

    /// The rule's score, raised by a word near it.
    #[must_use]
    pub fn score(&self) -> f32 {
        if self.context.is_some() { (self.rule.score + 0.3).min(1.0) } else { self.rule.score }
    }

    /// Why it was found: the rule, what it checked, the word near it. The text itself does not appear.
    #[must_use]
    pub fn explain(&self) -> String {
        let near = self.context.map(|word| format!("; near {word:?}")).unwrap_or_default();
        format!("{}: {}{near}", self.rule.name, self.rule.checks)
    }
}

/// The filter. Built once; threads can share it.
#[derive(Debug, Clone)]
pub struct Pii {
    kinds: [bool; Kind::ALL.len()],
    min_score: f32,
}

impl Default for Pii {
    /// All kinds.
    fn default() -> Self {
        Self::new(&Kind::ALL)
    }
}

impl Pii {
    /// Looks for these kinds.
    #[must_use]
    pub fn new(kinds: &[Kind]) -> Self {
        Self { kinds: Kind::ALL.map(|kind| kinds.contains(&kind)), min_score: 0.0 }
    }

    /// Leaves out findings with a lower score.
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

/// Of findings that overlap the stronger kind stays, else the longer one.
fn without_overlaps(mut found: Vec<Finding>) -> Vec<Finding> {
    // What is decided first: a key may hold what looks like a card, an address what looks like a phone number.
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
