//! Redaction: replaces findings by placeholders, until nothing more is found.

use super::{Finding, Kind, Pii};

/// Result of redacting a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted {
    /// The text with placeholders.
    pub text: String,
    /// The replaced findings with their offsets in the original text, in order and without overlaps.
    pub findings: Vec<Finding>,
}

/// A replaced part: its offsets in the current text and in the original text.
#[derive(Clone, Copy)]
struct Replaced {
    now: (usize, usize),
    original: (usize, usize),
}

/// Maximal number of searches. Later searches find data that was hidden by an overlapping or adjacent finding.
const ROUNDS: usize = 8;

impl Pii {
    /// Replaces findings by [`Kind::placeholder`]. A redacted text has no findings, so redacting it again changes nothing.
    #[must_use]
    pub fn redact(&self, text: &str) -> Redacted {
        self.redact_with(text, |kind| kind.placeholder().to_owned())
    }

    /// Replaces each finding by the result of `placeholder` for its kind.
    #[must_use]
    pub fn redact_with(&self, text: &str, placeholder: impl Fn(Kind) -> String) -> Redacted {
        let mut current = text.to_owned();
        let mut replaced: Vec<Replaced> = Vec::new();
        let mut findings: Vec<Finding> = Vec::new();
        for _ in 0..ROUNDS {
            let found = self.find(&current);
            if found.is_empty() {
                break;
            }
            let mut next = String::with_capacity(current.len());
            let mut now: Vec<Replaced> = Vec::with_capacity(replaced.len() + found.len());
            let (mut done, mut earlier) = (0, replaced.iter().peekable());
            for finding in &found {
                let original =
                    (to_original(&replaced, finding.start, false), to_original(&replaced, finding.end, true));
                while let Some(part) = earlier.next_if(|part| part.now.1 <= finding.start) {
                    now.push(moved(*part, done, next.len()));
                }
                // Earlier placeholders within the finding are replaced with it.
                while earlier.next_if(|part| part.now.0 < finding.end).is_some() {}
                next.push_str(&current[done..finding.start]);
                let start = next.len();
                next.push_str(&placeholder(finding.kind()));
                now.push(Replaced { now: (start, next.len()), original });
                done = finding.end;
                findings.retain(|other| other.end <= original.0 || other.start >= original.1);
                findings.push(Finding { start: original.0, end: original.1, ..finding.clone() });
            }
            now.extend(earlier.map(|part| moved(*part, done, next.len())));
            next.push_str(&current[done..]);
            current = next;
            replaced = now;
        }
        findings.sort_by_key(|finding| finding.start);
        Redacted { text: current, findings }
    }
}

/// Moves a part that lies after the offset `done` of the previous text, where `done` has become `at`.
fn moved(part: Replaced, done: usize, at: usize) -> Replaced {
    let now = (part.now.0 + at - done, part.now.1 + at - done);
    Replaced { now, ..part }
}

/// Converts an offset to the original text. An offset within a placeholder becomes the start or end of the replaced text.
fn to_original(replaced: &[Replaced], place: usize, is_end: bool) -> usize {
    let before = replaced.partition_point(|part| if is_end { part.now.0 < place } else { part.now.0 <= place });
    let Some(last) = before.checked_sub(1).map(|at| replaced[at]) else { return place };
    if place < last.now.1 || is_end && place == last.now.1 {
        return if is_end { last.original.1 } else { last.original.0 };
    }
    last.original.1 + (place - last.now.1)
}
