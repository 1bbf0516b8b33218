//! Counts of the reasons for which records were set aside.

use std::fmt;

use serde::Serialize;

use crate::error::Place;

/// Number of different reasons that are told apart; the records of all others are only counted.
const MOST: usize = 64;
/// Number of reasons that the text has.
const SHOWN: usize = 8;

/// The reasons for which records were set aside, the most frequent first. Messages that differ only in numbers and
/// quoted texts (a column, an index, a value) have the same reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Reasons(Vec<Reason>);

/// One reason, with its first record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Number of records.
    pub records: u64,
    /// The message of the first record.
    pub reason: String,
    /// The place of the first record: `file:line`.
    pub first: String,
    /// The message without numbers and quoted texts.
    #[serde(skip)]
    kind: String,
}

impl Reasons {
    /// Counts a record at `place` with the message `what`.
    pub(crate) fn add(&mut self, place: &Place, what: &str) {
        let kind = kind(what);
        if let Some(known) = self.0.iter_mut().find(|known| known.kind == kind) {
            known.records += 1;
        } else if self.0.len() < MOST {
            self.0.push(Reason { records: 1, reason: what.to_owned(), first: place.to_string(), kind });
        } else if let Some(last) = self.0.last_mut() {
            *last = Reason { records: last.records + 1, reason: "other reasons".into(), ..last.clone() };
        }
    }

    /// The reasons, the most frequent first.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.0.sort_by_key(|reason| std::cmp::Reverse(reason.records));
        self
    }

    /// Whether no record was set aside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each reason, in the order of its first record unless [`Reasons::sorted`] was called.
    pub fn iter(&self) -> impl Iterator<Item = &Reason> {
        self.0.iter()
    }
}

/// One line for each reason: the number of records, the message, and the place of the first record.
impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Reason { records, reason, first, .. }) in self.0.iter().take(SHOWN).enumerate() {
            let line = if number == 0 { "" } else { "\n" };
            write!(f, "{line}{records} x {reason} (first: {first})")?;
        }
        let more: u64 = self.0.iter().skip(SHOWN).map(|reason| reason.records).sum();
        if more > 0 { write!(f, "\n{more} x other reasons") } else { Ok(()) }
    }
}

/// A message without numbers and quoted texts.
fn kind(what: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    for c in what.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted => continue,
            _ if c.is_ascii_digit() => {
                if !kind.ends_with('#') {
                    kind.push('#');
                }
                continue;
            }
            _ => {}
        }
        kind.push(c);
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_grouped_and_their_number_is_limited() {
        let place = |number| Place { path: "a.jsonl".into(), number, is_row: false };
        let mut reasons = Reasons::default();
        reasons.add(&place(2), "not valid JSON (column 7)");
        reasons.add(&place(5), "messages[1].role: \"bot\" is not known");
        reasons.add(&place(9), "messages[12].role: \"12 x\" is not known");
        assert_eq!(
            reasons.clone().sorted().to_string(),
            "2 x messages[1].role: \"bot\" is not known (first: a.jsonl:5)\n1 x not valid JSON (column 7) (first: a.jsonl:2)"
        );
        let letters = |number: u64| char::from_u32(0x4e00 + number as u32).map(String::from).unwrap();
        (0..100).for_each(|number| reasons.add(&place(10 + number), &letters(number)));
        assert_eq!((reasons.iter().count(), reasons.iter().map(|reason| reason.records).sum::<u64>()), (MOST, 103));
        let text = reasons.sorted().to_string();
        assert!(text.starts_with("39 x other reasons") && text.lines().count() == SHOWN + 1, "{text}");
    }
}
