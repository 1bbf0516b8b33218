//! The policies on which sources disagree, as named options.

use serde::{Deserialize, Serialize};

/// The comparison of a percentage with a plain number.
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

/// The comparison of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// A unit that only one side has is ignored. If both sides have a known unit, the units must agree (`1 m` equals
    /// `100 cm`).
    #[default]
    Optional,
    /// Both sides must have the same unit, or none.
    Required,
    /// Units are ignored.
    Ignored,
}

/// The policies of a comparison. The defaults are those of a grader of final answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether lists without brackets are compared in order: `1, 2` is not `2, 1`. Default false; tuples are always
    /// compared in order, sets never.
    pub ordered_lists: bool,
    /// `10%` compared with `10` and `1/10`.
    pub percent: Percent,
    /// `5 cm` compared with `5` and `5 m`.
    pub units: Units,
    /// Number of significant digits from which a decimal equals an exact value of which it is a rounding (or
    /// truncation): with 5, `0.33333` equals `1/3` and `0.33` does not. 0 turns this off. Default 5.
    pub decimal_digits: u32,
    /// Whether `x = 5` equals `5`. Default true.
    pub strip_names: bool,
    /// Whether `x = 5` equals `y = 5`. Default false: the verdict is then unknown.
    pub ignore_names: bool,
    /// Whether `1 < x < 2` equals `(1, 2)`. Default true.
    pub inequalities_as_sets: bool,
    /// Whether a number without a base equals one with a base if the value or the digits agree: `204` and `54` equal
    /// `204_5`. Default true; with false, only the value counts.
    pub base_optional: bool,
    /// Whether `2/4` equals `1/2`. Default true; with false, a fraction of integers must be written in the same way.
    pub unreduced_fractions: bool,
    /// Whether a column or row vector equals a tuple of the same entries. Default true.
    pub vectors_as_tuples: bool,
    /// Whether reasoning that never ends (`<think>` without `</think>`), or that no text follows, is searched for an
    /// answer. Default false: there is no answer.
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
