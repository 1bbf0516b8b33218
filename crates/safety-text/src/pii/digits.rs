//! Numbers: groups of digits with single separators, and the rules that are tried on them.

use super::context::Context;
use super::{Finding, alnum, card, ip, national, phone};

/// Separator between two groups of digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sep {
    Space,
    Dash,
    Dot,
    Slash,
    /// A bracket, alone or with a space or dash beside it.
    Bracket,
    /// A dash with spaces, or two spaces; accepted in telephone numbers only.
    Wide,
}

/// Maximal number of groups of a number.
pub(super) const GROUPS: usize = 10;
/// Maximal number of digits of a number.
const DIGITS: usize = 32;

/// A cluster: groups of digits from a place on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cluster<'a> {
    pub text: &'a str,
    /// Start and end of each group in bytes.
    groups: [(usize, usize); GROUPS],
    /// The separator before each group except the first.
    seps: [Sep; GROUPS],
    count: usize,
    /// The values of all digits of all groups.
    digits: [u8; DIGITS],
    /// Number of digits up to and including each group.
    sums: [usize; GROUPS],
}

impl<'a> Cluster<'a> {
    /// The groups that begin at `start`, which must be a digit.
    fn at(text: &'a str, start: usize) -> Self {
        let bytes = text.as_bytes();
        let mut cluster = Self {
            text,
            groups: [(0, 0); GROUPS],
            seps: [Sep::Space; GROUPS],
            count: 0,
            digits: [0; DIGITS],
            sums: [0; GROUPS],
        };
        let (mut at, mut total) = (start, 0);
        loop {
            let from = at;
            while at < bytes.len() && bytes[at].is_ascii_digit() {
                if total < DIGITS {
                    cluster.digits[total] = bytes[at] - b'0';
                    total += 1;
                }
                at += 1;
            }
            cluster.groups[cluster.count] = (from, at);
            cluster.sums[cluster.count] = total;
            cluster.count += 1;
            if cluster.count == GROUPS || total == DIGITS {
                return cluster;
            }
            let Some((sep, length)) = separator(&bytes[at..]) else { return cluster };
            cluster.seps[cluster.count] = sep;
            at += length;
        }
    }

    /// Number of groups.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Start and end of a group in bytes.
    pub fn group(&self, at: usize) -> (usize, usize) {
        self.groups[at]
    }

    /// Lengths of the first `count` groups.
    pub fn lengths(&self, count: usize) -> impl Iterator<Item = usize> {
        self.groups[..count].iter().map(|group| group.1 - group.0)
    }

    /// Whether the first groups have exactly these lengths.
    pub fn has_lengths(&self, lengths: &[usize]) -> bool {
        self.count >= lengths.len() && self.lengths(lengths.len()).eq(lengths.iter().copied())
    }

    /// The separators within the first `count` groups.
    pub fn seps(&self, count: usize) -> &[Sep] {
        &self.seps[1..count.max(1)]
    }

    /// The digits of the first `count` groups.
    pub fn digits(&self, count: usize) -> &[u8] {
        &self.digits[..self.sums[count - 1]]
    }

    /// The end in bytes of the number that consists of the first `count` groups.
    pub fn end(&self, count: usize) -> usize {
        self.groups[count - 1].1
    }

    /// Whether a number may end after the first `count` groups: no letter, digit, `_` or `@` follows, and no separator that is
    /// followed by a digit (or by a letter for `-`).
    pub fn ends(&self, count: usize) -> bool {
        let bytes = self.text.as_bytes();
        let end = self.end(count);
        let next = |at: usize| bytes.get(end + at).copied().unwrap_or(b' ');
        match next(0) {
            byte if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'@' => false,
            b'.' | b',' | b':' | b'/' | b'\'' => !next(1).is_ascii_digit(),
            b'-' => !next(1).is_ascii_alphanumeric(),
            _ => true,
        }
    }

    /// Whether the next group after the first `count` has the length of the first group and the separator of the first two
    /// groups.
    pub fn has_same_behind(&self, count: usize) -> bool {
        let length = |at: usize| self.groups[at].1 - self.groups[at].0;
        self.count > count && self.seps[count] == self.seps[1] && length(count) == length(0)
    }

    /// Whether the digits before the cluster form a group with the length of the first group and the separator of the first
    /// two.
    pub fn has_same_before(&self, count: usize) -> bool {
        let (start, end) = self.groups[0];
        let mark = match self.seps[1] {
            Sep::Space => b' ',
            Sep::Dash => b'-',
            Sep::Dot => b'.',
            _ => return false,
        };
        let before = &self.text.as_bytes()[..start];
        let Some((last, digits)) = before.split_last().filter(|_| count > 1) else { return false };
        let length = digits.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        *last == mark && length == end - start
    }

    /// Whether another group of digits follows the first `count` after a space.
    pub fn goes_on(&self, count: usize) -> bool {
        self.count > count && self.seps[count] == Sep::Space
    }
}

/// The separator before another digit, and its length in bytes.
fn separator(rest: &[u8]) -> Option<(Sep, usize)> {
    let is_digit = |at: usize| rest.get(at).is_some_and(u8::is_ascii_digit);
    let first = *rest.first()?;
    let space = space(rest);
    let found = if space > 0 {
        let behind = &rest[space..];
        match *behind.first()? {
            b'(' => (Sep::Bracket, space + 1),
            b'-' | b'/' if self::space(&behind[1..]) > 0 => (Sep::Wide, space + 1 + self::space(&behind[1..])),
            _ if self::space(behind) > 0 => (Sep::Wide, space + self::space(behind)),
            _ => (Sep::Space, space),
        }
    } else {
        match first {
            b'-' if rest.get(1) == Some(&b'(') => (Sep::Bracket, 2),
            b'-' => (Sep::Dash, 1),
            b'.' => (Sep::Dot, 1),
            b'/' => (Sep::Slash, 1),
            b'(' => (Sep::Bracket, 1),
            b')' => match rest.get(1)? {
                b'-' | b'.' | b'/' => (Sep::Bracket, 2),
                _ => (Sep::Bracket, 1 + self::space(&rest[1..])),
            },
            // A no-break hyphen or an en dash.
            0xE2 if rest.starts_with(b"\xE2\x80\x91") || rest.starts_with(b"\xE2\x80\x93") => (Sep::Dash, 3),
            _ => return None,
        }
    };
    is_digit(found.1).then_some(found)
}

/// The length in bytes of the space at the start of a text: plain, no-break, thin or narrow no-break; 0 if there is none.
pub(super) fn space(rest: &[u8]) -> usize {
    match rest.first() {
        Some(b' ') => 1,
        Some(0xC2) if rest.get(1) == Some(&0xA0) => 2,
        Some(0xE2) if rest.starts_with(b"\xE2\x80\x89") || rest.starts_with(b"\xE2\x80\xAF") => 3,
        _ => 0,
    }
}

/// Whether a number may begin at `start`: no letter, digit or `_` precedes, and no separator that follows a digit (or a letter
/// for `-` and `/`).
pub(super) fn begins(bytes: &[u8], start: usize) -> bool {
    let before = |back: usize| start.checked_sub(back).map_or(b' ', |at| bytes[at]);
    match before(1) {
        byte if byte.is_ascii_alphanumeric() || byte == b'_' => false,
        b'-' | b'/' => !before(2).is_ascii_alphanumeric() && before(2) != b'_',
        b'.' | b',' | b':' | b'\'' => !before(2).is_ascii_digit(),
        // An arithmetic expression.
        b'+' | b'*' | b'^' => !before(2).is_ascii_alphanumeric() && before(2) != b')',
        _ => true,
    }
}

pub(super) fn find(text: &str, out: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    // This loop over all bytes is the inner loop of the filter; the rules skip numbers that are too short.
    while let Some(step) = bytes[at..].iter().position(u8::is_ascii_digit) {
        let start = at + step;
        let token = alnum::token(bytes, start);
        if token.has_letters() {
            if let Some(finding) = alnum::find(text, token) {
                at = finding.end;
                out.push(finding);
                continue;
            }
            // A number may be the beginning of the token: `913-123-4567x12`.
            if token.start < start || !phone::has_extension(bytes, start) {
                at = token.end;
                continue;
            }
        }
        let cluster = Cluster::at(text, start);
        at = if begins(bytes, start) { number(&cluster, start, out) } else { cluster.group(0).1 };
    }
}

/// Tries all rules on the number at `start`. Returns the offset at which the search continues.
fn number(cluster: &Cluster, start: usize, out: &mut Vec<Finding>) -> usize {
    let first_end = cluster.group(0).1;
    if cluster.digits(cluster.count()).len() < 6 && !ip::may_be_v4(cluster) {
        // Skip the groups that cannot begin a longer number either.
        return if cluster.count() < GROUPS { cluster.end(cluster.count()) } else { first_end };
    }
    let near = std::cell::OnceCell::new();
    let context = |end: usize| near.get_or_init(|| Context::around(cluster.text, start, end));
    let found = ip::v4(cluster, &context)
        .or_else(|| card::find(cluster, &context))
        .or_else(|| national::find(cluster, &context))
        .or_else(|| phone::find(cluster, &context));
    match found {
        Some(finding) => {
            let end = finding.end;
            out.push(finding);
            end.max(first_end)
        }
        None => first_end,
    }
}

/// A function that returns the words around a number; they are searched once.
pub(super) trait Near<'a>: Fn(usize) -> &'a Context {}
impl<'a, F: Fn(usize) -> &'a Context> Near<'a> for F {}
