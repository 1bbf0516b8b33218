//! Redaction: findings replaced by placeholders, until nothing is found any more.

use super::{Finding, Kind, Pii};

/// A text without its findings.
#[derive(Debug, Clone, PartialEq)]
pub struct Redacted {
    /// The text with placeholders.
    pub text: String,
    /// What was replaced, with the offsets in the original text, in order. Nothing overlaps.
    pub findings: Vec<Finding>,
}

/// A replaced part: its place in the text as it is now, and in the original one.
#[derive(Clone, Copy)]
struct Replaced {
    now: (usize, usize),
    original: (usize, usize),
}

/// A text is searched again as often as this. What the first search leaves is what stood in the shadow of something else.
const ROUNDS: usize = 8;

impl Pii {
    /// Replaces findings by [`Kind::placeholder`]. A redacted text has no findings: redacting it changes nothing.
    #[must_use]
    pub fn redact(&self, text: &str) -> Redacted {
        self.redact_with(text, |kind| kind.placeholder().to_owned())
    }

    /// Replaces findings by what `placeholder` gives for their kind.
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
                // Placeholders within the finding go with it.
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

/// A part behind `done` of the text before, where that place has become `at`.
fn moved(part: Replaced, done: usize, at: usize) -> Replaced {
    let now = (part.now.0 + at - done, part.now.1 + at - done);
    Replaced { now, ..part }
}

/// The place in the original text. Within a placeholder it is the begin or end of what was replaced.
fn to_original(replaced: &[Replaced], place: usize, is_end: bool) -> usize {
    let before = replaced.partition_point(|part| if is_end { part.now.0 < place } else { part.now.0 <= place });
    let Some(last) = before.checked_sub(1).map(|at| replaced[at]) else { return place };
    if place < last.now.1 || is_end && place == last.now.1 {
        return if is_end { last.original.1 } else { last.original.0 };
    }
    last.original.1 + (place - last.now.1)
}
