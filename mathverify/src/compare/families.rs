//! Periodic solutions: `π/6 + kπ` for all integers k, compared as sets. The verdict does not depend on the chosen start
//! (`π/6` or `7π/6`) or on the letter.

use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::sync::LazyLock;

use regex::Regex;

use crate::ast::{Constant, Expr, Rel};
use crate::budget::Context;
use crate::numeric::{self, Same};
use crate::pattern::pattern;
use crate::verdict::{Outcome, Tier};

/// Maximum number of residues of one side within the common period.
const MAX_RESIDUES: usize = 120;

/// The answer without a remark such as "for k ∈ ℤ" or "where k is an integer" at its end; `None` without a remark.
pub(super) fn without_remark(answer: &str) -> Option<&str> {
    static REMARK: LazyLock<Regex> = LazyLock::new(|| {
        let set = r"(?:\\mathbb\s*\{?\s*[ZN]\s*\}?|\\mathbf\{Z\}|\\Z|ℤ|ℕ|Z)(?:\^\+|\^\{\+\}|_\{?\\?[a-z ]*\d*\}?)?";
        let lead = r"(?:[,;\s(]|\\quad|\\qquad|\\[,;:! ]|\\left\(|\\(?:text|mathrm|mbox)\{[\s,(]*(?:for|where|with|and|any|all|some|integers?|every|\s)*\}|for|where|with|any|all|integers?)*";
        pattern(&format!(
            r"{lead}\(?\s*([a-zA-Z])\s*(?:\\in\s*{set}|∈\s*{set}|\\text\{{\s*(?:is|are|being)\s+(?:an?\s+|any\s+)?integers?\.?\s*\}}|(?:is|are)\s+(?:an?\s+|any\s+)?integers?)\s*(?:\)|\\right\))?[\s.$]*$"
        ))
    });
    if !answer.contains('Z') && !answer.contains('N') && !answer.contains("integer") && !answer.contains(['ℤ', 'ℕ'])
    {
        return None;
    }
    let captured = REMARK.captures(answer)?;
    let (all, letter) = (captured.get(0)?, captured.get(1)?);
    let rest = &answer[..all.start()];
    (rest.contains(letter.as_str()) && rest.contains(|c: char| c.is_alphanumeric())).then_some(rest)
}

/// The numbers `start + k * period` for all integers k.
struct Family {
    start: Expr,
    /// The period, positive.
    period: Expr,
    /// Approximate value of `start`.
    at: f64,
    /// Approximate value of `period`.
    step: f64,
}

/// Compares two lists of families; `None` if a side is not such a list.
pub(super) fn compare(a: &Expr, b: &Expr, options: &Context<'_>) -> Option<Outcome> {
    let (x, y) = (families(a, options)?, families(b, options)?);
    let smallest = x.iter().chain(&y).map(|f| f.step).fold(f64::INFINITY, f64::min);
    // The common period is an integer multiple of every period.
    let multiple = (1..=48_u32).find(|m| {
        x.iter().chain(&y).all(|f| {
            let times = smallest * f64::from(*m) / f.step;
            (times - times.round()).abs() < 1e-9 && times.round() >= 1.0
        })
    })?;
    let whole = smallest * f64::from(multiple);
    let (p, q) = (residues(&x, whole)?, residues(&y, whole)?);
    let found = |r: &Residue, among: &[Residue]| {
        among
            .iter()
            .find(|s| {
                let turns = (r.at - s.at) / whole;
                (turns - turns.round()).abs() < 1e-9
            })
            .cloned()
    };
    for (from, among) in [(&p, &q), (&q, &p)] {
        for r in from {
            let Some(s) = found(r, among) else {
                return Some(Outcome::different(Tier::Structure, "different solutions that repeat"));
            };
            let turns = ((r.at - s.at) / whole).round();
            #[allow(clippy::cast_possible_truncation)]
            let shift =
                Expr::Mul(vec![Expr::int(turns as i64 * i64::from(multiple)), smallest_period(&x, &y, smallest)?]);
            if numeric::same(&r.value, &Expr::Add(vec![s.value, shift]), &options.budget) != Same::Yes {
                return Some(Outcome::unknown("solutions that repeat"));
            }
        }
    }
    Some(Outcome::equal(Tier::Structure, "the same solutions for all whole numbers"))
}

/// The period whose approximate value is `smallest`, as an expression.
fn smallest_period(x: &[Family], y: &[Family], smallest: f64) -> Option<Expr> {
    x.iter().chain(y).find(|f| (f.step - smallest).abs() < 1e-12).map(|f| f.period.clone())
}

/// A start of a family within the common period.
#[derive(Clone)]
struct Residue {
    value: Expr,
    /// Approximate value of `value`.
    at: f64,
}

/// The starts of all families within the common period, whose approximate value is `whole`.
fn residues(families: &[Family], whole: f64) -> Option<Vec<Residue>> {
    let mut out = Vec::new();
    for f in families {
        #[allow(clippy::cast_possible_truncation)]
        let times = (whole / f.step).round() as i64;
        for k in 0..times {
            let value = Expr::Add(vec![f.start.clone(), Expr::Mul(vec![Expr::int(k), f.period.clone()])]);
            #[allow(clippy::cast_precision_loss)]
            out.push(Residue { value, at: f.at + f.step * k as f64 });
            if out.len() > MAX_RESIDUES {
                return None;
            }
        }
    }
    Some(out)
}

/// The items as families in one common variable; `None` if an item is no family.
fn families(e: &Expr, options: &Context<'_>) -> Option<Vec<Family>> {
    let items: Vec<&Expr> = match e {
        Expr::List(items) | Expr::Set(items) => items.iter().collect(),
        other => vec![other],
    };
    let mut letters: BTreeSet<String> = BTreeSet::new();
    let out = items.into_iter().map(|item| family(value(item), &mut letters, options)).collect::<Option<Vec<_>>>()?;
    (letters.len() == 1).then_some(out)
}

/// Whether a letter may be the parameter k: a capital letter is the name of something else.
fn parameter(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The right side of `x = value`; any other expression unchanged.
fn value(e: &Expr) -> &Expr {
    match e {
        Expr::Relation(terms, ops) if ops == &[Rel::Eq] && matches!(terms[0], Expr::Sym(_)) => &terms[1],
        other => other,
    }
}

/// Reads an expression that is linear in its only variable and whose period is a multiple of π/720 (a quarter degree).
fn family(e: &Expr, letters: &mut BTreeSet<String>, options: &Context<'_>) -> Option<Family> {
    let mut names = BTreeSet::new();
    symbols(e, &mut names);
    let name = names.pop_first().filter(|_| names.is_empty())?;
    let turns = e.any(&|e| matches!(e, Expr::Const(Constant::Pi) | Expr::Degrees(_)));
    let plain =
        !e.any(&|e| matches!(e, Expr::List(_) | Expr::Relation(..) | Expr::Text(_) | Expr::Func(..) | Expr::Apply(..)));
    if !turns || !plain {
        return None;
    }
    let point = |k: i64| e.substitute(&name, &Expr::int(k));
    let value = |k: i64| {
        let e = point(k);
        let zero = || (numeric::sign(&e, &options.budget) == Some(0)).then_some(0.0);
        numeric::approximate(&e, &options.budget).or_else(zero).filter(|v| v.is_finite())
    };
    let values: Vec<f64> = (0..4).map(value).collect::<Option<_>>()?;
    let step = values[1] - values[0];
    let linear = values.windows(2).all(|w| (w[1] - w[0] - step).abs() < 1e-9);
    let part = step.abs() / PI * 720.0;
    if !linear || step.abs() < 1e-6 || (part - part.round()).abs() > 1e-6 {
        return None;
    }
    if !parameter(&name) {
        return None;
    }
    letters.insert(name.clone());
    let period = Expr::Add(vec![point(1), Expr::Neg(Box::new(point(0)))]);
    let period = if step < 0.0 { Expr::Neg(Box::new(period)) } else { period };
    Some(Family { start: point(0), period, at: values[0], step: step.abs() })
}

/// Adds the names of all variables of `e` to `out`.
fn symbols(e: &Expr, out: &mut BTreeSet<String>) {
    match e {
        Expr::Sym(name) => {
            out.insert(name.clone());
        }
        other => other.children().into_iter().for_each(|c| symbols(c, out)),
    }
}

#[cfg(test)]
mod tests {
    use crate::options::Options;
    use crate::verdict::Status;

    #[test]
    fn representatives_and_letters_do_not_count() {
        let status = |a: &str, b: &str| super::super::compare(a, b, &Options::default()).status;
        for (a, b) in [
            ("\\frac{\\pi}{6} + k\\pi", "\\frac{7\\pi}{6} + n\\pi"),
            ("x = -\\frac{\\pi}{6} + k\\pi", "\\frac{5\\pi}{6} + \\pi k, k \\in \\mathbb{Z}"),
            ("\\frac{k\\pi}{2}", "k\\pi, \\frac{\\pi}{2} + k\\pi"),
            (
                "\\pm\\frac{\\pi}{3} + 2k\\pi \\text{ for } k \\in \\mathbb{Z}",
                "2\\pi n + \\frac{\\pi}{3}, 2\\pi n - \\frac{\\pi}{3}",
            ),
            ("30^\\circ + 360^\\circ k", "390^\\circ + 360^\\circ n"),
        ] {
            assert_eq!(status(a, b), Status::Equal, "{a} = {b}");
        }
        for (a, b) in [
            ("\\frac{\\pi}{6} + k\\pi", "\\frac{\\pi}{6} + 2k\\pi"),
            ("\\frac{\\pi}{6} + k\\pi", "\\frac{\\pi}{3} + k\\pi"),
            ("2k", "2n+1"),
        ] {
            assert_ne!(status(a, b), Status::Equal, "{a} and {b}");
        }
    }
}
