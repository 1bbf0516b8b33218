//! Judges approximations: how much the rounding of the written digits can change a value.

use super::judge::Judged;
use crate::ast::{Constant, Expr, Func};
use crate::budget::Budget;
use crate::numeric;
use crate::numeric::exact::exact;
use crate::rational::{self, Rat, ratio};

/// Judges `left ≈ right`: true if the difference is at most 0.5%, wrong if it is larger than rounding of the written
/// digits on both sides explains.
pub(super) fn judge_rounded(left: &Expr, right: &Expr, budget: &Budget) -> Judged {
    let trigonometric = |e: &Expr| e.any(&|e| matches!(e, Expr::Func(Func::Sin | Func::Cos | Func::Tan, _)));
    if trigonometric(left) || trigonometric(right) {
        return Judged::Unclear;
    }
    let (Some(l), Some(r)) = (numeric::approximate(left, budget), numeric::approximate(right, budget)) else {
        return Judged::Unclear;
    };
    let size = l.abs().max(r.abs());
    let off = (l - r).abs();
    let pi = left.any(&|e| matches!(e, Expr::Const(Constant::Pi)));
    let allowed = (2.0 * (slack(left, budget) + slack(right, budget)) + 1.5 * last_digit(right))
        .max(size * if pi { 0.05 } else { 0.02 })
        .min(size * 0.1)
        .max(last_digit(right));
    if off <= 0.005 * size {
        Judged::True
    } else if off <= allowed || (l * 100.0 - r).abs() <= 0.1 * r.abs() {
        Judged::Unclear
    } else {
        Judged::False(format!("{l:.6}"))
    }
}

/// The place value of the last decimal or, for an integer, of the last non-zero digit: 1500 may be rounded to hundreds.
fn last_digit(e: &Expr) -> f64 {
    match e {
        Expr::Num { decimals: Some(n), .. } if *n > 0 => 0.1_f64.powi(i32::try_from((*n).min(60)).unwrap_or(60)),
        Expr::Num { value, .. } if value.is_integer() => {
            let digits = value.to_integer().to_string();
            let zeros = digits.len() - digits.trim_end_matches('0').len();
            10_f64.powi(i32::try_from(zeros.min(60)).unwrap_or(60))
        }
        Expr::Neg(a) | Expr::Quantity(a, _) => last_digit(a),
        _ => 1.0,
    }
}

/// The change of the value if every decimal in the expression is off by half a unit of its last digit, estimated as the
/// sum of the single changes; infinite if unknown.
pub(super) fn slack(e: &Expr, budget: &Budget) -> f64 {
    let Some(value) = numeric::approximate(e, budget) else {
        return if exact(e).is_some() { 0.0 } else { f64::INFINITY };
    };
    let count = decimals(e);
    if count > 12 {
        return f64::INFINITY;
    }
    let moved = |place: usize| {
        let mut left = place;
        let e = shifted(e, &mut left);
        numeric::approximate(&e, budget).map_or(f64::INFINITY, |v| (v - value).abs())
    };
    (0..count).map(moved).sum()
}

/// Number of decimals and occurrences of π in an expression.
fn decimals(e: &Expr) -> usize {
    usize::from(matches!(e, Expr::Num { decimals: Some(1..), .. } | Expr::Const(Constant::Pi)))
        + e.children().into_iter().map(decimals).sum::<usize>()
}

/// The expression with the decimal at index `left` (counted as in [`decimals`]) increased by half a unit of its last
/// digit; a π at this index becomes 3.14.
fn shifted(e: &Expr, left: &mut usize) -> Expr {
    let is_decimal = matches!(e, Expr::Num { decimals: Some(1..), .. } | Expr::Const(Constant::Pi));
    if is_decimal {
        if *left == 0 {
            *left = usize::MAX;
            return match e {
                Expr::Num { value, decimals: Some(n) } => {
                    Expr::rat(value + ratio(1, 2) / Rat::from_integer(rational::ten_to((*n).min(60))))
                }
                _ => Expr::rat(ratio(314, 100)),
            };
        }
        *left = left.saturating_sub(1);
    }
    e.map(&mut |child| shifted(child, left))
}
