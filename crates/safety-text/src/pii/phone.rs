//! Telephone numbers: international ones by country code and length (ITU-T E.164), North American ones by their numbering plan,
//! others by their trunk prefix and grouping, and any number of a plausible length near a word such as `phone`.

use super::checksums::number;
use super::context::Topic;
use super::digits::{Cluster, Near, Sep, begins, space};
use super::{Finding, Kind, Rule};

const fn rule(name: &'static str, checks: &'static str, score: f32) -> Rule {
    Rule { name, kind: Kind::Phone, checks, score }
}

static INTERNATIONAL: Rule = rule("phone-international", "country code, length of its numbers", 0.8);
static NANP: Rule = rule("phone-nanp", "3-3-4 digits of the North American plan", 0.6);
static TRUNK: Rule = rule("phone-trunk", "trunk prefix 0, 9 to 12 digits in groups", 0.5);
static AREA: Rule = rule("phone-area", "area code in brackets, 8 to 11 digits", 0.5);
static CONTEXT: Rule = rule("phone-context", "7 to 15 digits", 0.4);

/// Finds a telephone number at the start of the cluster.
pub(super) fn find<'a>(cluster: &Cluster, context: &impl Near<'a>) -> Option<Finding> {
    let forms: [fn(&Cluster) -> Option<Candidate>; 4] = [international, nanp, area, trunk];
    let near = |candidate: &Candidate| {
        let near = context(candidate.end);
        let word = near.says(Topic::Phone);
        let is_plus = candidate.start < cluster.group(0).0 && cluster.text.as_bytes()[candidate.start] == b'+';
        let alone = candidate.alone && (is_plus || !near.is_thing(&[Topic::Phone]));
        (word.is_some() || alone).then_some(word)
    };
    let found = forms.iter().find_map(|form| {
        let candidate = form(cluster)?;
        let word = near(&candidate)?;
        Some((candidate, word))
    });
    let (candidate, context) = found.or_else(|| {
        let candidate = any(cluster)?;
        let is_nearest = context(candidate.end).is_nearest(Topic::Phone, &[Topic::Card, Topic::Ssn]);
        let word = near(&candidate).filter(|_| is_nearest)?;
        Some((candidate, word))
    })?;
    let end = extension(cluster.text, candidate.end);
    Some(Finding { start: candidate.start, end, rule: candidate.rule, context })
}

struct Candidate {
    rule: &'static Rule,
    start: usize,
    end: usize,
    /// Whether it is accepted without a word nearby.
    alone: bool,
}

/// Whether the number ends after `count` groups, or an extension follows.
fn ends(cluster: &Cluster, count: usize) -> bool {
    cluster.ends(count) || extension(cluster.text, cluster.end(count)) > cluster.end(count)
}

/// The start of the number including a bracket or plus before its first digit; whether there is a plus; whether there is a
/// bracket.
fn opening(cluster: &Cluster) -> (usize, bool, bool) {
    let bytes = cluster.text.as_bytes();
    let mut start = cluster.group(0).0;
    let before = |at: usize| at.checked_sub(1).map_or(b' ', |at| bytes[at]);
    let bracket = before(start) == b'(';
    start -= usize::from(bracket);
    // A plus after a digit or a bracket is an arithmetic operator.
    let sum = |at: usize| before(at).is_ascii_alphanumeric() || matches!(before(at), b')' | b'_' | b'+');
    let plus = before(start) == b'+' && !sum(start - 1);
    (start - usize::from(plus), plus, bracket)
}

/// International form: +49 30 1234567, +44 (0)20 7946 0000, 0033 1 23 45 67 89
fn international(cluster: &Cluster) -> Option<Candidate> {
    let (start, plus, _) = opening(cluster);
    let all = cluster.digits(cluster.count());
    let zeros = if plus { 0 } else { 2 };
    let is_dialled = all.starts_with(&[0, 0]) && all.get(2).is_some_and(|&digit| digit != 0);
    if !plus && !is_dialled {
        return None;
    }
    let (code, shortest, longest) = country(&all[zeros..])?;
    for count in (1..=cluster.count()).rev() {
        let digits = cluster.digits(count);
        if digits.len() < zeros + code + shortest || !ends(cluster, count) {
            continue;
        }
        // The trunk prefix, which is dialled within the country only: `(0)`, or a 0 after the country code.
        let rest = &digits[zeros + code..];
        let national = rest.len() - usize::from(rest[0] == 0 && rest.len() > shortest);
        if !(shortest..=longest).contains(&national) || is_calendar(cluster, count) {
            continue;
        }
        // The number has at least the shortest length of its country, so a plus before it is hardly a sum.
        return Some(Candidate { rule: &INTERNATIONAL, start, end: cluster.end(count), alone: plus || count > 2 });
    }
    None
}

/// North American numbering plan: (212) 555-0142, 212-555-0142, 1.212.555.0142
fn nanp(cluster: &Cluster) -> Option<Candidate> {
    let (start, _, bracket) = opening(cluster);
    let one = usize::from(cluster.has_lengths(&[1]) && cluster.digits(1) == [1] && cluster.count() > 3);
    let lengths: &[usize] = if one == 1 { &[1, 3, 3, 4] } else { &[3, 3, 4] };
    let is_code = |digits: &[u8]| digits[0] >= 2 && digits[1..3] != [1, 1];
    if !cluster.has_lengths(lengths) {
        // (212) 5550142
        let short: &[usize] = &[3, 7];
        let digits = cluster.digits(2.min(cluster.count()));
        let fits = bracket && cluster.has_lengths(short) && is_code(digits) && digits[3] >= 2;
        return (fits && ends(cluster, 2)).then(|| Candidate { rule: &NANP, start, end: cluster.end(2), alone: true });
    }
    let count = lengths.len();
    let digits = &cluster.digits(count)[one..];
    let seps = &cluster.seps(count)[one..];
    let form = match seps {
        [Sep::Dash, Sep::Dash] | [Sep::Dot, Sep::Dot] => true,
        [Sep::Bracket, Sep::Dash | Sep::Space | Sep::Dot] => true,
        [Sep::Space, Sep::Dash] => true,
        [Sep::Space, Sep::Space] => !cluster.goes_on(count) && !is_behind_number(cluster),
        _ => false,
    };
    let fits = form && ends(cluster, count) && is_code(digits) && is_code(&digits[3..]);
    fits.then(|| Candidate { rule: &NANP, start, end: cluster.end(count), alone: true })
}

/// Area code in brackets: (011) 4321-5678, (11) 91234-5678, (01234) 567890
fn area(cluster: &Cluster) -> Option<Candidate> {
    let (start, plus, bracket) = opening(cluster);
    if plus || !bracket || cluster.count() < 2 || cluster.seps(2) != [Sep::Bracket] {
        return None;
    }
    let count = (2..=cluster.count().min(5)).rev().find(|&count| {
        let total = cluster.digits(count).len();
        let first = cluster.lengths(1).next().unwrap_or_default();
        let seps = &cluster.seps(count)[1..];
        (8..=12).contains(&total)
            && (2..=5).contains(&first)
            && seps.iter().all(|sep| matches!(sep, Sep::Space | Sep::Dash | Sep::Dot) && *sep == seps[0])
            && ends(cluster, count)
    })?;
    let first = cluster.lengths(1).next().unwrap_or_default();
    // `(2020) 123456` is a year. Brackets around other things are common, so the code must have a trunk prefix or two digits.
    let alone = cluster.digits(1)[0] == 0 || first == 2;
    Some(Candidate { rule: &AREA, start, end: cluster.end(count), alone })
}

/// With trunk prefix: 01 23 45 67 89, 020 7946 0000, 030/1234567, 06-12345678
fn trunk(cluster: &Cluster) -> Option<Candidate> {
    let (start, plus, _) = opening(cluster);
    let all = cluster.digits(cluster.count());
    if plus || all[0] != 0 || all.len() < 2 || all[1] == 0 {
        return None;
    }
    for count in (2..=cluster.count().min(6)).rev() {
        let digits = cluster.digits(count);
        let first = cluster.lengths(1).next().unwrap_or_default();
        let seps = cluster.seps(count);
        let changes = seps.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let fits = (9..=12).contains(&digits.len())
            && (2..=6).contains(&first)
            && changes < 2
            && ends(cluster, count)
            && !cluster.goes_on(count)
            && !is_calendar(cluster, count)
            && !has_ssn_form(cluster, count);
        if fits {
            // Dots between pairs occur in French numbers; between other groups they occur in versions and file names.
            let pairs = cluster.lengths(count).all(|length| length == 2) && count == 5;
            let dotted = seps.contains(&Sep::Dot) && !pairs;
            let alone = !dotted && !is_behind_number(cluster) && cluster.lengths(count).all(|length| length > 1);
            return Some(Candidate { rule: &TRUNK, start, end: cluster.end(count), alone });
        }
    }
    None
}

/// Any number of a plausible length; it requires a word nearby.
fn any(cluster: &Cluster) -> Option<Candidate> {
    let (start, ..) = opening(cluster);
    let count = (1..=cluster.count().min(7)).rev().find(|&count| {
        let total = cluster.digits(count).len();
        let wide = cluster.seps(count).iter().filter(|sep| **sep == Sep::Wide).count();
        (7..=15).contains(&total)
            && (count == 1 || total >= 7 && cluster.lengths(count).any(|length| length >= 3) || total >= 9)
            && wide < 2
            && (count == 1 || !cluster.goes_on(count))
            && ends(cluster, count)
            && !is_calendar(cluster, count)
            && !(count > 1 && cluster.seps(count).contains(&Sep::Dot) && cluster.digits(count).len() < 9)
            && !mixes_dots(cluster, count)
            && !is_arithmetic(cluster, count)
            && !has_ssn_form(cluster, count)
    })?;
    Some(Candidate { rule: &CONTEXT, start, end: cluster.end(count), alone: false })
}

/// Whether the groups are a fraction or a difference (`2400 / 200`, `1000/200`), or an equals sign follows. An area code before
/// a slash begins with 0.
fn is_arithmetic(cluster: &Cluster, count: usize) -> bool {
    let is_fraction = matches!(cluster.seps(count), [Sep::Slash | Sep::Wide]) && cluster.digits(1)[0] != 0;
    let behind = cluster.text[cluster.end(count)..].trim_start_matches(' ');
    is_fraction || behind.starts_with('=')
}

/// Whether the separators after the first are dots and others: these are two numbers.
fn mixes_dots(cluster: &Cluster, count: usize) -> bool {
    let seps = cluster.seps(count).get(1..).unwrap_or_default();
    seps.contains(&Sep::Dot) && seps.iter().any(|sep| *sep != Sep::Dot)
}

/// Three, two and four digits with dashes: the form of social security numbers, including those that are not issued.
fn has_ssn_form(cluster: &Cluster, count: usize) -> bool {
    count == 3 && cluster.has_lengths(&[3, 2, 4]) && cluster.seps(3) == [Sep::Dash, Sep::Dash]
}

/// Whether the groups contain a date: 2024-01-31, 31.01.2024, 20240131.
fn is_calendar(cluster: &Cluster, count: usize) -> bool {
    let value = |at: usize| {
        let (start, end) = cluster.group(at);
        cluster.text[start..end].parse::<u64>().unwrap_or(u64::MAX)
    };
    let length = |at: usize| cluster.group(at).1 - cluster.group(at).0;
    let year = |at: usize| length(at) == 4 && (1800..=2100).contains(&value(at));
    let small = |at: usize, most: u64| length(at) <= 2 && (1..=most).contains(&value(at));
    let at = |from: usize| {
        if from + 3 > count {
            return false;
        }
        let (a, b, c) = (from, from + 1, from + 2);
        year(a) && small(b, 12) && small(c, 31) || year(c) && small(a, 31) && small(b, 31)
    };
    let joined = |at: usize| {
        let (start, end) = cluster.group(at);
        end - start == 8 && count <= 2 && {
            let digits: Vec<u8> = cluster.text.as_bytes()[start..end].iter().map(|byte| byte - b'0').collect();
            super::national::date(Some(&digits[..4]), &digits[4..6], &digits[6..8])
        }
    };
    (0..2).any(at) || joined(0) || count == 2 && year(0) && year(1)
}

/// Whether another number and a space precede: a table, not a telephone number.
fn is_behind_number(cluster: &Cluster) -> bool {
    let bytes = cluster.text.as_bytes();
    let start = cluster.group(0).0;
    start >= 2 && bytes[start - 1] == b' ' && bytes[start - 2].is_ascii_digit()
}

/// The end of an extension after a number: `x123`, ` ext. 123`; `end` if there is none.
fn extension(text: &str, end: usize) -> usize {
    let rest = &text.as_bytes()[end..];
    let mut spaces = usize::from(rest.first() == Some(&b','));
    spaces += space(&rest[spaces..]);
    let behind = &rest[spaces..];
    let word = [&b"extension"[..], b"ext.", b"ext", b"x.", b"x", b"#"]
        .iter()
        .find(|mark| behind.len() > mark.len() && behind[..mark.len()].eq_ignore_ascii_case(mark))
        .map_or(0, |mark| mark.len());
    let mark = if word == 0 { 0 } else { word + space(&behind[word..]) };
    let digits = behind[mark..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let ended = !behind.get(mark + digits).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if mark > 0 && (1..=6).contains(&digits) && ended { end + spaces + mark + digits } else { end }
}

/// Whether the token at `start` is digits with an extension: `4567x12`.
pub(super) fn has_extension(bytes: &[u8], start: usize) -> bool {
    let digits = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let next = |at: usize| bytes.get(start + digits + at).copied().unwrap_or(b' ');
    begins(bytes, start) && matches!(next(0), b'x' | b'X' | b'e') && (next(1).is_ascii_digit() || next(1) == b'x')
}

/// The length of a country code, and the minimal and maximal number of digits of its national numbers.
fn country(digits: &[u8]) -> Option<(usize, usize, usize)> {
    let first = |count: usize| if digits.len() < count { 0 } else { number(&digits[..count]) };
    let (one, two, three) = (first(1), first(2), first(3));
    let of = |length, least, most| Some((length, least, most));
    match (one, two) {
        (1, _) => of(1, 10, 10),
        (7, _) => of(1, 10, 10),
        (_, 20 | 27) => of(2, 8, 10),
        (_, 30) => of(2, 10, 10),
        (_, 31 | 33 | 34 | 36 | 47 | 48) => of(2, 8, 9),
        (_, 32) => of(2, 8, 9),
        (_, 39) => of(2, 6, 11),
        (_, 40 | 41) => of(2, 9, 9),
        (_, 43) => of(2, 6, 13),
        (_, 44) => of(2, 9, 10),
        (_, 45) => of(2, 8, 8),
        (_, 46) => of(2, 7, 10),
        (_, 49) => of(2, 6, 12),
        (_, 51..=58) => of(2, 8, 11),
        (_, 60..=66) => of(2, 7, 12),
        (_, 81 | 82) => of(2, 8, 11),
        (_, 84 | 86) => of(2, 9, 11),
        (_, 90..=92) => of(2, 9, 11),
        (_, 93 | 94 | 95 | 98) => of(2, 8, 10),
        // Three digits: Africa, Europe, Asia, the Pacific. 210, 214, 215, 217, 219, 259, 28x and others are not assigned.
        _ => match three {
            211..=213 | 216 | 218 | 220..=258 | 260..=269 | 290 | 291 | 297..=299 => of(3, 6, 10),
            350..=359 | 370..=383 | 385..=387 | 389 | 420 | 421 | 423 => of(3, 5, 12),
            500..=509 | 590..=599 | 670..=692 => of(3, 5, 10),
            850 | 852 | 853 | 855 | 856 | 880 | 886 | 960..=968 | 970..=977 | 992..=996 | 998 => of(3, 7, 11),
            _ => None,
        },
    }
}
