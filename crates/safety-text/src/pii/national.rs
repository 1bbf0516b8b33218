//! Numeric identity numbers: their forms, dates and check digits. A number with a distinctive form and a check needs no further
//! evidence. Plain digits need a word nearby, because a tenth of all numbers pass their check.

use super::alnum::{dni_letter, is_nino_prefix, resident_check};
use super::checksums::{ean_13, luhn, mod_11_10, number, verhoeff, weighted};
use super::context::Topic;
use super::digits::{Cluster, Near, Sep};
use super::{Finding, Kind, Rule};

const fn id(name: &'static str, checks: &'static str, score: f32) -> Rule {
    Rule { name, kind: Kind::Id, checks, score }
}

static SSN: Rule = Rule {
    name: "us-ssn",
    kind: Kind::Ssn,
    checks: "3-2-4 digits, area, group and serial that are issued",
    score: 0.7,
};
static SSN_PLAIN: Rule = Rule {
    name: "us-ssn-context",
    kind: Kind::Ssn,
    checks: "9 digits, area, group and serial that are issued",
    score: 0.3,
};
static ITIN: Rule =
    Rule { name: "us-itin", kind: Kind::Ssn, checks: "9xx-xx-xxxx with a group that is issued", score: 0.7 };
static NIR: Rule = id("fr-nir", "sex, month, key by 97", 0.8);
static STEUER: Rule = id("de-steuer-id", "11 digits, one repeated, ISO 7064 MOD 11,10", 0.5);
static BSN: Rule = id("nl-bsn", "9 digits, weighted sum by 11", 0.3);
static CPF: Rule = id("br-cpf", "11 digits, two check digits", 0.8);
static SIN: Rule = id("ca-sin", "9 digits, Luhn", 0.3);
static AADHAAR: Rule = id("in-aadhaar", "12 digits, Verhoeff", 0.3);
static PESEL: Rule = id("pl-pesel", "11 digits, date, check digit", 0.4);
static RESIDENT: Rule = id("cn-resident-id", "18 digits, date, check digit", 0.9);
static RRN: Rule = id("kr-rrn", "6-7 digits, date, check digit", 0.8);
static PERSONNUMMER: Rule = id("se-personnummer", "date, dash, 4 digits, Luhn", 0.8);
static HETU: Rule = id("fi-hetu", "date, century sign, 3 digits, check character", 0.9);
static CPR: Rule = id("dk-cpr", "date, dash, 4 digits", 0.3);
static FNR: Rule = id("no-fnr", "11 digits, date, two check digits", 0.8);
static BE: Rule = id("be-national-number", "date, check by 97", 0.8);
static AHV: Rule = id("ch-ahv", "756, check digit of EAN-13", 0.8);
static TCKN: Rule = id("tr-tckn", "11 digits, two check digits", 0.4);
static ZA: Rule = id("za-id", "13 digits, date, Luhn", 0.4);
static TFN: Rule = id("au-tfn", "9 digits, weighted sum by 11", 0.3);
static NIF: Rule = id("pt-nif", "9 digits, check digit", 0.3);
static MY_NUMBER: Rule = id("jp-my-number", "12 digits, check digit", 0.3);
static NHS: Rule = id("gb-nhs", "10 digits, check digit by 11", 0.3);
static NINO: Rule = id("gb-nino", "prefix that is issued, 6 digits in pairs, A to D", 0.7);
static DNI: Rule = id("es-dni", "8 digits, check letter", 0.7);

/// Whether month and day are possible, and the year if it is given.
pub(super) fn date(year: Option<&[u8]>, month: &[u8], day: &[u8]) -> bool {
    let fits = year.is_none_or(|year| (1900..=2100).contains(&number(year)));
    fits && (1..=12).contains(&number(month)) && (1..=31).contains(&number(day))
}

/// Finds an identity number at the start of the cluster.
pub(super) fn find<'a>(cluster: &Cluster, context: &impl Near<'a>) -> Option<Finding> {
    let forms: [fn(&Shape) -> Vec<Candidate>; 3] = [grouped, plain, with_letters];
    for count in (1..=cluster.count().min(7)).rev() {
        let digits = cluster.digits(count);
        if !(6..=18).contains(&digits.len()) {
            continue;
        }
        let shape = Shape { cluster, count, digits };
        for candidate in forms.into_iter().flat_map(|form| form(&shape)) {
            let Candidate { rule, end, start, topics, alone } = candidate;
            let near = context(cluster.end(count));
            let word = near.says_any(topics);
            if word.is_some() || alone && !near.is_thing(topics) {
                return Some(Finding { start, end, rule, context: word });
            }
        }
    }
    None
}

/// A number that passed its checks.
struct Candidate {
    rule: &'static Rule,
    start: usize,
    end: usize,
    /// Topics whose words support it.
    topics: &'static [Topic],
    /// Whether it is accepted without such a word.
    alone: bool,
}

struct Shape<'a> {
    cluster: &'a Cluster<'a>,
    count: usize,
    digits: &'a [u8],
}

impl Shape<'_> {
    fn is(&self, lengths: &[usize]) -> bool {
        self.count == lengths.len() && self.cluster.has_lengths(lengths)
    }

    fn all(&self, sep: Sep) -> bool {
        self.cluster.seps(self.count).iter().all(|found| *found == sep)
    }

    fn seps(&self, seps: &[Sep]) -> bool {
        self.cluster.seps(self.count) == seps
    }

    fn hit(&self, rule: &'static Rule, topics: &'static [Topic], alone: bool) -> Candidate {
        let (start, end) = (self.cluster.group(0).0, self.cluster.end(self.count));
        Candidate { rule, start, end, topics, alone }
    }
}

/// Numbers in groups: every kind of number whose form and check they satisfy.
fn grouped(shape: &Shape) -> Vec<Candidate> {
    let d = shape.digits;
    let mut all = Vec::new();
    if shape.count < 2 || !shape.cluster.ends(shape.count) {
        return all;
    }
    let (dashes, dots) = (shape.all(Sep::Dash), shape.all(Sep::Dot));
    let spaces = shape.all(Sep::Space) && !shape.cluster.goes_on(shape.count);
    let mut add = |fits: bool, rule, topics, alone| {
        if fits {
            all.push(shape.hit(rule, topics, alone));
        }
    };
    let lengths: Vec<usize> = shape.cluster.lengths(shape.count).collect();
    match lengths.as_slice() {
        [3, 2, 4] if dashes || spaces || dots => {
            add(is_itin(d), &ITIN, &[Topic::Ssn, Topic::Id], dashes);
            add(is_ssn(d), &SSN, &[Topic::Ssn, Topic::Id], dashes);
        }
        [3, 3, 3, 2] => {
            let form = shape.seps(&[Sep::Dot, Sep::Dot, Sep::Dash]);
            add(form && is_cpf(d), &CPF, &[Topic::Br, Topic::Id], true);
        }
        [1, 2, 2, 2, 3, 3, 2] | [13, 2] => add(spaces && is_nir(d), &NIR, &[Topic::Ssn, Topic::Id], true),
        [2, 3, 3, 3] => add(spaces && is_steuer(d), &STEUER, &[Topic::De, Topic::Id], true),
        [6, 7] => add(dashes && is_rrn(d), &RRN, &[Topic::Id], true),
        [6, 4] if dashes => {
            add(is_hetu_date(d) && hetu_check(&d[..9]) == d[9] + b'0', &HETU, &[Topic::Id], true);
            add(is_personnummer(d), &PERSONNUMMER, &[Topic::Id], true);
            add(date(None, &d[2..4], &d[..2]), &CPR, &[Topic::Dk, Topic::Id], false);
        }
        [8, 4] => {
            let is_dated = dashes && date(Some(&d[..4]), &d[4..6], &d[6..8]);
            add(is_dated && luhn(&d[2..]), &PERSONNUMMER, &[Topic::Id], true);
        }
        [6, 5] => add(spaces && is_fnr(d), &FNR, &[Topic::Id], true),
        [2, 2, 2, 3, 2] => {
            let form = shape.seps(&[Sep::Dot, Sep::Dot, Sep::Dash, Sep::Dot]);
            add(form && is_belgian(d), &BE, &[Topic::Id], true);
        }
        [3, 4, 4, 2] => add(dots && is_ahv(d), &AHV, &[Topic::Id], true),
        [4, 4, 4] if dashes || spaces => {
            add(d[0] > 1 && verhoeff(d), &AADHAAR, &[Topic::In, Topic::Id], false);
            add(is_my_number(d), &MY_NUMBER, &[Topic::Jp], false);
        }
        [3, 3, 4] => add((dashes || spaces) && is_nhs(d), &NHS, &[Topic::Gb], false),
        [3, 3, 3] | [4, 2, 3] if dashes || spaces || dots => all.extend(nine(shape)),
        _ => {}
    }
    all
}

/// Digits in one piece: every kind of number whose check they pass.
fn plain(shape: &Shape) -> Vec<Candidate> {
    let d = shape.digits;
    let mut all = Vec::new();
    if shape.count != 1 || !shape.cluster.ends(1) {
        return all;
    }
    let mut add = |fits: bool, rule, topics, alone| {
        if fits {
            all.push(shape.hit(rule, topics, alone));
        }
    };
    match d.len() {
        9 => {
            add(is_ssn(d), &SSN_PLAIN, &[Topic::Ssn], false);
            all.extend(nine(shape));
        }
        10 => {
            add(is_nhs(d), &NHS, &[Topic::Gb], false);
            add(is_personnummer(d), &PERSONNUMMER, &[Topic::Id], false);
            add(date(None, &d[2..4], &d[..2]), &CPR, &[Topic::Dk], false);
        }
        11 => {
            add(is_fnr(d), &FNR, &[Topic::Id], true);
            add(is_steuer(d), &STEUER, &[Topic::De, Topic::Id], false);
            add(is_cpf(d), &CPF, &[Topic::Br, Topic::Id], false);
            add(is_pesel(d), &PESEL, &[Topic::Pl, Topic::Id], false);
            add(is_tckn(d), &TCKN, &[Topic::Tr, Topic::Id], false);
            add(is_belgian(d), &BE, &[Topic::Id], false);
        }
        12 => {
            add(d[0] > 1 && verhoeff(d), &AADHAAR, &[Topic::In, Topic::Id], false);
            add(is_my_number(d), &MY_NUMBER, &[Topic::Jp], false);
            let is_long = date(Some(&d[..4]), &d[4..6], &d[6..8]) && luhn(&d[2..]);
            add(is_long, &PERSONNUMMER, &[Topic::Id], false);
        }
        13 => {
            add(is_ahv(d), &AHV, &[Topic::Id], true);
            add(date(None, &d[2..4], &d[4..6]) && luhn(d), &ZA, &[Topic::Za, Topic::Id], false);
        }
        15 => add(is_nir(d), &NIR, &[Topic::Ssn, Topic::Id], true),
        18 => {
            let is_dated = date(Some(&d[6..10]), &d[10..12], &d[12..14]);
            add(is_dated && resident_check(&d[..17]) == d[17] + b'0', &RESIDENT, &[Topic::Id], true);
        }
        _ => {}
    }
    all
}

/// Nine digits: every country whose check they pass. The word nearby decides.
fn nine(shape: &Shape) -> Vec<Candidate> {
    let d = shape.digits;
    let descending = [9, 8, 7, 6, 5, 4, 3, 2];
    let nif = (11 - weighted(d, &descending) % 11) % 11 % 10;
    let options: [(bool, &'static Rule, &'static [Topic]); 4] = [
        ((weighted(d, &descending) + 99 - u32::from(d[8])).is_multiple_of(11), &BSN, &[Topic::Nl, Topic::Id]),
        (luhn(d) && d[0] != 0, &SIN, &[Topic::Ca, Topic::Id]),
        (weighted(d, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11), &TFN, &[Topic::Au, Topic::Id]),
        (nif == u32::from(d[8]), &NIF, &[Topic::Pt]),
    ];
    options.into_iter().filter(|option| option.0).map(|(_, rule, topics)| shape.hit(rule, topics, false)).collect()
}

/// Digits with adjacent letters.
fn with_letters(shape: &Shape) -> Vec<Candidate> {
    let (text, d) = (shape.cluster.text, shape.digits);
    let bytes = text.as_bytes();
    let (start, end) = (shape.cluster.group(0).0, shape.cluster.end(shape.count));
    let next = |at: usize| bytes.get(end + at).copied().unwrap_or(b' ');
    let is_last = |at: usize| !next(at).is_ascii_alphanumeric() && next(at) != b'_';
    // 131052-308T
    if shape.is(&[6, 3]) && shape.all(Sep::Dash) && is_last(1) && is_hetu_date(d) && hetu_check(d) == next(0) {
        return vec![Candidate { rule: &HETU, start, end: end + 1, topics: &[Topic::Id], alone: true }];
    }
    // 12345678-Z, 12.345.678-Z
    let is_dni = shape.is(&[8]) || shape.is(&[2, 3, 3]) && shape.all(Sep::Dot);
    if is_dni && matches!(next(0), b'-' | b' ') && is_last(2) && dni_letter(d) == next(1) {
        return vec![Candidate { rule: &DNI, start, end: end + 2, topics: &[Topic::Id], alone: next(0) == b'-' }];
    }
    // AB 12 34 56 C
    let is_pairs = shape.is(&[2, 2, 2]) && shape.all(Sep::Space) && next(0) == b' ' && is_last(2);
    if is_pairs && (b'A'..=b'D').contains(&next(1)) && start > 2 && bytes[start - 1] == b' ' {
        let from = start - 3;
        let bounded = from == 0 || !bytes[from - 1].is_ascii_alphanumeric();
        if bounded && is_nino_prefix(bytes[from], bytes[from + 1]) {
            let topics = &[Topic::Gb, Topic::Id];
            return vec![Candidate { rule: &NINO, start: from, end: end + 2, topics, alone: true }];
        }
    }
    Vec::new()
}

/// Excludes numbers that were never issued (Social Security Administration).
fn is_ssn(d: &[u8]) -> bool {
    let (area, group, serial) = (number(&d[..3]), number(&d[3..5]), number(&d[5..]));
    area != 0 && area != 666 && area < 900 && group != 0 && serial != 0
}

fn is_itin(d: &[u8]) -> bool {
    d[0] == 9 && matches!(number(&d[3..5]), 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

fn is_nir(d: &[u8]) -> bool {
    let month = number(&d[3..5]);
    (d[0] == 1 || d[0] == 2)
        && (matches!(month, 1..=12 | 20 | 30..=42 | 50..))
        && 97 - number(&d[..13]) % 97 == number(&d[13..15])
}

fn is_steuer(d: &[u8]) -> bool {
    let mut counts = [0; 10];
    d[..10].iter().for_each(|&digit| counts[digit as usize] += 1);
    let repeated = counts.iter().filter(|&&count| count > 1).count();
    d[0] != 0 && repeated == 1 && counts.iter().all(|&count| count < 4) && mod_11_10(d)
}

fn is_cpf(d: &[u8]) -> bool {
    let check = |sum: u32| match sum * 10 % 11 {
        10 => 0,
        rest => rest,
    };
    d.iter().any(|&digit| digit != d[0])
        && check(weighted(&d[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2])) == u32::from(d[9])
        && check(weighted(&d[..10], &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2])) == u32::from(d[10])
}

fn is_pesel(d: &[u8]) -> bool {
    // For other centuries 20, 40, 60 or 80 is added to the month.
    let month = number(&d[2..4]) % 20;
    (1..=12).contains(&month)
        && (1..=31).contains(&number(&d[4..6]))
        && weighted(d, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

fn is_rrn(d: &[u8]) -> bool {
    let check = (11 - weighted(d, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10;
    // Numbers of foreigners use 13 in place of 11. Numbers issued since October 2020 have no check digit.
    let foreign = (check + 2) % 10;
    let is_recent = d[6] == 3 || d[6] == 4;
    date(None, &d[2..4], &d[4..6])
        && (1..=8).contains(&d[6])
        && (check == u32::from(d[12]) || foreign == u32::from(d[12]) || is_recent && number(&d[..2]) >= 20)
}

fn is_personnummer(d: &[u8]) -> bool {
    // Coordination numbers add 60 to the day.
    let day = number(&d[4..6]) % 60;
    (1..=12).contains(&number(&d[2..4])) && (1..=31).contains(&day) && luhn(d)
}

fn is_hetu_date(d: &[u8]) -> bool {
    date(None, &d[2..4], &d[..2]) && number(&d[6..9]) >= 2
}

/// The check character for nine digits.
fn hetu_check(d: &[u8]) -> u8 {
    b"0123456789ABCDEFHJKLMNPRSTUVWXY"[(number(&d[..9]) % 31) as usize]
}

fn is_fnr(d: &[u8]) -> bool {
    // D numbers add 40 to the day.
    let day = number(&d[..2]) % 40;
    let check = |sum: u32| (11 - sum % 11) % 11;
    (1..=31).contains(&day)
        && (1..=12).contains(&number(&d[2..4]))
        && check(weighted(&d[..9], &[3, 7, 6, 1, 8, 9, 4, 5, 2])) == u32::from(d[9])
        && check(weighted(&d[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2])) == u32::from(d[10])
}

fn is_belgian(d: &[u8]) -> bool {
    let (first, key) = (number(&d[..9]), number(&d[9..]));
    let fits = |number: u64| 97 - number % 97 == key;
    number(&d[2..4]) <= 12 && number(&d[4..6]) <= 31 && (fits(first) || fits(first + 2_000_000_000))
}

fn is_ahv(d: &[u8]) -> bool {
    d.starts_with(&[7, 5, 6]) && ean_13(d)
}

fn is_tckn(d: &[u8]) -> bool {
    let odd: i32 = [0, 2, 4, 6, 8].iter().map(|&at| i32::from(d[at])).sum();
    let even: i32 = [1, 3, 5, 7].iter().map(|&at| i32::from(d[at])).sum();
    let all: u32 = d[..10].iter().map(|&digit| u32::from(digit)).sum();
    d[0] != 0 && (odd * 7 - even).rem_euclid(10) == i32::from(d[9]) && all % 10 == u32::from(d[10])
}

fn is_my_number(d: &[u8]) -> bool {
    let rest = weighted(d, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11;
    u32::from(d[11]) == if rest <= 1 { 0 } else { 11 - rest }
}

fn is_nhs(d: &[u8]) -> bool {
    let check = 11 - weighted(d, &[10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11;
    check != 10 && check % 11 == u32::from(d[9])
}
