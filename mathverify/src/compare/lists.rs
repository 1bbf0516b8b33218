//! Compares lists, finite sets and tuples.

use super::{all_equal, compare_exprs};
use crate::ast::Expr;
use crate::budget::Context;
use crate::verdict::{Outcome, Status, Tier};

/// Longest list that is matched without order; longer lists are compared in order.
const MAX_UNORDERED: usize = 200;

/// Both values of `a ± b` as a list; several signs in one expression change together.
pub(super) fn expand_signs(e: &Expr) -> Expr {
    match e {
        Expr::List(items) => Expr::List(flat(items)),
        Expr::Set(items) => Expr::Set(flat(items)),
        // x = ±2, (1, ±2)
        other if has_sign(other) && other.any(&|e| matches!(e, Expr::List(_) | Expr::Set(_))) => {
            other.map(&mut expand_signs)
        }
        other if has_sign(other) => Expr::List(vec![choose(other, true), choose(other, false)]),
        other => other.clone(),
    }
}

fn flat(items: &[Expr]) -> Vec<Expr> {
    items
        .iter()
        .flat_map(|i| match expand_signs(i) {
            Expr::List(inner) if has_sign(i) || matches!(i, Expr::List(_)) => inner,
            other => vec![other],
        })
        .collect()
}

fn has_sign(e: &Expr) -> bool {
    e.any(&|e| matches!(e, Expr::PlusMinus(..)))
}

/// The expression with every ± read as `+` (or as `-`).
fn choose(e: &Expr, plus: bool) -> Expr {
    match e {
        Expr::PlusMinus(x, upper) => {
            let x = choose(x, plus);
            if *upper == plus { x } else { Expr::Neg(Box::new(x)) }
        }
        other => other.map(&mut |child| choose(child, plus)),
    }
}

/// Whether the expression is a list, a set, a tuple, or items in square or angle brackets.
pub(super) fn is_collection(e: &Expr) -> bool {
    matches!(e, Expr::List(_) | Expr::Set(_) | Expr::Tuple(_) | Expr::Brackets(_))
}

/// The items of a collection or vector; any other expression is one item.
fn items(e: &Expr) -> Vec<Expr> {
    match e {
        Expr::List(v) | Expr::Set(v) | Expr::Tuple(v) | Expr::Brackets(v) => v.clone(),
        // A column or row is a tuple.
        Expr::Matrix(rows) if rows.len() == 1 || rows.iter().all(|r| r.len() == 1) => {
            rows.iter().flatten().cloned().collect()
        }
        other => vec![other.clone()],
    }
}

/// Compares a collection with any expression.
pub(super) fn compare(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    if matches!(a, Expr::Matrix(_)) || matches!(b, Expr::Matrix(_)) {
        let many_rows = |e: &Expr| matches!(e, Expr::Matrix(rows) if rows.len() > 1 && rows[0].len() > 1);
        if many_rows(a) || many_rows(b) || !options.vectors_as_tuples {
            return Outcome::different(Tier::Structure, "a matrix and a list");
        }
    }
    let ordered = |e: &Expr| matches!(e, Expr::Tuple(_) | Expr::Brackets(_) | Expr::Matrix(_));
    let single = |e: &Expr| !is_collection(e) && !matches!(e, Expr::Matrix(_));
    let (x, y) = (items(a), items(b));
    // `1/3 or 0.333...`: one value in two spellings.
    if let (Expr::List(items), other) | (other, Expr::List(items)) = (a, b)
        && single(other)
        && items.iter().all(|i| compare_exprs(i, other, options).is_equal())
    {
        return Outcome::equal(Tier::Structure, "one value, said more than once");
    }
    if single(a) != single(b) && x.len() != y.len() {
        return Outcome::different(Tier::Structure, "one value and several");
    }
    // `{x}` is a set or the fractional part of x; `{5}` is the set of one solution.
    let variable = |e: &Expr| e.any(&|e| matches!(e, Expr::Sym(_))) && !e.any(&|e| matches!(e, Expr::Relation(..)));
    if single(a) != single(b) && (matches!(a, Expr::Set(_)) && variable(a) || matches!(b, Expr::Set(_)) && variable(b))
    {
        return Outcome::unknown("braces around a letter, and none");
    }
    let one = |e: &Expr| matches!(e, Expr::Set(v) if v.len() == 1);
    if (one(a) && ordered(b) || one(b) && ordered(a)) && x.len() == y.len() {
        return Outcome::unknown("a set of one, and a vector of one");
    }
    if single(a) != single(b) && (ordered(a) || ordered(b)) {
        // `(5)` is parsed as 5; `⟨5⟩` is a vector with one entry.
        return Outcome::different(Tier::Structure, "one value and a tuple");
    }
    let keeps_order =
        ordered(a) || ordered(b) || (options.ordered_lists && !matches!(a, Expr::Set(_)) && !matches!(b, Expr::Set(_)));
    if keeps_order {
        let outcome = in_order(&x, &y, options);
        // `(1, 2)` is a point or an interval; `{1, 2}` is neither.
        let mixed = |p: &Expr, q: &Expr| matches!(p, Expr::Set(_)) && matches!(q, Expr::Tuple(_) | Expr::Matrix(_));
        if outcome.is_equal() && (mixed(a, b) || mixed(b, a)) {
            return Outcome::unknown("a set and a tuple");
        }
        return outcome;
    }
    let outcome = without_order(&x, &y, options);
    // `1, 1, 3` and `1, 3, 3`: the same number of items, but different items are repeated.
    let set = |e: &Expr| matches!(e, Expr::Set(_));
    if outcome.is_equal() && x.len() == y.len() && !set(a) && !set(b) && !one_to_one(&x, &y, options) {
        return Outcome::different(Tier::Structure, "other items are repeated");
    }
    outcome
}

/// Whether every item of `x` has an equal item of `y` for itself alone.
fn one_to_one(x: &[Expr], y: &[Expr], options: &Context<'_>) -> bool {
    // Fast exits: most lists are short or in the same order.
    if x.len() < 3 || x == y || x.len() > MAX_UNORDERED {
        return true;
    }
    let mut free: Vec<&Expr> = y.iter().collect();
    x.iter().all(|item| {
        let partner = free.iter().position(|other| compare_exprs(item, other, options).is_equal());
        partner.map(|at| free.swap_remove(at)).is_some()
    })
}

fn in_order(x: &[Expr], y: &[Expr], options: &Context<'_>) -> Outcome {
    if x.len() != y.len() {
        return Outcome::different(Tier::Structure, "a different number of items");
    }
    all_equal(x.iter().zip(y), options, "different items")
}

/// Compares items in any order; repeated items count once. Lists longer than [`MAX_UNORDERED`] are compared in order.
fn without_order(x: &[Expr], y: &[Expr], options: &Context<'_>) -> Outcome {
    if x.len().max(y.len()) > MAX_UNORDERED {
        return in_order(x, y, options);
    }
    // Searches for each item an equal item on the other side, first at the same position, since most lists are in
    // the same order.
    let mut partnered = vec![false; y.len()];
    let mut unknown = None;
    let mut find = |item: &Expr, among: &[Expr], first: usize, forward: bool| -> Partner {
        let order = std::iter::once(first).filter(|i| *i < among.len()).chain((0..among.len()).filter(|i| *i != first));
        let mut best = Partner::None;
        for i in order {
            let outcome =
                if forward { compare_exprs(item, &among[i], options) } else { compare_exprs(&among[i], item, options) };
            match outcome.status {
                Status::Equal => return Partner::At(i),
                Status::Unknown => (best, unknown) = (Partner::Perhaps, Some(outcome)),
                Status::Different => {}
            }
        }
        best
    };
    let mut all = true;
    for (i, item) in x.iter().enumerate() {
        match find(item, y, i, true) {
            Partner::At(j) => partnered[j] = true,
            Partner::Perhaps => all = false,
            Partner::None => return Outcome::different(Tier::Structure, "different items"),
        }
    }
    for (j, item) in y.iter().enumerate().filter(|(j, _)| !partnered[*j]) {
        match find(item, x, j, false) {
            Partner::At(_) => {}
            Partner::Perhaps => all = false,
            Partner::None => return Outcome::different(Tier::Structure, "different items"),
        }
    }
    match unknown {
        Some(outcome) if !all => outcome,
        _ => Outcome::equal(Tier::Structure, "the same items"),
    }
}

/// The equal item on the other side, if there is one.
enum Partner {
    /// Index of the equal item.
    At(usize),
    /// No item was shown to be equal, and at least one comparison is unknown.
    Perhaps,
    None,
}
