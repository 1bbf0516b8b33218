//! Random arithmetic expressions, with the evaluation written out one operation at a time.

use crate::draw::Draw;

/// An expression tree over integers.
pub(super) enum Expression {
    Number(i64),
    Operation(Box<Expression>, char, Box<Expression>),
}

use Expression::{Number, Operation};

impl Expression {
    /// An expression with this number of operations. Divisions have no remainder, and no intermediate value exceeds
    /// `limit`.
    pub(super) fn draw(d: &mut Draw, operations: i64, largest: i64, limit: i64) -> Option<Self> {
        if operations == 0 {
            return Some(Number(d.number(1..=largest)));
        }
        let left = d.number(0..=operations - 1);
        let operator = d.structure(&['+', '-', '*', '+', '-', '*', '/']);
        let a = Self::draw(d, left, largest, limit)?;
        let b = Self::draw(d, operations - 1 - left, largest, limit)?;
        let whole = Operation(Box::new(a), operator, Box::new(b));
        whole.value().filter(|value| value.abs() <= limit)?;
        Some(whole)
    }

    /// The value; `None` if a division has a remainder or an intermediate value is negative.
    pub(super) fn value(&self) -> Option<i64> {
        match self {
            Number(n) => Some(*n),
            Operation(a, operator, b) => {
                let (a, b) = (a.value()?, b.value()?);
                match operator {
                    '+' => Some(a + b),
                    '-' => Some(a - b),
                    '*' => Some(a * b),
                    _ => (b != 0 && a % b == 0).then(|| a / b),
                }
            }
        }
    }

    fn precedence(&self) -> u8 {
        match self {
            Number(n) if *n < 0 => 0,
            Number(_) => 3,
            Operation(_, '+' | '-', _) => 1,
            Operation(..) => 2,
        }
    }

    /// The text, with the necessary brackets; different trees have different texts.
    pub(super) fn text(&self) -> String {
        match self {
            Number(n) => n.to_string(),
            Operation(a, operator, b) => {
                let mine = self.precedence();
                let bracket = |e: &Self, needed: bool| if needed { format!("({})", e.text()) } else { e.text() };
                let right = bracket(b, b.precedence() <= mine);
                format!("{} {operator} {right}", bracket(a, a.precedence() < mine))
            }
        }
    }

    /// Evaluates one innermost operation. Returns its text, or `None` if only a number is left.
    fn reduce(&mut self) -> Option<String> {
        let Operation(a, _, b) = self else { return None };
        if let Some(step) = a.reduce().or_else(|| b.reduce()) {
            return Some(step);
        }
        let value = self.value()?;
        let step = format!("{} = {value}", self.text());
        *self = Number(value);
        Some(step)
    }

    /// Each operation with its value, in order.
    pub(super) fn steps(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.reduce()).collect()
    }
}
