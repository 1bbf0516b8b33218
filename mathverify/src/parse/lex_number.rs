//! Lexes numbers: thousands separators, decimals, exponents, bases.

use super::lexer::Lexer;
use super::token::{Commas, Tok};

impl Lexer {
    /// Lexes a number with its separators and exponent.
    pub(super) fn number(&mut self) {
        let mut text = self.digits();
        let mut grouped = false;
        // Thousands: groups of exactly three digits after `,`, `{,}`, `,\!`, `\,`, `'` or one space.
        if text.len() <= 3 && !text.is_empty() && !text.starts_with("00") {
            while let Some(skip) = self.thousands_separator(&text) {
                self.at += skip;
                text.push_str(&self.digits());
                grouped = true;
            }
        }
        // `0{,}5`: a decimal comma; the braces prevent the space that LaTeX sets after a comma.
        if !grouped && self.rest_is("{,}") && self.peek(3).is_some_and(|d| d.is_ascii_digit()) {
            self.at += 3;
            text = format!("{text}.{}", self.digits());
            self.push(Tok::Num(text));
            return;
        }
        if !grouped
            && self.peek(0) == Some(',')
            && self.commas == Commas::Decimal
            && self.peek(1).is_some_and(|d| d.is_ascii_digit())
        {
            self.at += 1;
            text = format!("{text}.{}", self.digits());
            self.push(Tok::Num(text));
            return;
        }
        if self.peek(0) == Some('.') && self.dot_groups(&text) {
            while self.peek(0) == Some('.') {
                self.at += 1;
                text.push_str(&self.digits());
            }
            if self.peek(0) == Some(',') && self.peek(1).is_some_and(|d| d.is_ascii_digit()) {
                self.at += 1;
                text = format!("{text}.{}", self.digits());
            }
        } else if self.peek(0) == Some('.') && self.peek(1).is_some_and(|d| d.is_ascii_digit()) {
            self.at += 1;
            text = format!("{text}.{}", self.digits());
        } else if self.peek(0) == Some('.') && self.peek(1) != Some('.') {
            // The point of `5.` at the end of a sentence or before a unit is dropped; in `0.\overline{3}` it is kept.
            self.at += 1;
            let rest: String = self.chars[self.at..].iter().take(9).collect();
            let repeats = ["\\overline", "\\bar", "\\dot{"].iter().any(|m| rest.starts_with(m))
                || (rest.starts_with('(') && text == "0");
            if repeats {
                text.push('.');
            }
        }
        // `6.673E-11`, `1e5`
        if matches!(self.peek(0), Some('e' | 'E')) {
            let sign = usize::from(matches!(self.peek(1), Some('-' | '+')));
            let digits: String = self.chars[(self.at + 1 + sign).min(self.chars.len())..]
                .iter()
                .take_while(|c| c.is_ascii_digit())
                .take(6)
                .collect();
            let next = self.peek(1 + sign + digits.len());
            if !digits.is_empty() && digits.len() < 6 && !next.is_some_and(|c| c.is_alphanumeric() || c == '.') {
                let minus = self.peek(1) == Some('-');
                self.at += 1 + sign + digits.len();
                let spaced = self.spaced;
                self.push(Tok::Open('('));
                self.push(Tok::Num(text));
                self.push(Tok::Times);
                self.push(Tok::Num("10".into()));
                self.push(Tok::Sup);
                self.push(Tok::OpenGroup);
                if minus {
                    self.push(Tok::Minus);
                }
                self.push(Tok::Num(digits));
                self.push(Tok::CloseGroup);
                self.push(Tok::Close(')'));
                let first = self.out.len() - if minus { 10 } else { 9 };
                self.out[first].spaced = spaced;
                return;
            }
        }
        self.push(Tok::Num(text));
    }

    /// Consumes ASCII digits.
    pub(super) fn digits(&mut self) -> String {
        let start = self.at;
        while self.peek(0).is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    /// Whether the rest of the text starts with `text`.
    pub(super) fn rest_is(&self, text: &str) -> bool {
        self.chars[self.at..].iter().copied().take(text.len()).eq(text.chars())
    }

    /// Digits and letters with a base above ten at the current position: `1A3_{16}`, `FF_{16}`. Returns their length
    /// without the subscript, and the base.
    pub(super) fn based_digits(&self) -> Option<(usize, u32)> {
        let run = self.chars[self.at..].iter().take(64).take_while(|c| c.is_ascii_alphanumeric()).count();
        let digits = &self.chars[self.at..self.at + run];
        let mixed = digits.iter().any(char::is_ascii_lowercase) && digits.iter().any(char::is_ascii_uppercase);
        if !(2..64).contains(&run) || mixed || !digits.iter().any(char::is_ascii_alphabetic) {
            return None;
        }
        let subscript = self.chars.get(self.at + run..)?.strip_prefix(&['_'])?;
        let subscript = subscript.strip_prefix(&['{']).unwrap_or(subscript);
        let base: String = subscript.iter().take_while(|c| c.is_ascii_digit()).take(3).collect();
        let base = base.parse().ok().filter(|b| (11..=36).contains(b))?;
        digits.iter().all(|c| c.is_digit(base)).then_some((run, base))
    }

    /// Whether points separate groups of three digits after the digits `first`: `1.234.567`, `1.234,5`.
    fn dot_groups(&self, first: &str) -> bool {
        if first.is_empty() || first.len() > 3 || first.starts_with('0') {
            return false;
        }
        let (mut at, mut groups) = (self.at, 0);
        while self.chars.get(at) == Some(&'.') {
            let group = self.chars[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
            if group != 3 {
                return false;
            }
            groups += 1;
            at += 4;
        }
        let comma = self.chars.get(at) == Some(&',')
            && self.chars.get(at + 1).is_some_and(char::is_ascii_digit)
            && self.commas != Commas::List;
        groups >= 2 || (groups == 1 && comma)
    }

    /// Length in characters of the thousands separator at the current position; `None` unless exactly three digits
    /// follow.
    fn thousands_separator(&self, so_far: &str) -> Option<usize> {
        if so_far == "0" {
            return None;
        }
        let rest = &self.chars[self.at..];
        let starts = |s: &str| rest.iter().copied().take(s.len()).eq(s.chars());
        let sure = ["{,}\\!", "{,}", ",\\!\\!", ",\\!\\,", ",\\!", "\\,", "\\;", "{\\,}", "{ }", "\\text{,}"];
        let mut length = sure.iter().find(|s| starts(s)).map(|s| s.len());
        if length.is_some() && rest[length.unwrap_or(0)..].first() == Some(&' ') && starts(",") {
            length = length.map(|l| l + 1);
        }
        let plain = match rest.first() {
            Some(',') if self.commas == Commas::Thousands => Some(1),
            Some('\u{2009}' | '\u{202f}' | '\u{a0}') => Some(1),
            Some(' ' | '\'' | '’' | '٬' | '~') => Some(1),
            _ => None,
        };
        let length = length.or(plain)?;
        let group = rest.get(length..)?.iter().take_while(|c| c.is_ascii_digit()).count();
        (group == 3).then_some(length)
    }
}
