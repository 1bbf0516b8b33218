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

/// The truth of an equality.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judged {
    True,
    /// False, with the real value of the left side.
    False(String),
    /// Not an equality of numbers, or true up to rounding.
    Unclear,
}

/// Judges two terms given as text. With `strict`, the right side is a calculator's output, in which a terminating
/// result is not rounded.
pub(super) fn judge_numbers(left: &str, right: &str, strict: bool, budget: &Budget) -> Judged {
    if left.len() > 600 || right.len() > 600 {
        return Judged::Unclear;
    }
    match (parse::parse(left), parse::parse(right)) {
        (Ok(l), Ok(r)) => judge(&l, &r, strict, budget),
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

/// Whether it calculates something: a single number claims nothing.
pub(super) fn has_operation(e: &Expr) -> bool {
    match e {
        Expr::Num { .. } | Expr::Const(_) => false,
        Expr::Neg(x) | Expr::Quantity(x, _) | Expr::Percent(x) => has_operation(x),
        _ => true,
    }
}

/// The smallest number of decimals with which `r` is written exactly, up to 8.
fn terminates(r: &Rat) -> bool {
    (r * Rat::from_integer(rational::ten_to(8))).is_integer()
}

/// Judges two parsed terms.
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

/// Whether it contains decimals, which may themselves be rounded.
fn inexact(e: &Expr) -> bool {
    e.any(&|e| matches!(e, Expr::Num { decimals: Some(n), .. } if *n > 0))
}

fn judge_exact(l: &Rat, r: &Rat, left: &Expr, right: &Expr, strict: bool, budget: &Budget) -> Judged {
    if l == r {
        return Judged::True;
    }
    // What follows are about a dozen sums, products and comparisons.
    if !budget.take(price(l, r, 12)) {
        return Judged::Unclear;
    }
    let decimals = inexact(left);
    let wrong = || Judged::False(shown(l));
    let scale = |n: i64| &(l * int(n)) == r || l == &(r * int(n));
    // 25 and 25%, 0.25 and 25; 5 (thousand) and 15,000.
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
            // A calculator shows a terminating result exactly; any other result is rounded to at least three digits.
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
    // Rounded operands carry their error into the result, up to the change that their last digits can cause.
    if decimals || inexact(right) {
        let size = l.abs().max(r.abs());
        let unit = written.map_or_else(|| int(0), |n| Rat::from_integer(rational::ten_to(n.min(60))).recip());
        let most = size.clone() * ratio(2, 100);
        // Decimals on the left may represent more digits than are shown.
        let least = if decimals { size.clone() * ratio(25, 10_000) } else { int(0) };
        let moved = Rat::from_f64((slack(left, budget) + slack(right, budget)) * 1.5)
            .map_or_else(|| most.clone(), |m| m + unit);
        if off <= moved.max(least).min(most) {
            return Judged::Unclear;
        }
    }
    wrong()
}

/// Irrational sides: wrong only if they clearly differ.
fn judge_approximate(left: &Expr, right: &Expr, budget: &Budget) -> Judged {
    let (Some(l), Some(r)) = (numeric::approximate(left, budget), numeric::approximate(right, budget)) else {
        return Judged::Unclear;
    };
    let symbolic = !inexact(left) && !inexact(right) && exact(right).is_none();
    let size = l.abs().max(r.abs()).max(1e-300);
    let tolerance = if symbolic { 1e-9 } else { 0.02 };
    // A missing degree sign changes everything: sin 30.
    if left.any(&|e| matches!(e, Expr::Func(Func::Sin | Func::Cos | Func::Tan | Func::Cot | Func::Sec | Func::Csc, _)))
    {
        return Judged::Unclear;
    }
    // An integer in place of an irrational number is rounded.
    if (l - r).abs() < 1.0 && !symbolic {
        return Judged::Unclear;
    }
    if (l - r).abs() <= tolerance * size { Judged::Unclear } else { Judged::False(format!("{l:.6}")) }
}

/// `a ± b = c ± d`: the values for both signs on one side are those of the other, in either order.
pub(super) fn judge_signs(left: &Expr, right: &Expr, budget: &Budget) -> Judged {
    // Several signs on one side may be chosen separately: the possible roots ±1/±2.
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

/// "can be written as": `left = right`, where one is a product and the other a sum, or both are quotients. An
/// equality that fails only in its lower terms is an error of the writer; one that fails for large values may be an
/// equation to solve.
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

/// `left = right` as formulas in the same variables: wrong if they differ as functions.
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
    // Terms may cancel: the right side has no new variables.
    if !plain(left) || !plain(right) || l.is_empty() || r.is_empty() || l != r || !has_operation(left) {
        return Judged::Unclear;
    }
    // Relations between variables are used in quotients: pqr = 48.
    let quotient = |e: &Expr| e.any(&|e| matches!(e, Expr::Div(_, d) if !variables(d).is_empty()));
    if l.len() > 1 && (quotient(left) || quotient(right)) {
        return Judged::Unclear;
    }
    // Roots of unity and other named constants are not free variables.
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

/// Whether two formulas differ by more than a twentieth for integer values of their variables.
fn far_apart(left: &Expr, right: &Expr, budget: &Budget) -> bool {
    (1..=3).all(|n| {
        let value = |e: &Expr| {
            let e = variables(e).iter().fold(e.clone(), |e, name| e.substitute(name, &Expr::int(n)));
            numeric::approximate(&e, budget)
        };
        matches!((value(left), value(right)), (Some(l), Some(r)) if (l - r).abs() > 0.05 * l.abs().max(r.abs()))
    })
}

pub(super) fn variables(e: &Expr) -> std::collections::BTreeSet<String> {
    match e {
        Expr::Sym(s) => std::iter::once(s.clone()).collect(),
        other => other.children().into_iter().flat_map(variables).collect(),
    }
}

/// A number in the usual notation: decimal if it terminates, else a fraction.
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
