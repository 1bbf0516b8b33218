//! A generator: its name, its topic, and the function that drafts a problem.

use clap::ValueEnum;
use serde::Serialize;

use crate::draw::Draw;
use crate::{code, drills, words};

/// The topic of a problem.
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

/// The difficulty of a problem.
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

    /// Selects the value for this difficulty.
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
        /// The question.
        question: String,
        /// The lines of the worked solution, without the line of the final answer.
        steps: Vec<String>,
        /// The answer, in digits or as a formula.
        answer: String,
    },
    /// A function to write.
    Code {
        /// The task, without examples.
        question: String,
        /// The function's name.
        entry_point: String,
        /// A correct program.
        reference: String,
        /// Assert statements; Rust computes the expected values, not the program.
        tests: Vec<String>,
    },
}

/// A generator.
#[derive(Clone, Copy)]
pub struct Family {
    /// The unique name.
    pub name: &'static str,
    /// The topic.
    pub topic: Topic,
    /// The available difficulties.
    pub difficulties: &'static [Difficulty],
    /// Whether the whole family is held out.
    pub held_out: bool,
    /// Drafts a problem; `None` if the drawn numbers do not fit together.
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

    /// The same family, marked as held out.
    pub(crate) const fn held_out(self) -> Self {
        Self { held_out: true, ..self }
    }
}

/// Every family.
#[must_use]
pub fn families() -> Vec<Family> {
    [words::families(), drills::families(), code::families()].concat()
}
