//! Grade-school word problems. Each family states its numbers, computes the answer in steps, and rejects numbers that
//! do not fit (negative counts, fractions of people).

mod counting;
mod money;
mod people;
mod percent;
mod puzzles;
mod rates;
mod shapes;
mod sharing;
mod story;

use crate::family::{Draft, Family};

pub(crate) fn families() -> Vec<Family> {
    [
        &counting::FAMILIES[..],
        &money::FAMILIES,
        &people::FAMILIES,
        &percent::FAMILIES,
        &puzzles::FAMILIES,
        &rates::FAMILIES,
        &shapes::FAMILIES,
        &sharing::FAMILIES,
        &story::FAMILIES,
    ]
    .concat()
}

/// A question with its steps and answer.
fn math(question: String, steps: Vec<String>, answer: i64) -> Option<Draft> {
    Some(Draft::Math { question, steps, answer: answer.to_string() })
}
