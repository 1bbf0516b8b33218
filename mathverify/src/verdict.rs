//! The result of a comparison.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Whether an answer is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The two are the same answer.
    Equal,
    /// They are different answers.
    Different,
    /// Not decided; the reason says why. A reward treats it as not equal.
    Unknown,
}

/// The tier that decided the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The same text after normalisation, or words.
    Text,
    /// Exact arithmetic, or the same formula.
    Exact,
    /// The same normal form of polynomials in surds and variables.
    Algebraic,
    /// High-precision values at random points.
    Numeric,
    /// Parts of lists, sets, intervals, equations, matrices.
    Structure,
    /// A policy: percent, unit, decimals, base.
    Policy,
}

/// The outcome of a comparison of two answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Equal, different or unknown.
    pub status: Status,
    /// The tier that decided.
    pub tier: Tier,
    /// One clause: what was compared, or why the result is unknown.
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

    /// The better of two ways to compare the same answers: equal first, then unknown.
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
