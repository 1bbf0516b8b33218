//! Judges whether `left = right` holds, for numbers.

use num_traits::{FromPrimitive, Signed, ToPrimitive};

use super::rounding::slack;
use crate::ast::{Constant, Expr, Func};
use crate::budget::Budget;
use crate::normal;
use crate::numeric::eval::cost;
use crate::numeric::exact::{exact, exact_paid, price};
use crate::numeric::{self, Same};
use crate::parse;
use crate::rational::{self, Rat, int, ratio, render};

/// The verdict on an equality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    True,
    /// False, with the correct value of the left side.
    False(String),
    /// Not an equality of numbers, or true up to rounding.
    Unclear,
}

/// Judges `left = right`, given as text. With `strict`, the right side is a calculator's output: it may be rounded only
/// if the exact result has no finite decimal.
pub(super) fn judge_numbers(left: &str, right: &str, strict: bool, budget: &Budget) -> Judged {
    if left.len() > 600 || right.len() > 600 {
        return Judged::Unclear;
    }
    match (parse::parse(left), parse::parse(right)) {
        (Ok(l), Ok(r)) => judge(&l, &r, strict, budget),
        _ => Judged::Unclear,
    }
}

/// Whether an expression is a formula of numbers only, without variables, words and lists.
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

/// Whether the expression has an operation; a single number has none and claims nothing.
pub(super) fn has_operation(e: &Expr) -> bool {
    match e {
        Expr::Num { .. } | Expr::Const(_) => false,
        Expr::Neg(x) | Expr::Quantity(x, _) | Expr::Percent(x) => has_operation(x),
        _ => true,
    }
}

/// Whether at most 8 decimals write `r` exactly.
fn terminates(r: &Rat) -> bool {
    (r * Rat::from_integer(rational::ten_to(8))).is_integer()
}

/// Judges `left = right` for two parsed terms.
pub(super) fn judge(left: &Expr, right: &Expr, strict: bool, budget: &Budget) -> Judged {
    if !is_numeric(left) || !is_numeric(right) {
        return Judged::Unclear;
    }
    let (left, right) = (&plain(left), &plain(right));
    if !budget.take(2 + cost(left).saturating_add(cost(right))) {
        return Judged::Unclear;
    }
    match (exact_paid(left, budget), exact_paid(right, budget)) {
        (Some(l), Some(r)) => judge_exact(&l, &r, left, right, strict, budget),
        _ => match numeric::same(left, right, budget) {
            Same::Yes => Judged::True,
            Same::Unknown(_) => Judged::Unclear,
            Same::No => judge_approximate(left, right, budget),
        },
    }
}

fn plain(e: &Expr) -> Expr {
    match e {
        Expr::Quantity(x, _) => plain(x),
        other => other.map(&mut plain),
    }
}

/// Whether the expression contains decimals, which may themselves be rounded.
fn inexact(e: &Expr) -> bool {
    e.any(&|e| matches!(e, Expr::Num { decimals: Some(n), .. } if *n > 0))
}

fn judge_exact(l: &Rat, r: &Rat, left: &Expr, right: &Expr, strict: bool, budget: &Budget) -> Judged {
    if l == r {
        return Judged::True;
    }
    // The code below does about a dozen sums, products and comparisons of the two numbers.
    if !budget.take(price(l, r, 12)) {
        return Judged::Unclear;
    }
    let decimals = inexact(left);
    let wrong = || Judged::False(shown(l));
    let scale = |n: i64| &(l * int(n)) == r || l == &(r * int(n));
    // A factor of 100 may be a percent sign left out (`0.25` and `25`); 1,000 and 1,000,000 may be "thousand" and
    // "million" left out.
    if !strict && [100, 1_000, 1_000_000].into_iter().any(scale) {
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
            // A calculator shows a finite decimal exactly and rounds any other result to at least three digits.
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
    // Decimals may be rounded: a difference that their last digits can explain is not judged, unless it is above 2%.
    if decimals || inexact(right) {
        let size = l.abs().max(r.abs());
        let unit = written.map_or_else(|| int(0), |n| Rat::from_integer(rational::ten_to(n.min(60))).recip());
        let most = size.clone() * ratio(2, 100);
        // The values behind decimals on the left may have more digits than are written: 0.25% is always allowed.
        let least = if decimals { size.clone() * ratio(25, 10_000) } else { int(0) };
        let moved = Rat::from_f64((slack(left, budget) + slack(right, budget)) * 1.5)
            .map_or_else(|| most.clone(), |m| m + unit);
        if off <= moved.max(least).min(most) {
            return Judged::Unclear;
        }
    }
    wrong()
}

/// Judges `left = right` if a side is irrational: wrong only if the approximate values clearly differ.
fn judge_approximate(left: &Expr, right: &Expr, budget: &Budget) -> Judged {
    let (Some(l), Some(r)) = (numeric::approximate(left, budget), numeric::approximate(right, budget)) else {
        return Judged::Unclear;
    };
    let symbolic = !inexact(left) && !inexact(right) && exact(right).is_none();
    let size = l.abs().max(r.abs()).max(1e-300);
    let tolerance = if symbolic { 1e-9 } else { 0.02 };
    // A trigonometric value is not judged, since a degree sign may be missing: `sin 30`.
    if left.any(&|e| matches!(e, Expr::Func(Func::Sin | Func::Cos | Func::Tan | Func::Cot | Func::Sec | Func::Csc, _)))
    {
        return Judged::Unclear;
    }
    // A difference below 1 may be rounding to an integer, unless both sides are irrational formulas without decimals.
    if (l - r).abs() < 1.0 && !symbolic {
        return Judged::Unclear;
    }
    if (l - r).abs() <= tolerance * size { Judged::Unclear } else { Judged::False(format!("{l:.6}")) }
}

/// Judges `a ± b = c ± d`: true if both sides have the same two values, in either order.
pub(super) fn judge_signs(left: &Expr, right: &Expr, budget: &Budget) -> Judged {
    // With several ± on a side, each sign may be chosen separately, as in the possible roots ±1/±2: not judged.
    fn signs(e: &Expr) -> usize {
        usize::from(matches!(e, Expr::PlusMinus(..))) + e.children().into_iter().map(signs).sum::<usize>()
    }
    if signs(left) != 1 || signs(right) != 1 {
        return Judged::Unclear;
    }
    let both = |e: &Expr| [with_sign(e, true), with_sign(e, false)];
    let ([lp, lm], [rp, rm]) = (both(left), both(right));
    let straight = [judge(&lp, &rp, false, budget), judge(&lm, &rm, false, budget)];
    let crossed = [judge(&lp, &rm, false, budget), judge(&lm, &rp, false, budget)];
    let holds = |pair: &[Judged; 2]| pair.iter().all(|j| *j == Judged::True);
    let fails =
        |pair: &[Judged; 2]| pair.iter().any(|j| matches!(j, Judged::False(_))) && !pair.contains(&Judged::Unclear);
    if holds(&straight) || holds(&crossed) {
        Judged::True
    } else if fails(&straight) && fails(&crossed) {
        match straight {
            [Judged::False(value), _] | [_, Judged::False(value)] => Judged::False(value),
            _ => Judged::Unclear,
        }
    } else {
        Judged::Unclear
    }
}

/// The expression with every ± replaced by `+`, or by `-`.
fn with_sign(e: &Expr, plus: bool) -> Expr {
    match e {
        Expr::PlusMinus(x, upper) => {
            let x = with_sign(x, plus);
            if *upper == plus { x } else { Expr::Neg(Box::new(x)) }
        }
        other => other.map(&mut |child| with_sign(child, plus)),
    }
}

/// Judges `left = right` after "can be written as", in one variable, if one side is a product and the other a sum, or
/// if both are quotients. If the sides differ by more than 1% even for a large value of the variable, the equality may
/// be an equation to solve and is not judged. Otherwise only lower terms differ, which is an error of the writer.
pub(super) fn judge_rewritten(left: &Expr, right: &Expr, budget: &Budget) -> Judged {
    let product = |e: &Expr| matches!(e, Expr::Mul(_) | Expr::Pow(..));
    let sum = |e: &Expr| matches!(e, Expr::Add(_));
    let quotient = |e: &Expr| matches!(e, Expr::Div(..));
    let fits = (product(left) && sum(right)) || (sum(left) && product(right)) || (quotient(left) && quotient(right));
    let names = variables(left);
    if !fits || names.len() != 1 {
        return Judged::Unclear;
    }
    let judged = judge_identity(left, right, true, budget);
    let far = |e: &Expr| {
        let far = names.iter().fold(e.clone(), |e, name| e.substitute(name, &Expr::int(1_000_003)));
        exact(&far).as_ref().and_then(ToPrimitive::to_f64)
    };
    match (judged, far(left), far(right)) {
        (Judged::False(_), Some(l), Some(r)) if (l - r).abs() > 0.01 * l.abs() => Judged::Unclear,
        (Judged::False(_), None, _) | (Judged::False(_), _, None) => Judged::Unclear,
        (judged, ..) => judged,
    }
}

/// Judges `left = right` as an identity of formulas in the same variables: wrong if they differ as functions.
pub(super) fn judge_identity(left: &Expr, right: &Expr, one_variable: bool, budget: &Budget) -> Judged {
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
    // Both sides must have the same variables.
    if !plain(left) || !plain(right) || l.is_empty() || r.is_empty() || l != r || !has_operation(left) {
        return Judged::Unclear;
    }
    // A quotient of several variables may use a known relation between them, such as `pqr = 48`.
    let quotient = |e: &Expr| e.any(&|e| matches!(e, Expr::Div(_, d) if !variables(d).is_empty()));
    if l.len() > 1 && (quotient(left) || quotient(right)) {
        return Judged::Unclear;
    }
    // A longer name, or one of several, may be a named constant (such as a root of unity) and no free variable.
    if one_variable && (l.len() > 1 || l.iter().any(|v| v.len() > 1)) {
        return Judged::Unclear;
    }
    if normal::compare(left, right, budget).is_some() {
        return Judged::True;
    }
    match numeric::same_for_positive(left, right, budget) {
        Same::Yes => Judged::True,
        // Coefficients may be rounded.
        Same::No if (inexact(left) || inexact(right)) && !far_apart(left, right, budget) => Judged::Unclear,
        Same::No => Judged::False("another expression".to_owned()),
        Same::Unknown(_) => Judged::Unclear,
    }
}

/// Whether two formulas differ by more than 5% when all variables are 1, when all are 2, and when all are 3.
fn far_apart(left: &Expr, right: &Expr, budget: &Budget) -> bool {
    (1..=3).all(|n| {
        let value = |e: &Expr| {
            let e = variables(e).iter().fold(e.clone(), |e, name| e.substitute(name, &Expr::int(n)));
            numeric::approximate(&e, budget)
        };
        matches!((value(left), value(right)), (Some(l), Some(r)) if (l - r).abs() > 0.05 * l.abs().max(r.abs()))
    })
}

/// The names of all variables of an expression.
pub(super) fn variables(e: &Expr) -> std::collections::BTreeSet<String> {
    match e {
        Expr::Sym(s) => std::iter::once(s.clone()).collect(),
        other => other.children().into_iter().flat_map(variables).collect(),
    }
}

/// A number in the usual notation: a decimal if it has at most 8 decimals, else a fraction.
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
        assert_eq!(judge_numbers("48/2", "24", true, &Budget::of_solution()), Judged::True);
        assert_eq!(judge_numbers("48/2", "25", true, &Budget::of_solution()), Judged::False("24".into()));
        assert_eq!(judge_numbers("5.42/8", "0.68", true, &Budget::of_solution()), Judged::False("0.6775".into()));
        assert_eq!(judge_numbers("100/3", "33.33", true, &Budget::of_solution()), Judged::Unclear);
        assert_eq!(judge_numbers("10/3", "3", true, &Budget::of_solution()), Judged::False("10/3".into()));
        assert_eq!(judge_numbers("10/3", "3", false, &Budget::of_solution()), Judged::Unclear);
        assert_eq!(judge_numbers("15/60*100", "25%", false, &Budget::of_solution()), Judged::Unclear);
        assert_eq!(judge_numbers("2x", "4", false, &Budget::of_solution()), Judged::Unclear);
        assert_eq!(judge_numbers("\\sqrt{8}", "2\\sqrt{2}", false, &Budget::of_solution()), Judged::True);
        assert_eq!(
            judge_numbers("\\sqrt{8}", "3\\sqrt{2}", false, &Budget::of_solution()),
            Judged::False("2.828427".into())
        );
    }
}
