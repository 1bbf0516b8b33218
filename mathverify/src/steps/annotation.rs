//! GSM8K's calculator annotations: `<<48/2=24>>`.

use std::ops::Range;

use super::Claim;
use super::judge::{Judged, judge_numbers};
use crate::budget::Budget;

/// Byte ranges of the annotations, with `<<` and `>>`.
pub(super) fn spans(step: &str) -> Vec<Range<usize>> {
    let bytes = step.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(open) = memchr::memmem::find(&bytes[at..], b"<<") {
        let start = at + open;
        let window = &bytes[start..bytes.len().min(start + 400)];
        match memchr::memmem::find(window, b">>") {
            Some(length) => {
                out.push(start..start + length + 2);
                at = start + length + 2;
            }
            None => at = start + 2,
        }
    }
    out
}

/// The claims of all annotations.
pub(super) fn claims(step: &str, budget: &Budget) -> Vec<Claim> {
    spans(step)
        .into_iter()
        .filter_map(|span| {
            let text = &step[span.start + 2..span.end - 2];
            let (left, right) = text.rsplit_once('=')?;
            // Some annotations write the division as `//`.
            let left = left.replace("//", "/");
            let judged = match judge_numbers(&left, right, true, budget) {
                Judged::Unclear if malformed(&left) || malformed(right) => Judged::False("no value".to_owned()),
                judged => judged,
            };
            Some(Claim::judged(text.to_owned(), judged, span))
        })
        .collect()
}

/// Whether a formula of digits and operators has no value: `*30+4`, `5/0`.
fn malformed(formula: &str) -> bool {
    let plain = formula.bytes().all(|b| b.is_ascii_digit() || b"+-*/(). ".contains(&b));
    plain && crate::parse::parse(formula).ok().and_then(|e| crate::numeric::exact::exact(&e)).is_none()
}
