//! Mathematical answers and step-by-step solutions: what is the answer, is it right, and is every step?
mod ast;
mod parse;
mod numeric;
mod rational;
mod units;
#[cfg(test)]
mod probe;
