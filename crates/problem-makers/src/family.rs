//! What a generator is: its name, what it is about, and how it drafts a problem.

use clap::ValueEnum;
use serde::Serialize;

use crate::draw::Draw;
use crate::{code, drills, words};

/// What a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Grade-school word problems.
    Words,
    /// Arithmetic drills.
    Arithmetic,
    /// Algebra drills.
    Algebra,
    /// Small Python functions with tests.
    Code,
}

/// How hard a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difficulty {
    /// One or two steps with small numbers.
    Easy,
    /// Two or three steps.
    Medium,
    /// Three to five steps, fractions and percentages, or reasoning backwards.
    Hard,
}

impl Topic {
    /// The word in records and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Arithmetic => "arithmetic",
            Self::Algebra => "algebra",
            Self::Code => "code",
        }
    }
}

impl Difficulty {
    /// The word in records and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
        }
    }

    /// Of three values the one for this difficulty.
    pub(crate) fn of<T>(self, easy: T, medium: T, hard: T) -> T {
        match self {
            Self::Easy => easy,
            Self::Medium => medium,
            Self::Hard => hard,
        }
    }
}

/// A problem as a family drafts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Draft {
    /// A question with one answer.
    Math {
        /// What is asked.
        question: String,
        /// The worked solution, a line each, without the final answer's line.
        steps: Vec<String>,
        /// The answer, in digits or as a formula.
        answer: String,
    },
    /// A function to write.
    Code {
        /// What is asked, without examples.
        question: String,
        /// The function's name.
        entry_point: String,
        /// A right program.
        reference: String,
        /// Assert statements; their right sides are worked out in Rust, not by the program.
        tests: Vec<String>,
    },
}

/// A generator.
#[derive(Clone, Copy)]
pub struct Family {
    /// Its name, unique.
    pub name: &'static str,
    /// What it is about.
    pub topic: Topic,
    /// The difficulties it has.
    pub difficulties: &'static [Difficulty],
    /// Whether it is held out altogether.
    pub held_out: bool,
    /// Drafts a problem; none when the numbers drawn do not fit together.
    pub(crate) draft: fn(&mut Draw, Difficulty) -> Option<Draft>,
}

impl Family {
    pub(crate) const fn new(
        topic: Topic,
        name: &'static str,
        difficulties: &'static [Difficulty],
        draft: fn(&mut Draw, Difficulty) -> Option<Draft>,
    ) -> Self {
        Self { name, topic, difficulties, held_out: false, draft }
    }

    /// The same family, held out.
    pub(crate) const fn held_out(self) -> Self {
        Self { held_out: true, ..self }
    }
}

/// Every family.
#[must_use]
pub fn families() -> Vec<Family> {
    [words::families(), drills::families(), code::families()].concat()
}
