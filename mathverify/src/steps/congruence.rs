//! Claims that are congruences: `a ≡ b (mod m)`.

use num_traits::Zero;

use super::Claim;
use super::chain::relations;
use super::judge::{Judged, is_numeric};
use crate::numeric::exact::exact;
use crate::parse;

/// Adds the congruences of integers in a formula to `out`, also those of a chain `a ≡ b ≡ c (mod m)`. `offset` is the
/// byte offset of the formula in the step.
pub(super) fn claims(content: &str, offset: usize, out: &mut Vec<Claim>) {
    let Some(at) = content.find("\\pmod").or_else(|| content.find("\\mod")).or_else(|| content.find("\\bmod")) else {
        return;
    };
    if content[at + 4..].contains("mod") || content.contains([',', ';']) || content.contains("\\\\") {
        return;
    }
    let modulus: String = content[at..].chars().filter(char::is_ascii_digit).collect();
    let closed = content[at..].trim_end_matches(|c: char| c.is_whitespace() || ".})".contains(c));
    if modulus.is_empty() || !closed.ends_with(&modulus) {
        return;
    }
    let left_side = content[..at].trim_end_matches(|c: char| c.is_whitespace() || c == '(');
    let terms = relations(left_side);
    for pair in terms.windows(2) {
        let (left, right) = (pair[0].1.trim(), pair[1].1.trim());
        if pair[1].0 == '≈' {
            continue;
        }
        let value = |t: &str| {
            parse::parse(t)
                .ok()
                .filter(is_numeric)
                .and_then(|e| exact(&e))
                .filter(num_rational::BigRational::is_integer)
        };
        let (Some(l), Some(r), Some(m)) = (value(left), value(right), value(&modulus)) else { continue };
        if m.is_zero() {
            continue;
        }
        let holds = ((&l - &r) / &m).is_integer();
        let rest = &l - &m * (&l / &m).floor();
        let judged = if holds { Judged::True } else { Judged::False(crate::rational::render(&rest)) };
        let text = format!("{left} ≡ {right} (mod {modulus})");
        out.push(Claim::judged(text, judged, offset..offset + content.len()));
    }
}
