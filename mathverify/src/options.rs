//! The comparison policies on which graders and data sets disagree, as named options.

use serde::{Deserialize, Serialize};

/// How a percentage compares with a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Percent {
    /// `50%` equals `50` and `1/2`: the question may ask for the percentage or for the part.
    #[default]
    Either,
    /// `50%` equals `1/2`, not `50`.
    Fraction,
    /// `50%` equals `50`, not `1/2`.
    Sign,
}

/// How units compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// A unit that only one side has is ignored. If both sides have a known unit, the units must agree (`1 m` equals
    /// `100 cm`).
    #[default]
    Optional,
    /// Both sides must have the same unit, or none.
    Required,
    /// Units never matter: `5 cm` equals `5 m`.
    Ignored,
}

/// The policies of a comparison. The defaults are meant for grading final answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether the order of a list without brackets matters, so that `1, 2` is not `2, 1`. Default false. The order of
    /// a tuple always matters, the order of a set never.
    pub ordered_lists: bool,
    /// Whether `10%` equals `10`, `1/10` or both. Default [`Percent::Either`].
    pub percent: Percent,
    /// Whether `5 cm` equals `5` and `5 m`. Default [`Units::Optional`].
    pub units: Units,
    /// Minimum number of significant digits of a decimal that equals the exact value from which it is rounded or
    /// truncated: with 5, `0.33333` equals `1/3` and `0.33` does not. 0 turns this off. Default 5.
    pub decimal_digits: u32,
    /// Whether `x = 5` equals `5`. Default true.
    pub strip_names: bool,
    /// Whether `x = 5` equals `y = 5`. Default false: the verdict is then unknown.
    pub ignore_names: bool,
    /// Whether `1 < x < 2` equals `(1, 2)`. Default true.
    pub inequalities_as_sets: bool,
    /// Whether the base of a number may be missing on one side. If true (the default), both `204` (the same digits) and
    /// `54` (the same value) equal `204_5`. If false, only `54` does.
    pub base_optional: bool,
    /// Whether `2/4` equals `1/2`. Default true. If false, two fractions of integers are equal only if their numerators
    /// and denominators agree.
    pub unreduced_fractions: bool,
    /// Whether a column or row vector equals a tuple of the same entries. Default true.
    pub vectors_as_tuples: bool,
    /// Whether an answer is searched for in reasoning that never ends (`<think>` without `</think>`) or that no text
    /// follows. Default false: such a prediction has no answer.
    pub unfinished_thinking: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ordered_lists: false,
            percent: Percent::Either,
            units: Units::Optional,
            decimal_digits: 5,
            strip_names: true,
            ignore_names: false,
            inequalities_as_sets: true,
            base_optional: true,
            unreduced_fractions: true,
            vectors_as_tuples: true,
            unfinished_thinking: false,
        }
    }
}
