//! Decides the equality of two expressions by their values.
//!
//! Both sides are evaluated in ball arithmetic at random points. Disjoint balls prove a difference. Equality is
//! claimed if the balls overlap at every point and, at enough points, are smaller than 2^-160 of the values: two
//! different expressions of the size of an answer do not come that close by chance. Variables are assumed to be real.
//! Points where a side has no value are left out. Complex values count only at points whose variables are all positive.

mod calculus;
mod complex;
mod elementary;
pub(crate) mod eval;
pub(crate) mod exact;
mod float;

use crate::ast::{Big, Expr, Func};
use crate::budget::Budget;
use complex::Complex;
use eval::{Evaluator, NoValue};
use exact::exact_paid;

/// Precision of the first evaluation ([`QUICK`]) and of a claim of equality ([`SURE`]), in bits. A claim adds the
/// [`weight`] of both sides, so that `1 + 10^{-200}` is distinguished from 1.
const QUICK: u32 = 128;
const SURE: u32 = 384;
/// Maximum [`weight`] of both sides together for which equality is claimed, in bits.
const MAX_WEIGHT: f64 = 3_600.0;
/// Number of bits to which both sides must agree at a point.
const AGREE: f64 = 160.0;

/// Points from this seed on are spread over five orders of magnitude.
const WIDE: u64 = 100;

/// Whether the expression contains a piecewise function: two such expressions can agree over a whole interval, so a few
/// points near each other prove little.
fn piecewise(e: &Expr) -> bool {
    e.any(&|e| {
        matches!(
            e,
            Expr::Func(Func::Floor | Func::Ceil | Func::Sign | Func::Min | Func::Max | Func::Mod | Func::Abs, _)
        )
    })
}

/// The result of comparing two expressions by value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Same {
    /// Equal at every point where both sides have a value, to at least 160 bits.
    Yes,
    /// Proven different.
    No,
    /// Unknown, with the reason.
    Unknown(&'static str),
}

/// The comparison at one point, at one precision.
enum AtPoint {
    Apart,
    Together { tight: bool },
    NoValue(NoValue),
}

/// Evaluates both sides at one point. Also returns whether an opaque value was used: a difference then proves nothing.
fn at_point(a: &Expr, b: &Expr, budget: &Budget, precision: u32, point: u64, negative: bool) -> (AtPoint, bool) {
    let mut left = Evaluator::new(budget, precision, point, negative);
    left.wide = point >= WIDE;
    let x = left.eval(a);
    let mut right = Evaluator::new(budget, precision, point, negative);
    right.wide = point >= WIDE;
    let y = right.eval(b);
    let opaque = left.opaque || right.opaque;
    let (x, y) = match (x, y) {
        (Ok(x), Ok(y)) => (x, y),
        (Err(NoValue::Budget), _) | (_, Err(NoValue::Budget)) => return (AtPoint::NoValue(NoValue::Budget), opaque),
        (Err(e), _) | (_, Err(e)) => return (AtPoint::NoValue(e), opaque),
    };
    // With negative variables, only real values are compared: the branches of roots and logarithms may differ.
    if negative && !(x.is_real() && y.is_real()) {
        return (AtPoint::NoValue(NoValue::Undefined), opaque);
    }
    if x.apart(&y, precision) {
        return (AtPoint::Apart, opaque);
    }
    let size = x.re.high().max(x.im.high()).max(y.re.high()).max(y.im.high());
    let worst = [&x, &y].iter().flat_map(|c: &&Complex| [c.re.rad, c.im.rad]).fold(f64::NEG_INFINITY, f64::max);
    let tight = worst == f64::NEG_INFINITY || worst < size - AGREE || worst < -AGREE;
    (AtPoint::Together { tight }, opaque)
}

/// Compares two expressions by value.
pub(crate) fn same(a: &Expr, b: &Expr, budget: &Budget) -> Same {
    if (whole_numbers(a, budget) || whole_numbers(b, budget))
        && let Some(answer) = same_for_whole(a, b, budget)
    {
        return answer;
    }
    compare(a, b, budget, &[(1, false), (2, false), (3, true), (4, true), (5, true), (6, true), (7, false)])
}

/// Like [`same`], only for positive values of the variables.
pub(crate) fn same_for_positive(a: &Expr, b: &Expr, budget: &Budget) -> Same {
    compare(a, b, budget, &[(1, false), (2, false), (7, false), (8, false), (9, false)])
}

/// Whether an expression is usually meant for integer variables: `n!`, `(-1)^n`, sums up to n.
fn whole_numbers(e: &Expr, budget: &Budget) -> bool {
    let open = |e: &Expr| e.any(&|e| matches!(e, Expr::Sym(_)));
    e.any(&|e| match e {
        Expr::Func(Func::Factorial | Func::DoubleFactorial | Func::Binomial | Func::Gcd | Func::Lcm | Func::Mod, a) => {
            a.iter().any(open)
        }
        Expr::Big { kind: Big::Sum | Big::Product, low, high, .. } => low.iter().chain(high).any(|b| open(b)),
        Expr::Pow(base, n) => open(n) && !open(base) && sign(base, budget) == Some(-1),
        _ => false,
    })
}

/// Number of integer points, and the minimum number of them at which both sides must agree.
const WHOLE_POINTS: u64 = 14;
const WHOLE_AGREE: usize = 8;

/// Compares with integers from 2 to 15 for the variables; `None` if the sides agree at too few points and differ at
/// none.
fn same_for_whole(a: &Expr, b: &Expr, budget: &Budget) -> Option<Same> {
    let mut names = std::collections::BTreeSet::new();
    let mut bound = std::collections::BTreeSet::new();
    for e in [a, b] {
        symbols(e, &mut names, &mut bound);
    }
    names.retain(|n| !bound.contains(n));
    let mut agree = 0;
    for point in 0..WHOLE_POINTS {
        let place = |e: &Expr| {
            names.iter().fold(e.clone(), |e, name| {
                // The first variable takes all values in order; the others take pseudo-random ones.
                let first = names.first() == Some(name);
                let value = if first { point } else { eval::hash(name, point) % WHOLE_POINTS };
                e.substitute(name, &Expr::int(i64::try_from(value + 2).unwrap_or(2)))
            })
        };
        let (x, y) = (place(a), place(b));
        if !budget.take(20 + eval::cost(&x) + eval::cost(&y)) {
            return Some(Same::Unknown("larger than the budget"));
        }
        let outcome = match (exact_paid(&x, budget), exact_paid(&y, budget)) {
            (Some(x), Some(y)) if x == y => Same::Yes,
            (Some(_), Some(_)) => Same::No,
            _ => compare(&x, &y, budget, &[(1, false)]),
        };
        match outcome {
            Same::Yes => agree += 1,
            Same::No => return Some(Same::No),
            Same::Unknown("larger than the budget") => return Some(outcome),
            Same::Unknown(_) => {}
        }
    }
    (agree >= WHOLE_AGREE).then_some(Same::Yes)
}

/// Whether an expression has free variables or unknown functions.
fn free(e: &Expr) -> bool {
    let (mut names, mut bound) = Default::default();
    symbols(e, &mut names, &mut bound);
    names.iter().any(|n| !bound.contains(n)) || e.any(&|e| matches!(e, Expr::Apply(..)))
}

/// Collects the variables of an expression, and those that a sum, product, limit or definite integral binds.
fn symbols(e: &Expr, names: &mut std::collections::BTreeSet<String>, bound: &mut std::collections::BTreeSet<String>) {
    match e {
        Expr::Sym(name) => {
            names.insert(name.clone());
        }
        Expr::Big { kind, var, low, .. }
            if matches!(kind, Big::Sum | Big::Product | Big::Limit) || (*kind == Big::Integral && low.is_some()) =>
        {
            bound.insert(var.clone());
        }
        _ => {}
    }
    e.children().into_iter().for_each(|c| symbols(c, names, bound));
}

/// Size of the written numbers of an expression, in bits: the precision that is needed to notice a change in one of
/// them. A power multiplies the size of its base by the value of its exponent. Infinite if an exponent is out of range.
fn weight(e: &Expr, budget: &Budget) -> f64 {
    let size = |e: &Expr| match Evaluator::new(budget, QUICK, 1, false).eval(e) {
        Ok(value) if value.is_real() => value.re.mid.to_f64().abs().max(1.0),
        Err(NoValue::Budget) => f64::INFINITY,
        _ => 1.0,
    };
    #[allow(clippy::cast_precision_loss)]
    match e {
        Expr::Num { value, .. } | Expr::Based { value, .. } => (value.numer().bits() + value.denom().bits()) as f64,
        Expr::Const(_) | Expr::Sym(_) => 2.0,
        Expr::Pow(base, exponent) => {
            let inner = weight(exponent, budget);
            if inner > MAX_WEIGHT { f64::INFINITY } else { weight(base, budget) * size(exponent) + inner }
        }
        Expr::Func(
            Func::Exp | Func::Sinh | Func::Cosh | Func::Tanh | Func::Coth | Func::Sech | Func::Csch | Func::Factorial,
            arguments,
        ) => arguments.iter().map(|a| weight(a, budget) + 2.0 * size(a)).sum(),
        other => other.children().into_iter().map(|c| weight(c, budget)).sum(),
    }
}

/// Compares at the given points. A point is a seed, and whether variables may be negative.
fn compare(a: &Expr, b: &Expr, budget: &Budget, points: &[(u64, bool)]) -> Same {
    let has_variables = free(a) || free(b);
    let mut opaque = false;
    let mut exhausted = false;
    let mut good = 0;
    let mut tries = 0;
    let weight = weight(a, budget) + weight(b, budget);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let sure = SURE + weight.min(MAX_WEIGHT) as u32;
    let plan = if has_variables { points } else { &points[..1] };
    for &(seed, negative) in plan {
        let (quick, o) = at_point(a, b, budget, QUICK, seed, negative);
        opaque |= o;
        let outcome = match quick {
            AtPoint::Apart => AtPoint::Apart,
            AtPoint::NoValue(NoValue::Unsupported) => return Same::Unknown("a form without a value"),
            AtPoint::NoValue(NoValue::Budget) => AtPoint::NoValue(NoValue::Budget),
            _ if weight > MAX_WEIGHT => return Same::Unknown("numbers too large for a claim of equality"),
            _ => at_point(a, b, budget, sure, seed, negative).0,
        };
        match outcome {
            AtPoint::Apart if opaque => return Same::Unknown("a form that is only compared by its looks"),
            AtPoint::Apart => return Same::No,
            AtPoint::Together { tight: true } => good += 1,
            AtPoint::NoValue(NoValue::Budget) => exhausted = true,
            _ => {}
        }
        tries += 1;
        let enough = if has_variables { good >= 4 && tries >= 5 } else { good >= 1 };
        if enough {
            break;
        }
        if exhausted && tries >= 2 {
            return Same::Unknown("larger than the budget");
        }
    }
    if has_variables && good >= 2 && (piecewise(a) || piecewise(b)) {
        for seed in WIDE..WIDE + 40 {
            match at_point(a, b, budget, QUICK, seed, seed % 2 == 1).0 {
                AtPoint::Apart => {
                    return if opaque { Same::Unknown("a form that is only compared by its looks") } else { Same::No };
                }
                AtPoint::NoValue(NoValue::Budget) => return Same::Unknown("larger than the budget"),
                _ => {}
            }
        }
    }
    if good >= if has_variables { 2 } else { 1 } && !(has_variables && exhausted) {
        return Same::Yes;
    }
    Same::Unknown(if exhausted { "larger than the budget" } else { "no value at enough points" })
}

/// The sign of an expression without variables; `None` if it is not certain.
pub(crate) fn sign(e: &Expr, budget: &Budget) -> Option<i32> {
    let value = Evaluator::new(budget, SURE, 1, false).eval(e).ok()?;
    value.is_real().then(|| value.re.sign()).flatten()
}

/// The value of a real expression without variables, as an `f64`; `None` if its relative error exceeds about 2^-20.
pub(crate) fn approximate(e: &Expr, budget: &Budget) -> Option<f64> {
    let value = Evaluator::new(budget, QUICK, 1, false).eval(e).ok()?;
    (value.is_real() && value.re.rad < value.re.high() - 20.0).then(|| value.re.mid.to_f64())
}
