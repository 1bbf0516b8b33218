//! What sources disagree on, as named options.

use serde::{Deserialize, Serialize};

/// How a percentage compares with a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Percent {
    /// `50%` equals `50` and `1/2`: the question says "what percentage" or "what part".
    #[default]
    Either,
    /// `50%` equals `1/2` and not `50`.
    Fraction,
    /// `50%` equals `50` and not `1/2`.
    Sign,
}

/// How units compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Units {
    /// A unit that only one side has is left out; where both have one that is known they have to agree (`1 m` is `100 cm`).
    #[default]
    Optional,
    /// Both sides have the same unit, or none.
    Required,
    /// Units are left out.
    Ignored,
}

/// The policies of a comparison. The defaults are those of a grader of final answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Lists without brackets compare in order: `1, 2` is not `2, 1`. Default false; tuples always do, sets never.
    pub ordered_lists: bool,
    /// `10%` beside `10` and `1/10`.
    pub percent: Percent,
    /// `5 cm` beside `5` and `5 m`.
    pub units: Units,
    /// A decimal with at least this many significant digits equals an exact value that it is rounded (or cut off) from:
    /// `0.33333` is `1/3`, `0.33` is not. 0 turns this off. Default 5.
    pub decimal_digits: u32,
    /// `x = 5` equals `5`. Default true.
    pub strip_names: bool,
    /// `x = 5` equals `y = 5`. Default false: the verdict is then unknown.
    pub ignore_names: bool,
    /// `1 < x < 2` equals `(1, 2)`. Default true.
    pub inequalities_as_sets: bool,
    /// A number without base equals one with a base when value or digits agree: `204` and `54` are `204_5`. Default
    /// true; else only the value counts.
    pub base_optional: bool,
    /// `2/4` equals `1/2`. Default true; else a fraction of whole numbers has to be written in the same way.
    pub unreduced_fractions: bool,
    /// A column or row vector equals a tuple of the same entries. Default true.
    pub vectors_as_tuples: bool,
    /// Reasoning that never ends (`<think>` without `</think>`), or behind which nothing stands, is read for an answer
    /// too. Default false: no answer was given.
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
