//! Heuristic filters as pure functions of a text: Gopher's quality and repetition rules, C4's, FineWeb's, and the Llama 3 paper's
//! coverage by duplicated n-grams, word counts and divergence of the token distribution (section 3.1.1).
//!
//! A filter judges one text, and returns a [`Finding`] for every rule that it evaluated: rule, value, limit. The
//! first failed finding is the verdict. Names and order of the rules are those of datatrove, so that verdicts can be
//! compared.

mod c4;
mod coverage;
mod divergence;
mod fineweb;
mod gopher;
mod repetition;
mod view;
mod wordlist;
pub mod words;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

pub use c4::{C4, C4Paragraphs};
pub use coverage::Coverage;
pub use divergence::{Divergence, Unigrams};
pub use fineweb::FineWeb;
pub use gopher::GopherQuality;
pub use repetition::GopherRepetition;
pub use view::View;
pub use wordlist::WordCounts;

/// The result of one rule for a text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's name.
    pub rule: String,
    /// The measured value.
    pub value: f64,
    /// The threshold.
    pub limit: f64,
    /// Whether the text is within it.
    pub passed: bool,
}

/// The result of a filter for a text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// The findings, up to the first failed one.
    pub findings: Vec<Finding>,
    /// The text without the lines that the filter removes; `None` if nothing is removed.
    pub text: Option<String>,
}

impl Outcome {
    /// The finding that drops the text.
    #[must_use]
    pub fn failed(&self) -> Option<&Finding> {
        self.findings.last().filter(|finding| !finding.passed)
    }
}

/// Collects findings until one fails.
pub(crate) struct Rules<'a> {
    without: &'a [String],
    outcome: Outcome,
}

impl<'a> Rules<'a> {
    pub(crate) fn new(without: &'a [String]) -> Self {
        Self { without, outcome: Outcome::default() }
    }

    /// Whether a rule is on and no rule has failed yet.
    pub(crate) fn wants(&self, rule: &str) -> bool {
        self.outcome.failed().is_none() && !self.without.iter().any(|name| name == rule)
    }

    /// Requires that the value is not above the limit.
    pub(crate) fn at_most(&mut self, rule: &str, limit: f64, value: impl FnOnce() -> f64) {
        self.check(rule, limit, value, |value| value <= limit);
    }

    /// Requires that the value is not below the limit.
    pub(crate) fn at_least(&mut self, rule: &str, limit: f64, value: impl FnOnce() -> f64) {
        self.check(rule, limit, value, |value| value >= limit);
    }

    fn check(&mut self, rule: &str, limit: f64, value: impl FnOnce() -> f64, passes: impl Fn(f64) -> bool) {
        if self.wants(rule) {
            let value = value();
            self.outcome.findings.push(Finding { rule: rule.to_owned(), value, limit, passed: passes(value) });
        }
    }

    pub(crate) fn finish(self) -> Outcome {
        self.outcome
    }
}

/// A filter of texts.
pub trait Filter: Send + Sync {
    /// The names of its rules, in order.
    fn rules(&self) -> Vec<String>;
    /// Rules that are switched off.
    fn without(&self) -> &[String];
    /// Judges a text.
    fn judge(&self, text: &View) -> Outcome;

    /// Checks that every rule that is switched off exists.
    ///
    /// # Errors
    /// When a rule does not exist; the error names it and the existing ones.
    fn check(&self) -> anyhow::Result<()> {
        let rules = self.rules();
        for name in self.without() {
            ensure!(
                rules.contains(name),
                "without: {name} is not a rule of this step; its rules are {}",
                rules.join(", ")
            );
        }
        let on = rules.iter().filter(|rule| !self.without().contains(rule)).count();
        ensure!(
            on > 0,
            "without: every rule of the step is switched off, so that it could match nothing; remove the step"
        );
        Ok(())
    }
}
