//! Assignments, equations and inequalities.

use super::{all_equal, compare_exprs, compare_prepared, lists, only_equations, sets};
use crate::ast::{Expr, Func, Rel};
use crate::budget::Context;
use crate::numeric::exact::exact;
use crate::numeric::{self, Same};
use crate::verdict::{Outcome, Status, Tier};

/// The left side (name) and right side (value) of `x = 5`, `f(x) = x + 1`, `x ∈ S`.
pub(super) struct Assignment {
    pub name: Expr,
    pub value: Expr,
}

/// Whether an expression is a name and no formula: a variable, `f(x)`, `AB`, `|AB|`, `∠ABC`, `S_1 : S_2`, `(x, y)`.
fn names_something(e: &Expr) -> bool {
    match e {
        Expr::Sym(_) | Expr::Text(_) => true,
        Expr::Apply(..) => true,
        Expr::Mul(factors) => {
            // AB, ABC; `\text{Area} A`; not `2x` or `xy`.
            factors.iter().all(|f| match f {
                Expr::Sym(s) => s.chars().next().is_some_and(char::is_uppercase),
                Expr::Text(_) | Expr::Apply(..) => true,
                _ => false,
            })
        }
        // |AB|, |r - s|
        Expr::Func(Func::Abs, a) => a.iter().all(|e| e.any(&|e| matches!(e, Expr::Sym(_)))),
        Expr::Func(
            Func::Sin | Func::Cos | Func::Tan | Func::Min | Func::Max | Func::Det | Func::Arg | Func::Re | Func::Im,
            a,
        ) => a.iter().all(names_something),
        Expr::Tuple(items) | Expr::List(items) => items.iter().all(names_something),
        Expr::Ratio(items) => items.iter().all(names_something),
        Expr::Div(a, b) => (names_something(a) && names_something(b)) || (differential(a) && differential(b)),
        _ => false,
    }
}

/// Whether an expression is a differential, such as `dy` in `dy/dx`.
fn differential(e: &Expr) -> bool {
    matches!(e, Expr::Mul(f) if matches!(&f[..], [Expr::Sym(d), Expr::Sym(_)] if d == "d"))
}

/// Whether an expression consists of at least two variables and operations: `x + y`, `a b c`, `p - q`, `m/n`.
fn combination(e: &Expr) -> bool {
    fn count(e: &Expr) -> Option<usize> {
        match e {
            Expr::Sym(_) | Expr::Apply(..) => Some(1),
            Expr::Add(v) | Expr::Mul(v) => v.iter().map(count).sum(),
            Expr::Neg(a) => count(a),
            Expr::Func(Func::Abs, v) => v.iter().map(count).sum(),
            Expr::Div(a, b) => Some(count(a)? + count(b)?),
            Expr::Pow(a, n) if matches!(**n, Expr::Num { .. }) => count(a),
            _ => None,
        }
    }
    count(e).is_some_and(|n| n > 1)
}

/// Reads an assignment, also from a chain: `x = 5 + 1 = 6` gives 6, `x = 1/3 ≈ 0.33` gives 1/3.
pub(super) fn assignment(e: &Expr) -> Option<Assignment> {
    let Expr::Relation(terms, ops) = e else { return None };
    if let [Rel::In] = ops[..] {
        return names_something(&terms[0]).then(|| Assignment { name: terms[0].clone(), value: terms[1].clone() });
    }
    if !only_equations(ops) {
        return None;
    }
    let last_exact = ops.iter().position(|o| *o == Rel::Approx).map_or(terms.len() - 1, |i| i.max(1));
    let value = &terms[last_exact.min(terms.len() - 1)];
    if names_something(&terms[0]) && !(terms.len() == 2 && names_something(value) && matches!(value, Expr::Tuple(_))) {
        return Some(Assignment { name: terms[0].clone(), value: value.clone() });
    }
    if terms.len() == 2 && names_something(&terms[1]) && !matches!(terms[1], Expr::Mul(_)) {
        return Some(Assignment { name: terms[1].clone(), value: terms[0].clone() });
    }
    // The value of an expression: `x + y = 7`, `|a - b| = 3`, `m/n = 2/3`. `2x = 10`: an equation to solve.
    if let [Rel::Eq] = ops[..]
        && combination(&terms[0])
        && *value != Expr::int(0)
        && !value.any(&|e| matches!(e, Expr::Sym(_) | Expr::Apply(..) | Expr::Text(_)))
    {
        return Some(Assignment { name: terms[0].clone(), value: value.clone() });
    }
    // A calculation without a name: `2 + 3 = 5`, `1/3 ≈ 0.33`.
    let variable = |e: &Expr| e.any(&|e| matches!(e, Expr::Sym(_) | Expr::Apply(..)));
    let calculation = (!variable(&terms[0]) && !variable(value)) || terms.len() > 2 || ops == &[Rel::Approx];
    let first = if ops[0] == Rel::Approx { &terms[0] } else { value };
    calculation.then(|| Assignment { name: Expr::Text(String::new()), value: first.clone() })
}

/// The value of an assignment; for a list, the list with every assignment replaced by its value. Else `None`.
fn value_of(e: &Expr) -> Option<Expr> {
    match e {
        Expr::Relation(..) => assignment(e).map(|a| a.value),
        Expr::List(items) => {
            let values: Option<Vec<Expr>> = items
                .iter()
                .map(|i| if matches!(i, Expr::Relation(..)) { assignment(i).map(|a| a.value) } else { Some(i.clone()) })
                .collect();
            values.map(Expr::List)
        }
        _ => None,
    }
}

/// Compares two expressions, at least one of which is a relation or a list with a relation.
pub(super) fn compare(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    let relation = |e: &Expr| matches!(e, Expr::Relation(..));
    let outcome = match (relation(a), relation(b)) {
        (true, true) => both(a, b, options),
        _ => structured(a, b, options),
    };
    let other_names = || !options.ignore_names && different_variables(a, b);
    if outcome.is_equal() {
        // `n = 2, 3` and `v = 2, 3`: the comparison left the names out, so they are compared here. The comparison of
        // two relations includes the names.
        let stripped = !(relation(a) && relation(b)) && other_names();
        return if stripped { Outcome::unknown(TWO_NAMES) } else { outcome };
    }
    // `(p, q) = (3, 2)` and `(u, q) = (3, 2)` are points, not intervals.
    if !options.inequalities_as_sets || outcome.reason == TWO_NAMES {
        return outcome;
    }
    // As intervals: `-2 <= x <= 7` and `x ∈ [-2, 7]`.
    let region = |e: &Expr| match e {
        Expr::Relation(..) => sets::region(e, &options.budget)
            // `(x, y) = (1, 2)` is a point, not an interval.
            .or_else(|| {
                let named = assignment(e).filter(|a| !lists::is_collection(&a.name))?;
                sets::region(&named.value, &options.budget)
            }),
        other => sets::region(other, &options.budget),
    };
    match (region(a), region(b)) {
        (Some(x), Some(y)) => {
            let outcome = sets::compare_regions(&x, &y, options);
            if outcome.is_equal() && other_names() { Outcome::unknown(TWO_NAMES) } else { outcome }
        }
        _ => outcome,
    }
}

/// The reason why equal values are not called equal.
const TWO_NAMES: &str = "the same value under two names";

/// Whether each side has one variable, and the two variables differ.
fn different_variables(a: &Expr, b: &Expr) -> bool {
    fn collect<'e>(e: &'e Expr, out: &mut Vec<&'e str>) {
        match e {
            Expr::Sym(name) if !out.contains(&&**name) => out.push(name),
            // In `W(x) = 1` and `W(n) = 1`, the variable is W.
            Expr::Apply(name, arguments) if arguments.iter().all(|a| matches!(a, Expr::Sym(_))) => {
                if !out.contains(&&**name) {
                    out.push(name);
                }
            }
            other => other.children().into_iter().for_each(|c| collect(c, out)),
        }
    }
    let (mut x, mut y) = (Vec::new(), Vec::new());
    collect(a, &mut x);
    collect(b, &mut y);
    matches!((&x[..], &y[..]), ([x], [y]) if x != y)
}

/// Compares two relations.
fn both(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    let (Expr::Relation(ta, oa), Expr::Relation(tb, ob)) = (a, b) else {
        return Outcome::unknown("no relation");
    };
    // `p ∧ q` and `q ∧ p` are equal.
    if oa == ob && matches!(oa.first(), Some(Rel::Other('∧' | '∨'))) {
        return lists::compare(&Expr::Set(ta.clone()), &Expr::Set(tb.clone()), options);
    }
    if oa == ob && oa == &[Rel::Congruent] {
        return congruences(ta, tb, options);
    }
    let (x, y) = (assignment(a), assignment(b));
    if let (Some(x), Some(y)) = (&x, &y) {
        let outcome = assignments(x, y, options);
        // The same value under two names stays unknown; it is not compared as an equation up to a factor.
        if outcome.status == Status::Unknown {
            return outcome;
        }
        return outcome.or(|| equations(ta, oa, tb, ob, options));
    }
    if oa.len() == ob.len() {
        let outcome = chains(ta, oa, tb, ob, options);
        if outcome.is_equal() {
            return outcome;
        }
        return outcome.or(|| equations(ta, oa, tb, ob, options));
    }
    Outcome::different(Tier::Structure, "different relations")
}

/// `x ≡ r (mod m)`: equal if the modulus and the left side are the same, and the remainders differ by a multiple of
/// the modulus.
fn congruences(ta: &[Expr], tb: &[Expr], options: &Context<'_>) -> Outcome {
    let parts = |terms: &[Expr]| match &terms[1] {
        Expr::Func(Func::Mod, rest) if rest.len() == 2 => Some((rest[0].clone(), rest[1].clone())),
        _ => None,
    };
    let (Some((r, m)), Some((s, n))) = (parts(ta), parts(tb)) else {
        return all_equal(ta.iter().zip(tb), options, "different terms");
    };
    let same = all_equal([(&ta[0], &tb[0]), (&m, &n)].into_iter(), options, "different congruences");
    if !same.is_equal() {
        return same;
    }
    let turns = Expr::Div(Box::new(Expr::Add(vec![r.clone(), Expr::Neg(Box::new(s.clone()))])), Box::new(m));
    match exact(&turns) {
        Some(turns) if turns.is_integer() => Outcome::equal(Tier::Exact, "the same congruence"),
        Some(_) => Outcome::different(Tier::Exact, "different congruences"),
        None => compare_exprs(&r, &s, options),
    }
}

fn assignments(x: &Assignment, y: &Assignment, options: &Context<'_>) -> Outcome {
    // `f(x) = x + 1` and `f(t) = t + 1`: the arguments are renamed.
    let (left, right) = match (&x.name, &y.name) {
        (Expr::Apply(_, p), Expr::Apply(_, q)) if p.len() == q.len() => {
            let mut value = y.value.clone();
            for (from, to) in q.iter().zip(p) {
                if let (Expr::Sym(from), Expr::Sym(name)) = (from, to) {
                    // `f(t) = x + t` is not `f(x) = 2x` with another argument.
                    if from != name && value.any(&|e| matches!(e, Expr::Sym(s) if s == name)) {
                        return Outcome::unknown(TWO_NAMES);
                    }
                    value = value.substitute(from, to);
                }
            }
            (x.value.clone(), value)
        }
        _ => (x.value.clone(), y.value.clone()),
    };
    // `(x, y) = (1, 2)` and `(y, x) = (2, 1)`: the values are put into the same order.
    if let (Expr::Tuple(p), Expr::Tuple(q), Expr::Tuple(v), Expr::Tuple(w)) = (&x.name, &y.name, &left, &right)
        && p != q
        && p.len() == v.len()
        && q.len() == w.len()
        && p.iter().all(|n| q.contains(n))
        && q.iter().all(|n| p.contains(n))
    {
        let sorted: Vec<&Expr> = p.iter().filter_map(|n| q.iter().position(|m| m == n).map(|i| &w[i])).collect();
        if sorted.len() == v.len() {
            return all_equal(v.iter().zip(sorted), options, "different values");
        }
    }
    let outcome = compare_exprs(&left, &right, options);
    if !outcome.is_equal() || options.ignore_names {
        return outcome;
    }
    if same_names(&x.name, &y.name, options) { outcome } else { Outcome::unknown(TWO_NAMES) }
}

/// Whether two left sides name the same thing: the same name, `f(x)` and `f(t)` with plain arguments, the same words.
fn same_names(a: &Expr, b: &Expr, options: &Context<'_>) -> bool {
    match (a, b) {
        (Expr::Apply(f, p), Expr::Apply(g, q)) => {
            // An argument in lower case may be renamed; `P(A)` and `P(B)` are two events.
            let plain = |e: &Expr| matches!(e, Expr::Sym(s) if s.starts_with(|c: char| c.is_lowercase()));
            f == g && p.len() == q.len() && p.iter().zip(q).all(|(x, y)| x == y || plain(x) && plain(y))
        }
        (Expr::Text(_), _) | (_, Expr::Text(_)) => match super::text::compare_words(a, b) {
            Some(outcome) => outcome.is_equal() || [a, b].contains(&&Expr::Text(String::new())),
            None => false,
        },
        (Expr::Tuple(p) | Expr::List(p), Expr::Tuple(q) | Expr::List(q)) => {
            p.len() == q.len() && p.iter().zip(q).all(|(x, y)| same_names(x, y, options))
        }
        (Expr::Ratio(p), Expr::Ratio(q)) => {
            p.len() == q.len() && p.iter().zip(q).all(|(x, y)| same_names(x, y, options))
        }
        _ if a == b => true,
        // x + y = 7 and y + x = 7, but not BC = 5 and CB = 5: adjacent letters may be one name.
        _ => {
            let name = |e: &Expr| matches!(e, Expr::Sym(_)) || (matches!(e, Expr::Mul(_)) && names_something(e));
            !name(a) && !name(b) && numeric::same(a, b, &options.budget) == Same::Yes
        }
    }
}

/// Compares chains of relations term by term, in the same order or reversed with flipped relations.
fn chains(ta: &[Expr], oa: &[Rel], tb: &[Expr], ob: &[Rel], options: &Context<'_>) -> Outcome {
    let forward = if oa == ob {
        all_equal(ta.iter().zip(tb), options, "different terms")
    } else {
        Outcome::different(Tier::Structure, "different relations")
    };
    forward.or(|| {
        let flipped: Option<Vec<Rel>> = ob.iter().rev().map(|o| o.flipped()).collect();
        if flipped.is_some_and(|f| f == oa) {
            all_equal(ta.iter().zip(tb.iter().rev()), options, "different terms")
        } else {
            Outcome::different(Tier::Structure, "different relations")
        }
    })
}

/// Compares `l = r` and `l' = r'`: equal if `l - r` is a constant multiple of `l' - r'`; for `<`, a positive multiple.
fn equations(ta: &[Expr], oa: &[Rel], tb: &[Expr], ob: &[Rel], options: &Context<'_>) -> Outcome {
    let ([la, ra], [lb, rb], [oa], [ob]) = (ta, tb, oa, ob) else {
        return Outcome::different(Tier::Structure, "different relations");
    };
    let comparable = |e: &Expr| {
        !e.any(&|e| matches!(e, Expr::List(_) | Expr::Tuple(_) | Expr::Set(_) | Expr::Matrix(_) | Expr::Text(_)))
    };
    if ![la, ra, lb, rb].iter().all(|e| comparable(e)) {
        return Outcome::different(Tier::Structure, "different relations");
    }
    let minus = |l: &Expr, r: &Expr| Expr::Add(vec![l.clone(), Expr::Neg(Box::new(r.clone()))]);
    let oriented = |o: Rel, l: &Expr, r: &Expr| match o {
        Rel::Gt => (Rel::Lt, minus(r, l)),
        Rel::Ge => (Rel::Le, minus(r, l)),
        o => (o, minus(l, r)),
    };
    let ((oa, x), (ob, y)) = (oriented(*oa, la, ra), oriented(*ob, lb, rb));
    let known = |o: Rel| matches!(o, Rel::Eq | Rel::Ne | Rel::Lt | Rel::Le);
    if oa != ob || !known(oa) {
        return Outcome::different(Tier::Structure, "different relations");
    }
    // Proportional: x(p) y(q) = x(q) y(p) for all points p and q.
    let (x2, y2) = (renamed(&x), renamed(&y));
    let cross =
        numeric::same(&Expr::Mul(vec![x.clone(), y2.clone()]), &Expr::Mul(vec![x2, y.clone()]), &options.budget);
    match cross {
        Same::No => return Outcome::different(Tier::Numeric, "different equations"),
        Same::Unknown(why) => return Outcome::unknown(why),
        Same::Yes => {}
    }
    // Every equation is proportional to `0 = 0`, so an equation that is always true is left undecided.
    let zero = Expr::int(0);
    if numeric::same(&x, &zero, &options.budget) != Same::No || numeric::same(&y, &zero, &options.budget) != Same::No {
        return Outcome::unknown("an equation that is always true");
    }
    if matches!(oa, Rel::Lt | Rel::Le) {
        let product = Expr::Mul(vec![x, y]);
        return match numeric::sign(&product, &options.budget) {
            Some(1) => Outcome::equal(Tier::Numeric, "inequalities that differ by a positive factor"),
            Some(_) => Outcome::different(Tier::Numeric, "inequalities in opposite directions"),
            None => Outcome::unknown("the direction of an inequality"),
        };
    }
    Outcome::equal(Tier::Numeric, "equations that differ by a factor")
}

/// The expression with every variable `x` renamed to `x′`.
fn renamed(e: &Expr) -> Expr {
    match e {
        Expr::Sym(s) => Expr::Sym(format!("{s}′")),
        other => other.map(&mut renamed),
    }
}

/// Compares a relation with another kind of expression, or lists with relations.
fn structured(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    // Lists of assignments on both sides are compared name by name.
    if let (Expr::List(x), Expr::List(y)) = (a, b)
        && let (Some(p), Some(q)) = (named(x), named(y))
    {
        return by_name(&p, &q, options);
    }
    if !options.strip_names {
        return Outcome::different(Tier::Policy, "a relation and a value");
    }
    let relation = |e: &Expr| {
        matches!(e, Expr::Relation(..))
            || matches!(e, Expr::List(i) if i.iter().any(|i| matches!(i, Expr::Relation(..))))
    };
    let strip = |e: &Expr| if relation(e) { value_of(e) } else { Some(e.clone()) };
    match (strip(a), strip(b)) {
        (Some(x), Some(y)) => {
            // `p = 5, q = 2` equals the tuple `(5, 2)` and the list `5, 2`, both only in this order.
            let assigned = |e: &Expr| matches!(e, Expr::List(i) if i.iter().all(|i| matches!(i, Expr::Relation(..))));
            let several = |e: &Expr| matches!(e, Expr::List(i) if i.len() > 1 && named(i).is_some());
            if (several(a) && matches!(b, Expr::List(_))) || (several(b) && matches!(a, Expr::List(_))) {
                let outcome = compare_prepared(&tuple(x.clone()), &tuple(y.clone()), options);
                if outcome.is_equal() || !lists::compare(&x, &y, options).is_equal() {
                    return outcome;
                }
                return Outcome::unknown("values in another order than their names");
            }
            let x = if assigned(a) && matches!(y, Expr::Tuple(_)) { tuple(x) } else { x };
            let y = if assigned(b) && matches!(x, Expr::Tuple(_)) { tuple(y) } else { y };
            let (x, y) = (lists::expand_signs(&x), lists::expand_signs(&y));
            compare_prepared(&x, &y, options)
        }
        _ => {
            // Lists of relations that are not assignments are compared item by item, in any order.
            match (a, b) {
                (Expr::List(x), Expr::List(y)) if x.len() == y.len() => {
                    lists::compare(&Expr::Set(x.clone()), &Expr::Set(y.clone()), options)
                }
                _ => Outcome::different(Tier::Structure, "a relation and a value"),
            }
        }
    }
}

fn tuple(e: Expr) -> Expr {
    match e {
        Expr::List(items) => Expr::Tuple(items),
        other => other,
    }
}

/// Names and values of the items, if every item is an assignment and all names differ.
fn named(items: &[Expr]) -> Option<Vec<(Expr, Expr)>> {
    let all: Option<Vec<(Expr, Expr)>> = items
        .iter()
        .map(|i| match assignment(i) {
            Some(Assignment { name, value }) if names_something(&name) => Some((name, value)),
            _ => None,
        })
        .collect();
    let all = all?;
    let distinct = all.iter().enumerate().all(|(i, (n, _))| all[..i].iter().all(|(m, _)| m != n));
    distinct.then_some(all)
}

/// Compares two lists of names and values; the order does not matter.
fn by_name(p: &[(Expr, Expr)], q: &[(Expr, Expr)], options: &Context<'_>) -> Outcome {
    if p.len() != q.len() {
        return Outcome::different(Tier::Structure, "a different number of values");
    }
    let mut pairs = Vec::new();
    for (name, value) in p {
        match q.iter().find(|(n, _)| same_names(n, name, options)) {
            Some((_, other)) => pairs.push((value, other)),
            None => return Outcome::unknown("values under different names"),
        }
    }
    all_equal(pairs.into_iter(), options, "different values")
}
