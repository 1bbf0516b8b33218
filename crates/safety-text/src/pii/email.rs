//! E-mail addresses: text around an `@` that follows the common subset of RFC 5322 and has an existing top-level domain.

use super::{Finding, Kind, Rule};

static EMAIL: Rule = Rule {
    name: "email",
    kind: Kind::Email,
    checks: "local part, host with a top-level domain that exists",
    score: 0.9,
};
static SPELLED: Rule = Rule {
    name: "email-spelled",
    kind: Kind::Email,
    checks: "`at` in brackets, host with a top-level domain",
    score: 0.6,
};

/// Maximal length of the local part (RFC 5321).
const LOCAL: usize = 64;

pub(super) fn find(text: &str, out: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for at in memchr::memchr_iter(b'@', bytes) {
        if at < from {
            continue;
        }
        let Some(start) = local(text, from, at) else { continue };
        let Some(end) = host(text, at + 1) else { continue };
        if is_other(bytes, start, at, end) {
            continue;
        }
        out.push(Finding { start, end, rule: &EMAIL, context: None });
        from = end;
    }
    for bracket in memchr::memchr2_iter(b'(', b'[', bytes) {
        spelled(text, bracket, out);
    }
}

/// Letters of the Latin script beyond ASCII, which occur in internationalised addresses.
fn is_latin(c: char) -> bool {
    ('\u{C0}'..='\u{24F}').contains(&c) && c != '×' && c != '÷'
}

/// The start of the local part before `at`.
fn local(text: &str, from: usize, at: usize) -> Option<usize> {
    let mut start = at;
    for (offset, c) in text[from..at].char_indices().rev() {
        let fits = c.is_ascii_alphanumeric() || "._%+-'!#$&*/=?^`{|}~".contains(c) || is_latin(c);
        if !fits || at - (from + offset) > LOCAL {
            break;
        }
        start = from + offset;
    }
    // Remove characters that often precede an address and do not belong to it.
    let token = &text[start..at];
    let cut = token
        .rfind(['/', '=', '\'', '`', '{', '|', '}', '!', '#', '$', '&', '*', '?', '^', '~'])
        .map_or(0, |cut| cut + 1);
    let start = start + cut;
    let start = start + text[start..at].find(|c: char| c.is_alphanumeric() || c == '_').unwrap_or(at - start);
    let local = &text[start..at];
    let fits = !local.is_empty() && !local.ends_with(['.', '%']) && !local.contains("..");
    fits.then_some(start)
}

/// The end of the host that begins at `start`: labels separated by dots, the last one a top-level domain.
fn host(text: &str, start: usize) -> Option<usize> {
    let mut end = start;
    for c in text[start..].chars() {
        if !(c.is_ascii_alphanumeric() || c == '.' || c == '-' || is_latin(c)) || end - start > 253 {
            break;
        }
        end += c.len_utf8();
    }
    loop {
        end = start + text[start..end].trim_end_matches(['.', '-']).len();
        let host = &text[start..end];
        let (rest, last) = host.rsplit_once('.')?;
        let labels_fit = || {
            rest.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
                && rest.bytes().any(|byte| byte.is_ascii_alphabetic() || byte >= 0xC3 || !rest.contains('.'))
        };
        if is_top(last) && labels_fit() {
            return Some(end);
        }
        // `jo@example.com.Then`: the sentence continues without a space.
        end = start + rest.len();
    }
}

/// Whether a top-level domain is delegated, according to the public suffix list.
fn is_top(label: &str) -> bool {
    let plain = label.len() >= 2 && (label.bytes().all(|byte| byte.is_ascii_alphabetic()) || label.starts_with("xn--"));
    let lower = label.to_ascii_lowercase();
    plain && (public_suffix::has_known_suffix(&lower) || lower == "test")
}

/// Whether the text only looks like an address: `git@github.com:user/project`, the user of a URL, a package with its version.
fn is_other(bytes: &[u8], start: usize, at: usize, end: usize) -> bool {
    let before = |back: usize| start.checked_sub(back).map_or(b' ', |at| bytes[at]);
    let is_user = before(1) == b'/' && before(2) == b'/' || before(1) == b'@';
    let head = &bytes[start.saturating_sub(80)..start];
    let head = head.rsplit(u8::is_ascii_whitespace).next().unwrap_or(head);
    let is_password = before(1) == b':' && head.windows(2).any(|pair| pair == b"//");
    let next = |ahead: usize| bytes.get(end + ahead).copied().unwrap_or(b' ');
    let is_remote = next(0) == b':' && (next(1).is_ascii_alphanumeric() || matches!(next(1), b'/' | b'~' | b'.'));
    let is_git = &bytes[start..at] == b"git" && is_remote;
    is_user
        || is_password
        || is_git
        || is_remote && !next(1).is_ascii_digit() && next(1) != b'.' && has_slash(bytes, end)
}

/// Whether a path follows: `:user/project`.
fn has_slash(bytes: &[u8], end: usize) -> bool {
    bytes[end..].iter().take(60).take_while(|byte| !byte.is_ascii_whitespace()).any(|byte| *byte == b'/')
}

/// Finds spelled-out addresses: `jo (at) example (dot) org`, `jo [at] example.org`.
fn spelled(text: &str, bracket: usize, out: &mut Vec<Finding>) {
    let bytes = text.as_bytes();
    let close = if bytes[bracket] == b'(' { b')' } else { b']' };
    let is_at = bytes
        .get(bracket + 1..bracket + 4)
        .is_some_and(|word| word[..2].eq_ignore_ascii_case(b"at") && word[2] == close);
    if !is_at {
        return;
    }
    let at = text[..bracket].trim_end_matches(' ').len();
    let Some(start) = local(text, text[..at].rfind(char::is_whitespace).map_or(0, |space| space + 1), at) else {
        return;
    };
    let mut place = bracket + 4;
    let mut host = String::new();
    let mut found = None;
    while host.len() < 253 {
        place += spaces(bytes, place);
        let label = bytes[place..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').count();
        if label == 0 {
            break;
        }
        host.push_str(&text[place..place + label]);
        place += label;
        if self::host(&host, 0) == Some(host.len()) {
            found = Some(place);
        }
        let dot = place + spaces(bytes, place);
        let is_word = bytes.get(dot + 1..dot + 4).is_some_and(|word| word.eq_ignore_ascii_case(b"dot"));
        if bytes.get(place) == Some(&b'.') {
            place += 1;
        } else if is_word && matches!((bytes[dot], bytes.get(dot + 4)), (b'(', Some(b')')) | (b'[', Some(b']'))) {
            place = dot + 5;
        } else {
            break;
        }
        host.push('.');
    }
    if let Some(end) = found {
        out.push(Finding { start, end, rule: &SPELLED, context: None });
    }
}

/// Number of spaces that follow, at most two.
fn spaces(bytes: &[u8], at: usize) -> usize {
    bytes[at.min(bytes.len())..].iter().take(2).take_while(|byte| **byte == b' ').count()
}
