//! Drills: arithmetic and algebra without a story.

mod algebra;
mod arithmetic;
mod expression;

use crate::family::{Draft, Family};

pub(crate) fn families() -> Vec<Family> {
    [&arithmetic::FAMILIES[..], &algebra::FAMILIES].concat()
}

/// A question with its steps and answer.
fn drill(question: String, steps: Vec<String>, answer: impl ToString) -> Option<Draft> {
    Some(Draft::Math { question, steps, answer: answer.to_string() })
}

/// The greatest common divisor.
fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.abs() } else { gcd(b, a % b) }
}

/// A fraction in lowest terms; an integer without a denominator.
fn fraction(numerator: i64, denominator: i64) -> String {
    let common = gcd(numerator, denominator);
    let (n, d) = (numerator / common, denominator / common);
    if d == 1 { n.to_string() } else { format!("{n}/{d}") }
}
