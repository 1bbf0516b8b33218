//! Numbers and expressions: exact arithmetic, normal form, values, and the policies for percent, units and decimals.

use num_traits::{Signed, Zero};

use super::words;
use crate::ast::{Constant, Expr, Func};
use crate::budget::Context;
use crate::numeric::eval;
use crate::numeric::exact::{exact, exact_paid};
use crate::numeric::{self, Same};
use crate::options::{Percent, Units};
use crate::quantity::unit;
use crate::rational::{self, Rat, int};
use crate::verdict::{Outcome, Status, Tier};

/// Compares two expressions.
pub(crate) fn compare_scalars(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    match (a, b) {
        (Expr::Quantity(x, u), Expr::Quantity(y, v)) => return both_units(x, u, y, v, options),
        (Expr::Quantity(x, u), other) | (other, Expr::Quantity(x, u)) => {
            // The other side may be a number times a letter that is a unit: `5 m`.
            return match letter_unit(other) {
                Some((y, v)) => both_units(x, u, &y, &v, options),
                None => one_unit(x, u, other, options),
            };
        }
        (Expr::Percent(x), Expr::Percent(y)) => return compare_scalars(x, y, options),
        (Expr::Percent(x), other) | (other, Expr::Percent(x)) => return one_percent(x, other, options),
        (Expr::Degrees(x), Expr::Degrees(y)) => return compare_scalars(x, y, options),
        (Expr::Degrees(x), other) | (other, Expr::Degrees(x)) => {
            let radians = compare_values(&Expr::Degrees(x.clone()), other, options);
            if options.units == Units::Required {
                return radians;
            }
            return radians.or(|| policy(compare_values(x, other, options), "the degree sign left out"));
        }
        (Expr::Based { digits: x, base: p, value: v }, Expr::Based { digits: y, base: q, value: w }) => {
            let same = v == w || (p == q && x == y);
            return if same {
                Outcome::equal(Tier::Exact, "the same number")
            } else {
                Outcome::different(Tier::Exact, "different numbers")
            };
        }
        (Expr::Based { digits, value, .. }, other) | (other, Expr::Based { digits, value, .. }) => {
            return based(digits, value, other, options);
        }
        (Expr::Ratio(x), Expr::Ratio(y)) => return ratios(x, y, options),
        // `2 (mod 3)` and `2 (mod 4)` are two residue classes, although each remainder is 2.
        (Expr::Func(Func::Mod, x), Expr::Func(Func::Mod, y))
            if (is_remainder(x) || is_remainder(y)) && !compare_values(&x[1], &y[1], options).is_equal() =>
        {
            return Outcome::unknown("remainders of two moduli");
        }
        (Expr::Ratio(x), other) | (other, Expr::Ratio(x)) if x.len() == 2 => {
            let quotient = Expr::Div(Box::new(x[0].clone()), Box::new(x[1].clone()));
            return compare_values(&quotient, other, options);
        }
        _ => {}
    }
    compare_values(a, b, options)
}

fn policy(outcome: Outcome, reason: &'static str) -> Outcome {
    if outcome.is_equal() { Outcome::equal(Tier::Policy, reason) } else { outcome }
}

fn one_percent(x: &Expr, other: &Expr, options: &Context<'_>) -> Outcome {
    let hundredth = Expr::Percent(Box::new(x.clone()));
    let as_fraction = || compare_values(&hundredth, other, options);
    let as_sign = || policy(compare_values(x, other, options), "the percent sign left out");
    match options.percent {
        Percent::Fraction => as_fraction(),
        Percent::Sign => as_sign(),
        Percent::Either => as_fraction().or(as_sign),
    }
}

fn one_unit(x: &Expr, unit_text: &str, other: &Expr, options: &Context<'_>) -> Outcome {
    if options.units == Units::Required {
        return Outcome::different(Tier::Policy, "one side has no unit");
    }
    // `90 degrees` and `90°`, `5 percent` and `5%`.
    match other {
        Expr::Degrees(inner) if words::same(unit_text, "degrees") => return compare_scalars(x, inner, options),
        Expr::Percent(inner) if words::same(unit_text, "percent") => return compare_scalars(x, inner, options),
        _ => {}
    }
    if words::altering(unit_text) {
        return Outcome::unknown(words::MEANING);
    }
    // An angle in radians is the plain number; degrees compared with it are converted.
    if let (Some(u), Expr::Degrees(_)) = (unit(unit_text), other)
        && u.dimension.keys().eq([&crate::quantity::Base::Radian])
    {
        return compare_values(x, other, options);
    }
    let outcome = compare_scalars(x, other, options);
    // `5 apples` and `5%`: a percent sign or a degree sign counts as another unit.
    let signed = |e: &Expr| matches!(e, Expr::Percent(_) | Expr::Degrees(_));
    let same_sign = std::mem::discriminant(x) == std::mem::discriminant(other);
    if outcome.is_equal() && signed(other) && !same_sign && options.units != Units::Ignored {
        return Outcome::unknown(words::BEHIND);
    }
    policy(outcome, "the unit left out")
}

fn both_units(x: &Expr, u: &str, y: &Expr, v: &str, options: &Context<'_>) -> Outcome {
    if options.units == Units::Ignored || u == v {
        return compare_scalars(x, y, options);
    }
    match (unit(u), unit(v)) {
        (Some(a), Some(b)) if a == b => compare_scalars(x, y, options),
        (Some(a), Some(b)) if a.dimension == b.dimension => compare_values(&a.in_base(x), &b.in_base(y), options),
        (Some(_), Some(_)) => Outcome::different(Tier::Policy, "different units"),
        (None, None) if words::same(u, v) => compare_scalars(x, y, options),
        _ if options.units == Units::Required => Outcome::different(Tier::Policy, "different units"),
        // `20 workers` and `20 cars`: words that are not units name the counted thing. Equal numbers are then not
        // shown to be equal answers, and with an unknown unit, different numbers are not shown to differ.
        (known, other) => {
            let outcome = compare_scalars(x, y, options);
            let shown = outcome.status == Status::Different && known.is_none() && other.is_none();
            if shown { outcome } else { Outcome::unknown(words::BEHIND) }
        }
    }
}

/// Whether the first argument of mod is already the remainder.
fn is_remainder(arguments: &[Expr]) -> bool {
    let [number, modulus] = arguments else { return false };
    matches!((exact(number), exact(modulus)), (Some(n), Some(m)) if !n.is_negative() && n < m)
}

/// A number times a letter that is a unit: `5 m`.
fn letter_unit(e: &Expr) -> Option<(Expr, String)> {
    let Expr::Mul(factors) = e else { return None };
    match factors.as_slice() {
        [number @ Expr::Num { .. }, Expr::Sym(letter)] if unit(letter).is_some() => {
            Some((number.clone(), letter.clone()))
        }
        _ => None,
    }
}

fn based(digits: &str, value: &Rat, other: &Expr, options: &Context<'_>) -> Outcome {
    if exact_paid(other, &options.budget).as_ref() == Some(value) {
        return Outcome::equal(Tier::Exact, "the same number");
    }
    if options.base_optional
        && let Expr::Num { value: written, decimals: None } = other
        && written.is_integer()
        && written.to_integer().to_string() == digits.trim_start_matches('0')
    {
        return Outcome::equal(Tier::Policy, "the base left out");
    }
    Outcome::different(Tier::Exact, "different numbers")
}

/// Whether a ratio may be a time of day: hours from 0 to 24, and minutes 10, 15, ... or 55. Two such ratios are not
/// reduced.
fn time_of_day(parts: &[Expr]) -> bool {
    let whole = |e: &Expr| exact(e).as_ref().and_then(rational::to_i64);
    match parts {
        [hours, minutes] => match (whole(hours), whole(minutes)) {
            (Some(h), Some(m)) => (0..=24).contains(&h) && (10..60).contains(&m) && m % 5 == 0,
            _ => false,
        },
        _ => false,
    }
}

fn ratios(x: &[Expr], y: &[Expr], options: &Context<'_>) -> Outcome {
    if x.len() != y.len() {
        return Outcome::different(Tier::Structure, "ratios of different length");
    }
    // `3:00 am` and `3:00 pm` differ.
    let half = |parts: &[Expr]| match parts.last() {
        Some(Expr::Quantity(_, words)) => {
            let words = words.to_lowercase().replace(['.', ' '], "");
            ["am", "pm"].into_iter().find(|h| words.starts_with(h))
        }
        _ => None,
    };
    if let (Some(p), Some(q)) = (half(x), half(y))
        && p != q
    {
        return Outcome::different(Tier::Structure, "different halves of the day");
    }
    let clock = |parts: &[Expr]| half(parts).is_some() || time_of_day(parts);
    let clock = (clock(x), clock(y));
    // `3:00 pm` and `3:00`: the half of the day may be missing on one side.
    let bare = |parts: &[Expr]| -> Vec<Expr> {
        let said = half(parts).is_some();
        let bare = |e: &Expr| match e {
            Expr::Quantity(value, _) if said => (**value).clone(),
            other => other.clone(),
        };
        parts.iter().map(bare).collect()
    };
    let (x, y) = (&bare(x)[..], &bare(y)[..]);
    let same = super::all_equal(x.iter().zip(y), options, "different ratios");
    // `2:4` equals `1:2`, by cross-multiplication; a ratio with a zero (`3:00`) is a time of day.
    let zero = |parts: &[Expr]| parts.iter().any(|p| exact(p).is_some_and(|v| v.is_zero()));
    if same.is_equal() || zero(x) || zero(y) || (clock.0 && clock.1) {
        return same;
    }
    let crossed: Vec<(Expr, Expr)> = (1..x.len())
        .map(|i| {
            let left = Expr::Mul(vec![x[0].clone(), y[i].clone()]);
            let right = Expr::Mul(vec![y[0].clone(), x[i].clone()]);
            (left, right)
        })
        .collect();
    super::all_equal(crossed.iter().map(|(l, r)| (l, r)), options, "different ratios")
}

/// Numerator and denominator of a fraction of integers, as written.
fn written_fraction(e: &Expr) -> Option<(Rat, Rat)> {
    match e {
        Expr::Div(n, d) => Some((exact(n)?, exact(d)?)).filter(|(n, d)| n.is_integer() && d.is_integer()),
        Expr::Neg(inner) => written_fraction(inner).map(|(n, d)| (-n, d)),
        _ => None,
    }
}

/// Compares by value: first as rationals, then in normal form, then numerically at high precision.
fn compare_values(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    if a == b {
        return Outcome::equal(Tier::Exact, "the same formula");
    }
    if let Some(outcome) = infinities(a, b) {
        return outcome;
    }
    if let Some(why) = words::inside(a, b) {
        return Outcome::unknown(why);
    }
    let cost = eval::cost(a).saturating_add(eval::cost(b));
    if cost > 0 && !options.budget.take(cost) {
        return Outcome::unknown("larger than the budget");
    }
    let (x, y) = (exact_paid(a, &options.budget), exact_paid(b, &options.budget));
    if let (Some(x), Some(y)) = (&x, &y) {
        if x == y {
            if !options.unreduced_fractions
                && let (Some(p), Some(q)) = (written_fraction(a), written_fraction(b))
                && p != q
            {
                return Outcome::different(Tier::Policy, "fractions written in different terms");
            }
            return Outcome::equal(Tier::Exact, "the same number");
        }
        return rounded(a, b, options).unwrap_or_else(|| Outcome::different(Tier::Exact, "different numbers"));
    }
    // The normal form costs about as much as ten multiplications of long numbers.
    if !options.budget.take(20) {
        return Outcome::unknown("larger than the budget");
    }
    if let Some(outcome) = crate::normal::compare(a, b, &options.budget) {
        return outcome;
    }
    match numeric::same(a, b, &options.budget) {
        Same::Yes => Outcome::equal(Tier::Numeric, "the same values at high precision"),
        Same::No => rounded(a, b, options).unwrap_or_else(|| Outcome::different(Tier::Numeric, "different values")),
        Same::Unknown(why) => Outcome::unknown(why),
    }
}

fn infinities(a: &Expr, b: &Expr) -> Option<Outcome> {
    let infinity = |e: &Expr| match e {
        Expr::Const(Constant::Infinity) => Some(1),
        Expr::Neg(x) if **x == Expr::Const(Constant::Infinity) => Some(-1),
        _ => None,
    };
    match (infinity(a), infinity(b)) {
        (None, None) => None,
        (x, y) if x == y => Some(Outcome::equal(Tier::Exact, "both infinite")),
        _ => Some(Outcome::different(Tier::Exact, "infinite and finite")),
    }
}

/// The value and the number of decimals of a decimal, as written.
fn decimal(e: &Expr) -> Option<(Rat, u32)> {
    match e {
        Expr::Num { value, decimals: Some(n) } => Some((value.clone(), *n)),
        Expr::Neg(x) => decimal(x).map(|(v, n)| (-v, n)),
        _ => None,
    }
}

/// Number of decimals from which a decimal counts as rounded or truncated rather than exact, if the other side is also
/// a decimal.
const LONG_DECIMAL: u32 = 4;

/// The policy for decimals (`decimal_digits`): equal if one side is a decimal with enough digits to which the other
/// side is rounded or truncated; else `None`.
fn rounded(a: &Expr, b: &Expr, options: &Context<'_>) -> Option<Outcome> {
    let (da, db) = (decimal(a), decimal(b));
    let (short, other) = match (&da, &db) {
        // `1403.8` and `1403.81` are two exact amounts; a longer decimal may have been cut off.
        (Some((_, n)), Some((_, m))) if *n.max(m) < LONG_DECIMAL => return None,
        (Some((_, n)), Some((_, m))) => {
            if n <= m {
                (da.clone()?, b)
            } else {
                (db.clone()?, a)
            }
        }
        (Some(d), None) => (d.clone(), b),
        (None, Some(d)) => (d.clone(), a),
        (None, None) => return None,
    };
    let (value, decimals) = short;
    let variable = |e: &Expr| matches!(e, Expr::Sym(_) | Expr::Apply(..) | Expr::Big { .. });
    if options.decimal_digits == 0 || decimals > 200 || other.any(&variable) {
        return None;
    }
    let scale = Rat::from_integer(rational::ten_to(decimals));
    let digits = (&value * &scale).abs().to_integer().to_string();
    if digits.trim_start_matches('0').len() < options.decimal_digits as usize {
        return None;
    }
    // Rounded: |value - other| <= half a unit of the last digit. Truncated: less than one unit, towards zero.
    let half = Expr::rat(rational::ratio(1, 2) / &scale);
    let unit = Expr::rat(int(1) / &scale);
    let difference = |sign: bool| {
        let other = if sign { Expr::Neg(Box::new(other.clone())) } else { other.clone() };
        let value = if sign { value.clone() } else { -value.clone() };
        Expr::Add(vec![other, Expr::rat(value)])
    };
    let within = |limit: &Expr, closed: bool| {
        [false, true].iter().all(|&sign| {
            let room = Expr::Add(vec![limit.clone(), Expr::Neg(Box::new(difference(sign)))]);
            match numeric::sign(&room, &options.budget) {
                Some(s) => s > 0 || (closed && s == 0),
                None => false,
            }
        })
    };
    let toward_zero = || {
        let away = difference(value.is_negative());
        within(&unit, false) && numeric::sign(&away, &options.budget).is_some_and(|s| s > 0)
    };
    (within(&half, true) || toward_zero()).then(|| Outcome::equal(Tier::Policy, "equal to the digits given"))
}

/// Whether two expressions are shown to have the same value; unknown counts as no.
pub(crate) fn same_value(a: &Expr, b: &Expr, options: &Context<'_>) -> bool {
    compare_scalars(a, b, options).status == Status::Equal
}
