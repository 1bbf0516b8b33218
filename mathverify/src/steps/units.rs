//! Units in the terms of an equality: `\frac{111 \text{ feet}}{1.5 \text{ feet}} = 74`,
//! `4 \text{ hours} = 240 \text{ minutes}`.

use num_traits::{Signed, Zero};

use super::judge::Judged;
use crate::numeric::exact::exact;
use crate::parse;
use crate::rational::{Rat, ratio, render};
use crate::units::{Unit, unit};

/// A term of an equality, split into formula and units.
#[derive(Debug, Clone)]
pub(super) struct Term {
    /// The term without its units.
    pub formula: String,
    /// The units, in lower case and without a plural s.
    units: Vec<String>,
    /// Whether the term is a single number with a unit.
    bare: bool,
}

/// How two terms with units can be compared.
#[derive(Debug, Clone)]
pub(super) enum Measured {
    /// By the values of their formulas.
    Values,
    /// The equality converts one unit into another; it is judged already.
    Conversion(Judged),
    /// Not at all: a hidden conversion of units may be part of the equality.
    Unclear,
}

/// Words that change the value of the number before them.
const SCALES: [&str; 15] = [
    "thousand",
    "million",
    "billion",
    "hundred",
    "dozen",
    "half",
    "quarter",
    "percent",
    "%",
    "base",
    "remainder",
    "of",
    "pair",
    "score",
    "k",
];

/// Whether one of the words scales the number before it.
pub(super) fn scales(words: &str) -> bool {
    words.split(|c: char| !c.is_alphanumeric() && c != '%').any(|w| SCALES.contains(&w.trim_end_matches('s')))
        || words.contains('%')
}

/// Splits a term into its formula and the units in `\text{...}`. `None` if the words are a name or change the value, or
/// if a sum has different units.
pub(super) fn split(term: &str) -> Option<Term> {
    let mut out = String::with_capacity(term.len());
    let mut rest = term;
    let mut units: Vec<String> = Vec::new();
    while let Some(at) = ["\\text", "\\mathrm", "\\mbox", "\\textbf"].iter().filter_map(|c| rest.find(c)).min() {
        let open = at + rest[at..].find('{')?;
        let close = open + rest[open..].find('}')?;
        let word = rest[open + 1..close].trim().to_lowercase();
        out.push_str(&rest[..at]);
        // A remark in parentheses is left out: `100 (\text{first day})`.
        let remark = out.trim_end().ends_with('(') && rest[close + 1..].trim_start().starts_with(')');
        let before = if remark { out.trim_end().trim_end_matches('(') } else { &out };
        // Words that do not follow a number are a name, not a unit.
        let behind_number =
            before.trim_end_matches([' ', '\\', ',', '}', ')', '~', '/']).ends_with(|c: char| c.is_ascii_digit());
        if !word.is_empty() && (!behind_number || word.chars().any(|c| c.is_ascii_digit())) {
            return None;
        }
        rest = &rest[close + 1..];
        if remark {
            out.truncate(out.trim_end().len() - 1);
            rest = rest.trim_start().strip_prefix(')').unwrap_or(rest);
        } else {
            units.push(word);
        }
        out.push(' ');
        // The exponent of a unit is left out: `\text{cm}^2`.
        let powers = ["^2", "^3", "^{2}", "^{3}"];
        rest = powers.iter().find_map(|p| rest.strip_prefix(p)).unwrap_or(rest);
    }
    out.push_str(rest);
    if units.iter().any(|u| scales(u)) {
        return None;
    }
    units.iter_mut().for_each(|u| *u = u.trim_end_matches('s').to_owned());
    units.retain(|u| !u.is_empty());
    units.dedup();
    let sum = out.trim_start_matches('-').contains(['+', '-']);
    let bare = !units.is_empty() && !out.trim_start_matches('-').contains(['+', '-', '*', '/', '\\', '(']);
    (!sum || units.len() <= 1).then_some(Term { formula: out, units, bare })
}

/// How the two sides of an equality can be compared.
pub(super) fn relate(left: &Term, right: &Term) -> Measured {
    if let ([u], [v]) = (&left.units[..], &right.units[..])
        && left.bare
        && right.bare
        && u != v
    {
        return convert(&left.formula, u, &right.formula, v);
    }
    let known = |t: &Term| t.units.iter().any(|u| convertible(u));
    // `4 hours = 4 * 60` converts, and `1/2 = 30 minutes` may convert.
    if (left.bare && known(left) && left.units != right.units)
        || (right.bare && known(right) && right.units != left.units && left.units.is_empty())
    {
        return Measured::Unclear;
    }
    if mixed(left.units.iter().chain(&right.units).map(String::as_str)) { Measured::Unclear } else { Measured::Values }
}

/// Finds a unit by its name without a plural s: `inche`, `feet`, `hour`.
fn singular(word: &str) -> Option<Unit> {
    unit(word).or_else(|| unit(&format!("{word}s")))
}

/// Whether a word is a unit that is often converted: any known unit except dollars and euros, but with cents.
fn convertible(word: &str) -> bool {
    word.split('/').any(|w| {
        singular(w.trim()).is_some_and(|u| !matches!(u.dimension, "dollars" | "euros") || word.starts_with("cent"))
    })
}

/// Whether the words include two different units of the same dimension: hours and minutes.
pub(super) fn mixed<'a>(words: impl Iterator<Item = &'a str>) -> bool {
    let mut seen: Vec<(&'static str, Rat)> = Vec::new();
    for part in words.flat_map(|w| w.split(['/', ' ', '-'])) {
        let Some(u) = singular(part.trim()) else { continue };
        if seen.iter().any(|(dimension, factor)| *dimension == u.dimension && *factor != u.factor) {
            return true;
        }
        seen.push((u.dimension, u.factor));
    }
    false
}

/// Judges the conversion `n u = m v` of two units of the same dimension. A difference of up to 3% may come from a
/// rounded factor and is not judged.
pub(super) fn convert(n: &str, u: &str, m: &str, v: &str) -> Measured {
    let value = |text: &str| parse::parse(text).ok().as_ref().and_then(exact);
    let (Some(n), Some(m), Some(u), Some(v)) = (value(n), value(m), singular(u), singular(v)) else {
        return Measured::Unclear;
    };
    if u.dimension != v.dimension || u.exponent != v.exponent || v.factor.is_zero() || m.is_zero() {
        return Measured::Unclear;
    }
    let expected = &n * &u.factor / &v.factor;
    let off = (&expected - &m).abs();
    Measured::Conversion(if off.is_zero() {
        Judged::True
    } else if off <= expected.abs() * ratio(3, 100) || (off < ratio(1, 1) && !expected.is_integer()) {
        Judged::Unclear
    } else {
        Judged::False(render(&expected))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(left: &str, right: &str) -> Measured {
        relate(&split(left).unwrap(), &split(right).unwrap())
    }

    #[test]
    fn units_convert_or_go_by() {
        let conversion = |m| match m {
            Measured::Conversion(judged) => Some(judged),
            _ => None,
        };
        assert_eq!(conversion(judged("4 \\text{ hours}", "240 \\text{ minutes}")), Some(Judged::True));
        assert_eq!(conversion(judged("4 \\text{ hours}", "200 \\text{ minutes}")), Some(Judged::False("240".into())));
        assert!(matches!(judged("4 \\text{ hours}", "4 \\times 60"), Measured::Unclear));
        assert!(matches!(judged("5 \\times 4", "21 \\text{ apples}"), Measured::Values));
        assert!(matches!(judged("8 \\text{ bags} \\times 2 \\text{ kg/bag}", "16 \\text{ kg}"), Measured::Values));
        assert!(split("\\text{Total} + 3").is_none());
        assert_eq!(split("100 (\\text{first day}) + 150").unwrap().formula.replace(' ', ""), "100+150");
    }
}
