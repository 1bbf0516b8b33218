//! The result of comparing two answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Whether two answers are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The answers were shown to be equal.
    Equal,
    /// The answers were shown to differ.
    Different,
    /// Neither was shown; the reason says why. A reward function treats this as not equal.
    Unknown,
}

/// The method that decided the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The same text after normalisation; also words and multiple-choice letters.
    Text,
    /// Exact rational arithmetic, or the same formula.
    Exact,
    /// The same algebraic normal form: quotients of polynomials in variables, constants and roots.
    Algebraic,
    /// Values in ball arithmetic at random points.
    Numeric,
    /// The parts of lists, sets, intervals, equations or matrices.
    Structure,
    /// A policy of [`Options`](crate::Options): percent, units, decimals, base.
    Policy,
}

/// The outcome of a comparison of two answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The result.
    pub status: Status,
    /// The method that decided.
    pub tier: Tier,
    /// One clause that says what was compared, or why the result is unknown.
    pub reason: Cow<'static, str>,
}

impl Outcome {
    pub(crate) fn equal(tier: Tier, reason: &'static str) -> Self {
        Self { status: Status::Equal, tier, reason: Cow::Borrowed(reason) }
    }

    pub(crate) fn different(tier: Tier, reason: &'static str) -> Self {
        Self { status: Status::Different, tier, reason: Cow::Borrowed(reason) }
    }

    pub(crate) fn unknown(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status: Status::Unknown, tier: Tier::Structure, reason: reason.into() }
    }

    /// Whether the answers are equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.status == Status::Equal
    }

    /// The better outcome of two ways to compare the same answers: equal, else unknown, else different. Runs `other`
    /// only if the first way does not give equal.
    pub(crate) fn or(self, other: impl FnOnce() -> Outcome) -> Outcome {
        if self.is_equal() {
            return self;
        }
        let other = other();
        if other.is_equal() || (self.status == Status::Different && other.status == Status::Unknown) {
            other
        } else {
            self
        }
    }
}
