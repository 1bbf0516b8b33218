//! Whether `left = right` holds, for numbers.

use num_traits::{Signed, Zero};

use crate::ast::{Constant, Expr, Func};
use crate::budget::Budget;
use crate::numeric::eval::exact;
use crate::numeric::{self, Same};
use crate::parse;
use crate::rational::{self, Rat, int, ratio, render};

/// The truth of an equality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    True,
    /// With the left side's real value.
    False(String),
    /// Not an equality of numbers, or true to rounding.
    Unclear,
}

/// Judges two terms given as text. `strict`: a calculator's output, where a terminating result is not rounded.
pub(super) fn judge_numbers(left: &str, right: &str, strict: bool) -> Judged {
    if left.len() > 600 || right.len() > 600 {
        return Judged::Unclear;
    }
    match (parse::parse(left), parse::parse(right)) {
        (Ok(l), Ok(r)) => judge(&l, &r, strict),
        _ => Judged::Unclear,
    }
}

/// Whether an expression is a plain number formula: no names, words, structures.
pub(super) fn is_numeric(e: &Expr) -> bool {
    let plain = match e {
        Expr::Num { .. } | Expr::Const(Constant::Pi) => true,
        Expr::Add(_) | Expr::Mul(_) | Expr::Neg(_) | Expr::Div(..) | Expr::Pow(..) | Expr::Percent(_) => true,
        Expr::Quantity(_, unit) => matches!(unit.as_str(), "$" | "€" | "£" | "¥"),
        Expr::Func(f, _) => !matches!(
            f,
            Func::Det
                | Func::Transpose
                | Func::Mod
                | Func::Log
                | Func::Ln
                | Func::Asin
                | Func::Acos
                | Func::Atan
                | Func::Arg
        ),
        _ => false,
    };
    plain && e.children().into_iter().all(is_numeric)
}

/// Whether it calculates: a bare number claims nothing.
pub(super) fn has_operation(e: &Expr) -> bool {
    match e {
        Expr::Num { .. } | Expr::Const(_) => false,
        Expr::Neg(x) | Expr::Quantity(x, _) | Expr::Percent(x) => has_operation(x),
        _ => true,
    }
}

/// The smallest number of decimals that writes `r` exactly, up to 8.
fn terminates(r: &Rat) -> bool {
    (r * Rat::from_integer(rational::ten_to(8))).is_integer()
}

/// Judges two parsed terms.
pub(super) fn judge(left: &Expr, right: &Expr, strict: bool) -> Judged {
    if !is_numeric(left) || !is_numeric(right) {
        return Judged::Unclear;
    }
    let (left, right) = (&plain(left), &plain(right));
    match (exact(left), exact(right)) {
        (Some(l), Some(r)) => judge_exact(&l, &r, right, strict, inexact(left)),
        _ => match numeric::same(left, right, &Budget::new()) {
            Same::Yes => Judged::True,
            Same::Unknown(_) => Judged::Unclear,
            Same::No => judge_approximate(left, right),
        },
    }
}

fn plain(e: &Expr) -> Expr {
    match e {
        Expr::Quantity(x, _) => plain(x),
        other => other.map(&mut plain),
    }
}

/// Whether decimals stand in it: they may be rounded themselves.
fn inexact(e: &Expr) -> bool {
    e.any(&|e| matches!(e, Expr::Num { decimals: Some(n), .. } if *n > 0))
}

fn judge_exact(l: &Rat, r: &Rat, right: &Expr, strict: bool, decimals: bool) -> Judged {
    if l == r {
        return Judged::True;
    }
    let wrong = || Judged::False(shown(l));
    // 25 and 25%, 0.25 and 25.
    let hundred = int(100);
    if !strict && (&(l * &hundred) == r || l == &(r * &hundred)) {
        return Judged::Unclear;
    }
    let off = (l - r).abs();
    let written = match right {
        Expr::Num { decimals: Some(n), .. } => Some(*n),
        Expr::Num { .. } => Some(0),
        Expr::Neg(x) => match &**x {
            Expr::Num { decimals, .. } => Some(decimals.unwrap_or(0)),
            _ => None,
        },
        _ => None,
    };
    if let Some(n) = written {
        let unit = Rat::from_integer(rational::ten_to(n.min(60))).recip();
        let rounded = off < unit;
        if strict {
            // A calculator shows what terminates; what does not is rounded to at least three digits.
            let digits = (r / &unit).abs().to_integer().to_string().len();
            let nearest = &off * int(2) <= unit || (rounded && r.abs() < l.abs());
            return if nearest && n > 0 && !terminates(l) && digits >= 3 { Judged::Unclear } else { wrong() };
        }
        if rounded && !l.is_integer() {
            return Judged::Unclear;
        }
    }
    if strict {
        return wrong();
    }
    // Rounded operands carry their error into the result.
    let size = l.abs().max(r.abs());
    let tolerance = if decimals || inexact(right) { ratio(2, 100) } else { Rat::zero() };
    if !size.is_zero() && off <= size * tolerance {
        return Judged::Unclear;
    }
    wrong()
}

/// Irrational sides: wrong only when they are clearly apart.
fn judge_approximate(left: &Expr, right: &Expr) -> Judged {
    let (Some(l), Some(r)) = (numeric::approximate(left), numeric::approximate(right)) else { return Judged::Unclear };
    let symbolic = !inexact(left) && !inexact(right) && exact(right).is_none();
    let size = l.abs().max(r.abs()).max(1e-300);
    let tolerance = if symbolic { 1e-9 } else { 0.02 };
    // A degree sign that was left out changes everything: sin 30.
    if left.any(&|e| matches!(e, Expr::Func(Func::Sin | Func::Cos | Func::Tan | Func::Cot | Func::Sec | Func::Csc, _)))
    {
        return Judged::Unclear;
    }
    // A whole number for an irrational one is rounded.
    if (l - r).abs() < 1.0 && !symbolic {
        return Judged::Unclear;
    }
    if (l - r).abs() <= tolerance * size { Judged::Unclear } else { Judged::False(format!("{l:.6}")) }
}

/// `left ≈ right`: wrong when they are a tenth apart.
pub(super) fn judge_rounded(left: &Expr, right: &Expr) -> Judged {
    let trigonometric = |e: &Expr| e.any(&|e| matches!(e, Expr::Func(Func::Sin | Func::Cos | Func::Tan, _)));
    if trigonometric(left) || trigonometric(right) {
        return Judged::Unclear;
    }
    let (Some(l), Some(r)) = (numeric::approximate(left), numeric::approximate(right)) else { return Judged::Unclear };
    let size = l.abs().max(r.abs());
    let off = (l - r).abs();
    if off <= 0.005 * size {
        Judged::True
    } else if off <= 0.1 * size || off < 1.0 || (l * 100.0 - r).abs() <= 0.1 * r.abs() {
        Judged::Unclear
    } else {
        Judged::False(format!("{l:.6}"))
    }
}

/// `left = right` as formulas in the same variables: wrong when they differ as functions.
pub(super) fn judge_identity(left: &Expr, right: &Expr, one_variable: bool) -> Judged {
    let plain = |e: &Expr| {
        !e.any(&|e| {
            !matches!(
                e,
                Expr::Num { .. }
                    | Expr::Sym(_)
                    | Expr::Add(_)
                    | Expr::Mul(_)
                    | Expr::Neg(_)
                    | Expr::Div(..)
                    | Expr::Pow(..)
                    | Expr::Func(Func::Sqrt, _)
            )
        })
    };
    let (l, r) = (variables(left), variables(right));
    // Terms may cancel: the right side has no new variables.
    if !plain(left) || !plain(right) || l.is_empty() || r.is_empty() || l != r || !has_operation(left) {
        return Judged::Unclear;
    }
    // Roots of unity and other named constants are no free variables.
    if one_variable && (l.len() > 1 || l.iter().any(|v| v.len() > 1)) {
        return Judged::Unclear;
    }
    match numeric::same_for_positive(left, right, &Budget::new()) {
        Same::Yes => Judged::True,
        Same::No => Judged::False("another expression".to_owned()),
        Same::Unknown(_) => Judged::Unclear,
    }
}

fn variables(e: &Expr) -> std::collections::BTreeSet<String> {
    match e {
        Expr::Sym(s) => std::iter::once(s.clone()).collect(),
        other => other.children().into_iter().flat_map(variables).collect(),
    }
}

/// A number as people write it: decimal where that ends, else a fraction.
fn shown(r: &Rat) -> String {
    if r.is_integer() || !terminates(r) || r.abs() > int(1_000_000_000_000) {
        return render(r);
    }
    let scaled = (r * Rat::from_integer(rational::ten_to(8))).to_integer();
    let digits = format!("{:0>9}", scaled.abs().to_string());
    let (whole, fraction) = digits.split_at(digits.len() - 8);
    format!("{}{whole}.{}", if scaled.is_negative() { "-" } else { "" }, fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_rounded_and_wrong() {
        assert_eq!(judge_numbers("48/2", "24", true), Judged::True);
        assert_eq!(judge_numbers("48/2", "25", true), Judged::False("24".into()));
        assert_eq!(judge_numbers("5.42/8", "0.68", true), Judged::False("0.6775".into()));
        assert_eq!(judge_numbers("100/3", "33.33", true), Judged::Unclear);
        assert_eq!(judge_numbers("10/3", "3", true), Judged::False("10/3".into()));
        assert_eq!(judge_numbers("10/3", "3", false), Judged::Unclear);
        assert_eq!(judge_numbers("15/60*100", "25%", false), Judged::Unclear);
        assert_eq!(judge_numbers("2x", "4", false), Judged::Unclear);
        assert_eq!(judge_numbers("\\sqrt{8}", "2\\sqrt{2}", false), Judged::True);
        assert_eq!(judge_numbers("\\sqrt{8}", "3\\sqrt{2}", false), Judged::False("2.828427".into()));
    }
}
