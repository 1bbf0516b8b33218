//! Decides whether two answers are the same, in tiers.

mod agree;
mod bound;
mod codes;
mod families;
mod lists;
mod logs;
pub(crate) mod marks;
mod matrix;
mod relation;
mod scalar;
mod sets;
mod text;
mod time;
mod words;

use crate::ast::{Expr, Rel};
use crate::budget::Context;
use crate::options::{Options, Units};
use crate::verdict::{Outcome, Status, Tier};
use crate::{parse, quantity};

pub(crate) use scalar::compare_scalars;
pub(crate) use text::normalised;
pub(crate) use words::differing_words;

/// Compares two answers given as text.
pub(crate) fn compare(pred: &str, gold: &str, options: &Options) -> Outcome {
    compare_within(pred, gold, &Context::new(options))
}

/// Like [`compare`], within the remaining budget of `context`.
pub(crate) fn compare_within(pred: &str, gold: &str, context: &Context<'_>) -> Outcome {
    let outcome = match (families::without_remark(pred), families::without_remark(gold)) {
        (None, None) => compare_readings_of_logs(pred, gold, context),
        // A remark such as `for k ∈ ℤ` describes the letter; the comparison leaves the remark out.
        (p, g) => compare_readings_of_logs(p.unwrap_or(pred), g.unwrap_or(gold), context),
    };
    if outcome.is_equal() && marks::other_domains(pred, gold) {
        return Outcome::unknown("letters from two sets of numbers");
    }
    outcome
}

/// Compares two answers; if a logarithm has no base, they are equal only if they are equal both with natural and with
/// common logarithms.
fn compare_readings_of_logs(pred: &str, gold: &str, context: &Context<'_>) -> Outcome {
    let natural = compare_texts(pred, gold, context);
    let has_log = |s: &str| memchr::memmem::find(s.as_bytes(), b"log").is_some();
    if natural.tier == Tier::Text || !(has_log(pred) || has_log(gold)) {
        return natural;
    }
    let (p, g) = (logs::common(pred), logs::common(gold));
    if p.is_none() && g.is_none() {
        return natural;
    }
    let (p, g) = (p.as_deref().unwrap_or(pred), g.as_deref().unwrap_or(gold));
    if parse::parse(p).is_err() || parse::parse(g).is_err() {
        return natural;
    }
    let common = compare_texts(p, g, context);
    if natural.is_equal() == common.is_equal() {
        return natural;
    }
    Outcome::unknown("a logarithm without a base may be natural or common")
}

fn compare_texts(pred: &str, gold: &str, options: &Context<'_>) -> Outcome {
    // Tier 1: the same text.
    let (a, b) = (normalised(pred), normalised(gold));
    if a.is_empty() || b.is_empty() {
        return Outcome::unknown("an empty answer");
    }
    if a == b {
        return Outcome::equal(Tier::Text, "the same text");
    }
    if let Some(why) = codes::undecided(&a, &b) {
        return Outcome::unknown(why);
    }
    // Plain integers need no parser.
    if let (Some(x), Some(y)) = (text::plain_integer(&a), text::plain_integer(&b)) {
        return if x == y {
            Outcome::equal(Tier::Exact, "the same number")
        } else {
            Outcome::different(Tier::Exact, "different numbers")
        };
    }
    if let Some(outcome) = special(pred, gold, options) {
        return outcome;
    }
    let (left, right) = match (parse::readings(pred), parse::readings(gold)) {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) => return text::compare_unread(pred, gold, left.err(), right.err()),
    };
    let mut best: Option<Outcome> = None;
    for x in &left {
        for y in &right {
            let outcome = compare_exprs(x, y, options);
            let outcome = if outcome.is_equal() {
                outcome
            } else {
                families::compare(&prepare(x), &prepare(y), options).unwrap_or(outcome)
            };
            best = Some(match best {
                None => outcome,
                Some(before) => before.or(|| outcome),
            });
            if best.as_ref().is_some_and(Outcome::is_equal) {
                break;
            }
        }
    }
    let outcome = best.unwrap_or_else(|| Outcome::unknown("nothing to compare"));
    // `3,4` is two numbers or one with a decimal comma; the text does not tell which.
    if outcome.is_equal()
        && (text::is_short_decimal(&a) || text::is_short_decimal(&b))
        && !compare_exprs(&left[0], &right[0], options).is_equal()
    {
        return Outcome::unknown("two numbers, or one with a decimal comma");
    }
    if outcome.is_equal()
        && outcome.tier != Tier::Text
        && options.units != Units::Ignored
        && let Some(why) = agree::disagreement(pred, gold)
    {
        return Outcome::unknown(why);
    }
    outcome
}

/// Whether `decimal` is the value of `exact`, rounded or truncated to the written digits.
pub(crate) fn rounds(exact: &str, decimal: &str) -> bool {
    let options = Options { decimal_digits: 1, ..Options::default() };
    let (Ok(exact), Ok(decimal)) = (parse::parse(exact), parse::parse(decimal)) else { return false };
    // If `exact` is itself a decimal, `decimal` is another answer and no rounding.
    !matches!(exact, Expr::Num { decimals: Some(_), .. })
        && compare_exprs(&exact, &decimal, &Context::new(&options)).is_equal()
}

/// Compares answers that are no formulas: times of day, bounds in words, chemical formulas, quantities with units.
/// `None` if the two texts are not of one such kind.
fn special(pred: &str, gold: &str, options: &Context<'_>) -> Option<Outcome> {
    let word = |s: &str| s.bytes().any(|b| !b.is_ascii_digit() && !b.is_ascii_punctuation() && b != b' ');
    let money = |s: &str| s.contains('$') && !s.contains('\\');
    let (p, g) = (word(pred) || money(pred), word(gold) || money(gold));
    if !p && !g {
        return None;
    }
    if let Some(outcome) = time::compare(pred, gold).or_else(|| bound::compare(pred, gold, options)) {
        return Some(outcome);
    }
    if !p || !g {
        return None;
    }
    if text::same_chemistry(pred, gold) {
        return Some(Outcome::equal(Tier::Text, "the same chemical formula"));
    }
    if options.units != Units::Ignored
        && let (Some(p), Some(g)) = (quantity::read(pred), quantity::read(gold))
    {
        return Some(if p.dimension == g.dimension {
            compare_scalars(&p.value, &g.value, options)
        } else {
            Outcome::different(Tier::Policy, "different units")
        });
    }
    None
}

/// Compares two parsed answers.
pub(crate) fn compare_exprs(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    if a == b {
        return Outcome::equal(Tier::Exact, "the same formula");
    }
    let (a, b) = (prepare(a), prepare(b));
    compare_prepared(&a, &b, options)
}

/// Replaces ± by its two values, and a list of one item by the item.
fn prepare(e: &Expr) -> Expr {
    let e = match e {
        Expr::List(items) if items.len() == 1 => &items[0],
        other => other,
    };
    lists::expand_signs(e)
}

fn compare_prepared(a: &Expr, b: &Expr, options: &Context<'_>) -> Outcome {
    if a == b {
        return Outcome::equal(Tier::Exact, "the same formula");
    }
    // `[x]` may be the integer part of x, the nearest integer, or x itself.
    let bracketed = |e: &Expr| e.any(&|e| matches!(e, Expr::Apply(name, _) if name == parse::BRACKETS));
    if bracketed(a) != bracketed(b) {
        return Outcome::unknown("square brackets around a letter, and none");
    }
    // Words that list items, as in `\text{Alice and Bob}`, compared with a list.
    if let (Some(x), Expr::List(_)) = (text::listed_words(a), b) {
        return lists::compare(&x, b, options);
    }
    if let (Expr::List(_), Some(y)) = (a, text::listed_words(b)) {
        return lists::compare(a, &y, options);
    }
    if let Some(outcome) = text::compare_words(a, b) {
        return outcome;
    }
    // `x = 5`, `x ∈ S`, equations and inequalities.
    if is_relation(a) || is_relation(b) {
        return relation::compare(a, b, options);
    }
    if sets::is_set(a) || sets::is_set(b) {
        return sets::compare(a, b, options);
    }
    if lists::is_collection(a) || lists::is_collection(b) {
        return lists::compare(a, b, options);
    }
    if matrix::has_matrix(a) || matrix::has_matrix(b) {
        return matrix::compare(a, b, options);
    }
    compare_scalars(a, b, options)
}

fn is_relation(e: &Expr) -> bool {
    match e {
        Expr::Relation(..) => true,
        Expr::List(items) => items.iter().any(|i| matches!(i, Expr::Relation(..))),
        _ => false,
    }
}

/// Compares pairs of parts in order: equal if all pairs are. `what` is the reason if a pair differs.
fn all_equal<'a>(
    pairs: impl Iterator<Item = (&'a Expr, &'a Expr)>,
    options: &Context<'_>,
    what: &'static str,
) -> Outcome {
    let mut unknown = None;
    for (a, b) in pairs {
        let outcome = compare_exprs(a, b, options);
        match outcome.status {
            Status::Different => return Outcome::different(Tier::Structure, what),
            Status::Unknown => unknown = Some(outcome),
            Status::Equal => {}
        }
    }
    unknown.unwrap_or_else(|| Outcome::equal(Tier::Structure, "all parts are equal"))
}

/// Whether a chain of relations has only equations (and approximations).
fn only_equations(ops: &[Rel]) -> bool {
    ops.iter().all(|o| matches!(o, Rel::Eq | Rel::Approx))
}

/// Whether a text is a formula: it parses and contains no words.
pub(crate) fn is_formula(text: &str) -> bool {
    parse::parse(text).is_ok_and(|e| !e.any(&|e| matches!(e, Expr::Text(_) | Expr::Quantity(..))))
}
