//! Sets of numbers: intervals and their unions, inequalities, named sets.

use super::{all_equal, lists, scalar};
use crate::ast::{Constant, Expr, Func, Rel};
use crate::budget::{Budget, Context};
use crate::numeric;
use crate::verdict::{Outcome, Tier};

/// An interval of the real line; a point has two equal, closed ends.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Piece {
    low: Expr,
    high: Expr,
    low_closed: bool,
    high_closed: bool,
}

/// Whether the form of the expression shows that it is a set of numbers; `(a, b)` and `{a, b}` do not.
pub(super) fn is_set(e: &Expr) -> bool {
    matches!(
        e,
        Expr::Interval { .. }
            | Expr::Union(_)
            | Expr::Intersection(_)
            | Expr::SetMinus(..)
            | Expr::NamedSet(_)
            | Expr::Builder(..)
    )
}

fn infinity(sign: bool) -> Expr {
    let infinity = Expr::Const(Constant::Infinity);
    if sign { infinity } else { Expr::Neg(Box::new(infinity)) }
}

fn whole_line() -> Piece {
    Piece { low: infinity(false), high: infinity(true), low_closed: false, high_closed: false }
}

fn point(e: &Expr) -> Piece {
    Piece { low: e.clone(), high: e.clone(), low_closed: true, high_closed: true }
}

/// The position of an endpoint on the real line, infinities included; `None` for endpoints with variables. Used only
/// to order endpoints.
fn place(e: &Expr, budget: &Budget) -> Option<f64> {
    match e {
        Expr::Const(Constant::Infinity) => Some(f64::INFINITY),
        Expr::Neg(x) if **x == Expr::Const(Constant::Infinity) => Some(f64::NEG_INFINITY),
        _ if e.any(&|e| matches!(e, Expr::Sym(_) | Expr::Apply(..) | Expr::Text(_))) => None,
        _ => numeric::approximate(e, budget).or_else(|| (numeric::sign(e, budget) == Some(0)).then_some(0.0)),
    }
}

/// The set as a union of intervals of the real line; `None` if the expression is no such set.
pub(super) fn region(e: &Expr, budget: &Budget) -> Option<Vec<Piece>> {
    match e {
        Expr::Interval { low, high, low_closed, high_closed } => Some(vec![Piece {
            low: (**low).clone(),
            high: (**high).clone(),
            low_closed: *low_closed,
            high_closed: *high_closed,
        }]),
        Expr::Tuple(items) if items.len() == 2 => {
            Some(vec![Piece { low: items[0].clone(), high: items[1].clone(), low_closed: false, high_closed: false }])
        }
        Expr::Set(items) => items.iter().map(|i| scalar_item(i).then(|| point(i))).collect(),
        Expr::NamedSet('R') => Some(vec![whole_line()]),
        Expr::NamedSet('0') => Some(Vec::new()),
        Expr::Union(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(region(part, budget)?);
            }
            merged(all, budget)
        }
        Expr::SetMinus(a, b) => {
            let (a, b) = (region(a, budget)?, region(b, budget)?);
            intersection(&a, &complement(&b, budget)?, budget)
        }
        Expr::Intersection(parts) => {
            let mut all = vec![whole_line()];
            for part in parts {
                all = intersection(&all, &region(part, budget)?, budget)?;
            }
            Some(all)
        }
        // {x ∈ ℤ | x > 0} is not an interval.
        Expr::Builder(element, _) if matches!(&**element, Expr::Relation(terms, _) if !matches!(terms.last(), Some(Expr::NamedSet('R')))) => {
            None
        }
        Expr::Builder(_, conditions) => match conditions.as_slice() {
            [condition] => region(condition, budget),
            many => region(&Expr::List(many.to_vec()), budget),
        },
        Expr::Relation(terms, ops) => inequality(terms, ops, budget),
        Expr::List(parts) => {
            // `x < 1, x > 3` is a union ("or"); it is an intersection ("and") if the union is the whole line.
            let regions: Vec<Vec<Piece>> = parts
                .iter()
                .map(|p| if matches!(p, Expr::Relation(..)) || is_set(p) { region(p, budget) } else { None })
                .collect::<Option<_>>()?;
            let exclusions = |e: &Expr| matches!(e, Expr::Relation(_, ops) if ops == &[Rel::Ne]);
            let mut both = vec![whole_line()];
            for r in &regions {
                both = intersection(&both, r, budget)?;
            }
            if parts.iter().any(exclusions) {
                return Some(both);
            }
            let either = merged(regions.concat(), budget)?;
            if either == vec![whole_line()] {
                return Some(both);
            }
            // `x > 1, x > 3`: "and" and "or" give two different sets, so neither is chosen.
            (both.is_empty() || both == either).then_some(either)
        }
        _ => None,
    }
}

fn scalar_item(e: &Expr) -> bool {
    !lists::is_collection(e) && !is_set(e) && !matches!(e, Expr::Relation(..) | Expr::Text(_))
}

/// The intervals of an inequality in one variable: `a < x <= b`, `x > a`, `|x| <= a`, `x ≠ a`.
fn inequality(terms: &[Expr], ops: &[Rel], budget: &Budget) -> Option<Vec<Piece>> {
    let variable = |e: &Expr| match e {
        Expr::Sym(_) | Expr::Apply(..) => Some(false),
        Expr::Func(Func::Abs, a) if matches!(a.as_slice(), [Expr::Sym(_)]) => Some(true),
        _ => None,
    };
    let constant = |e: &Expr| place(e, budget).is_some();
    let (absolute, piece) = match (terms, ops) {
        ([x, a], [op]) if variable(x).is_some() && constant(a) => {
            if *op == Rel::Ne {
                return complement(&[point(a)], budget);
            }
            (variable(x)?, half_line(*op, a)?)
        }
        ([a, x], [op]) if variable(x).is_some() && constant(a) => {
            if *op == Rel::Ne {
                return complement(&[point(a)], budget);
            }
            (variable(x)?, half_line(op.flipped()?, a)?)
        }
        ([a, x, b], [p, q]) if variable(x).is_some() && constant(a) && constant(b) => {
            let (first, second) = (half_line(p.flipped()?, a)?, half_line(*q, b)?);
            (variable(x)?, intersection(&[first], &[second], budget)?.first()?.clone())
        }
        // `-x >= -1`: a minus sign before the variable.
        ([Expr::Neg(x), a], [op]) if variable(x) == Some(false) && constant(a) => {
            (false, half_line(op.flipped()?, &negated(a))?)
        }
        _ => return None,
    };
    if !absolute {
        return Some(vec![piece]);
    }
    let mirrored = Piece {
        low: negated(&piece.high),
        high: negated(&piece.low),
        low_closed: piece.high_closed,
        high_closed: piece.low_closed,
    };
    match place(&piece.low, budget)? {
        low if low > 0.0 || (low == 0.0 && !piece.low_closed) => merged(vec![mirrored, piece], budget),
        // `|x| < a` is `-a < x < a`.
        _ => Some(vec![Piece {
            low: mirrored.low,
            low_closed: mirrored.low_closed,
            high: piece.high,
            high_closed: piece.high_closed,
        }]),
    }
}

fn negated(e: &Expr) -> Expr {
    match e {
        Expr::Neg(x) => (**x).clone(),
        other => Expr::Neg(Box::new(other.clone())),
    }
}

/// The half-line of all x with `x op a`.
fn half_line(op: Rel, a: &Expr) -> Option<Piece> {
    let mut piece = whole_line();
    match op {
        Rel::Lt | Rel::Le => {
            piece.high = a.clone();
            piece.high_closed = op == Rel::Le;
        }
        Rel::Gt | Rel::Ge => {
            piece.low = a.clone();
            piece.low_closed = op == Rel::Ge;
        }
        _ => return None,
    }
    Some(piece)
}

/// Sorts the pieces and joins those that overlap or touch. `None` if there is more than one piece and an endpoint has
/// no known position.
fn merged(pieces: Vec<Piece>, budget: &Budget) -> Option<Vec<Piece>> {
    if pieces.len() < 2 {
        return Some(pieces);
    }
    let mut placed: Vec<(f64, f64, Piece)> = pieces
        .into_iter()
        .map(|p| Some((place(&p.low, budget)?, place(&p.high, budget)?, p)))
        .collect::<Option<_>>()?;
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.2.low_closed.cmp(&a.2.low_closed)));
    let mut out: Vec<(f64, f64, Piece)> = Vec::new();
    for (low, high, piece) in placed {
        match out.last_mut() {
            Some((_, end, last)) if low < *end || (low == *end && (piece.low_closed || last.high_closed)) => {
                if high > *end || (high == *end && piece.high_closed) {
                    *end = high;
                    last.high = piece.high;
                    last.high_closed = piece.high_closed;
                }
            }
            _ => out.push((low, high, piece)),
        }
    }
    Some(out.into_iter().map(|p| p.2).collect())
}

fn complement(pieces: &[Piece], budget: &Budget) -> Option<Vec<Piece>> {
    let mut out = Vec::new();
    let mut rest = whole_line();
    for piece in merged(pieces.to_vec(), budget)? {
        let (low, high) = (place(&piece.low, budget)?, place(&piece.high, budget)?);
        if low > f64::NEG_INFINITY {
            out.push(Piece { high: piece.low.clone(), high_closed: !piece.low_closed, ..rest.clone() });
        }
        if high == f64::INFINITY {
            return Some(out);
        }
        rest = Piece { low: piece.high.clone(), low_closed: !piece.high_closed, ..whole_line() };
    }
    out.push(rest);
    Some(out)
}

fn intersection(a: &[Piece], b: &[Piece], budget: &Budget) -> Option<Vec<Piece>> {
    if a == [whole_line()] {
        return Some(b.to_vec());
    }
    let mut out = Vec::new();
    if a.len() * b.len() > 400 {
        return None;
    }
    for x in a {
        for y in b {
            let (xl, xh, yl, yh) =
                (place(&x.low, budget)?, place(&x.high, budget)?, place(&y.low, budget)?, place(&y.high, budget)?);
            let from_x = xl > yl || (xl == yl && !x.low_closed);
            let to_x = xh < yh || (xh == yh && !x.high_closed);
            let (low, low_closed, l) = if from_x { (&x.low, x.low_closed, xl) } else { (&y.low, y.low_closed, yl) };
            let (high, high_closed, h) = if to_x { (&x.high, x.high_closed, xh) } else { (&y.high, y.high_closed, yh) };
            if l < h || (l == h && low_closed && high_closed) {
                out.push(Piece { low: low.clone(), high: high.clone(), low_closed, high_closed });
            }
        }
    }
    merged(out, budget)
}

/// Compares two expressions, at least one of which is a set by its form ([`is_set`]).
pub(super) fn compare(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    if let (Expr::NamedSet(x), Expr::NamedSet(y)) = (a, b) {
        return if x == y {
            Outcome::equal(Tier::Text, "the same set")
        } else {
            Outcome::different(Tier::Text, "different sets")
        };
    }
    let budget = &options.budget;
    if let (Some(x), Some(y)) = (region(a, budget), region(b, budget)) {
        return compare_regions(&x, &y, options);
    }
    // Unions of finite sets and sets with variables are compared part by part.
    match (a, b) {
        (Expr::Union(x), Expr::Union(y)) | (Expr::Intersection(x), Expr::Intersection(y)) if x.len() == y.len() => {
            let (x, y) = (Expr::Set(x.clone()), Expr::Set(y.clone()));
            lists::compare(&x, &y, options).or(|| Outcome::unknown("sets that are not intervals"))
        }
        (Expr::SetMinus(p, q), Expr::SetMinus(r, s)) => {
            let outcome = all_equal([(&**p, &**r), (&**q, &**s)].into_iter(), options, "different sets");
            outcome.or(|| Outcome::unknown("sets that are not intervals"))
        }
        (Expr::Builder(x, p), Expr::Builder(y, q)) if p.len() == q.len() => {
            let mut pairs: Vec<(&Expr, &Expr)> = vec![(x, y)];
            pairs.extend(p.iter().zip(q));
            all_equal(pairs.into_iter(), options, "different sets").or(|| Outcome::unknown("sets given by conditions"))
        }
        _ if unplain(a, budget) || unplain(b, budget) => Outcome::unknown("sets that are not intervals"),
        // `[1, 2]` compared with the list `1, 2`.
        (Expr::Interval { low, high, low_closed: true, high_closed: true }, Expr::List(items))
        | (Expr::List(items), Expr::Interval { low, high, low_closed: true, high_closed: true })
            if items.len() == 2 =>
        {
            let outcome =
                all_equal([(&**low, &items[0]), (&**high, &items[1])].into_iter(), options, "different items");
            if outcome.is_equal() { Outcome::unknown("an interval, or a list in brackets") } else { outcome }
        }
        // `[1, 2]` compared with a vector is a vector in square brackets.
        (Expr::Interval { low, high, low_closed: true, high_closed: true }, Expr::Matrix(rows))
        | (Expr::Matrix(rows), Expr::Interval { low, high, low_closed: true, high_closed: true })
            if options.vectors_as_tuples && rows.iter().flatten().count() == 2 =>
        {
            all_equal([&**low, &**high].into_iter().zip(rows.iter().flatten()), options, "different items")
        }
        _ => Outcome::different(Tier::Structure, "a set and something else"),
    }
}

fn unplain(e: &Expr, budget: &Budget) -> bool {
    matches!(e, Expr::Builder(..) | Expr::SetMinus(..) | Expr::Intersection(_))
        || (matches!(e, Expr::Union(_)) && region(e, budget).is_none())
}

/// Compares two sets of intervals, endpoint by endpoint.
pub(super) fn compare_regions(x: &[Piece], y: &[Piece], options: &Context<'_>) -> Outcome {
    if x.len() != y.len() {
        return Outcome::different(Tier::Structure, "different sets");
    }
    let budget = &options.budget;
    let closed = |p: &Piece| {
        (
            p.low_closed && place(&p.low, budget) != Some(f64::NEG_INFINITY),
            p.high_closed && place(&p.high, budget) != Some(f64::INFINITY),
        )
    };
    if x.iter().zip(y).any(|(p, q)| closed(p) != closed(q)) {
        return Outcome::different(Tier::Structure, "different sets");
    }
    let ends = x.iter().zip(y).flat_map(|(p, q)| [(&p.low, &q.low), (&p.high, &q.high)]);
    let outcome = all_equal(ends, options, "different sets");
    debug_assert!(
        outcome.is_equal()
            || !x
                .iter()
                .zip(y)
                .all(|(p, q)| scalar::same_value(&p.low, &q.low, options)
                    && scalar::same_value(&p.high, &q.high, options))
    );
    outcome
}
