//! Account and identity numbers that contain letters.

use super::checksums::{mod_97, number, weighted};
use super::context::{Context, Topic};
use super::national::date;
use super::{Finding, Kind, Rule};

static IBAN: Rule =
    Rule { name: "iban", kind: Kind::Iban, checks: "length of the country, remainder 1 by 97", score: 0.95 };

const fn id(name: &'static str, checks: &'static str, score: f32) -> Rule {
    Rule { name, kind: Kind::Id, checks, score }
}

static CODICE_FISCALE: Rule = id("it-codice-fiscale", "16 characters, month, check letter", 0.9);
static DNI: Rule = id("es-dni", "8 digits, check letter", 0.7);
static NIE: Rule = id("es-nie", "X, Y or Z, 7 digits, check letter", 0.7);
static NRIC: Rule = id("sg-nric", "S, T, F or G, 7 digits, check letter", 0.7);
static CURP: Rule = id("mx-curp", "18 characters, date, check digit", 0.9);
static PAN: Rule = id("in-pan", "5 letters, 4 digits, a letter", 0.3);
static NINO: Rule = id("gb-nino", "prefix that is issued, 6 digits, A to D", 0.3);
static PPS: Rule = id("ie-pps", "7 digits, check letter", 0.3);
static RESIDENT: Rule = id("cn-resident-id", "18 characters, date, check character", 0.9);

/// Lengths of IBANs by country (SWIFT's registry, release 99).
const LENGTHS: &[(&[u8], usize)] = &[
    (b"NO", 15),
    (b"BE", 16),
    (b"DKFIFKFOGLNLSD", 18),
    (b"MKSI", 19),
    (b"ATBAEEKZLTLUMNXK", 20),
    (b"CHHRLILV", 21),
    (b"BGBHCRDEGBGEIEMERSVA", 22),
    (b"AEGIILIQOMSOTL", 23),
    (b"ADCZESMDPKROSASESKTNVG", 24),
    (b"LYPTST", 25),
    (b"ISTR", 26),
    (b"BIDJFRGRITMCMRSM", 27),
    (b"ALAZBYCYDOGTHNHULBNIPLSV", 28),
    (b"BREGPSQAUA", 29),
    (b"JOKWMUYE", 30),
    (b"MTSC", 31),
    (b"LC", 32),
    (b"RU", 33),
];

/// A run of ASCII letters and digits, as byte offsets in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token {
    pub start: usize,
    pub end: usize,
    letters: bool,
}

impl Token {
    pub fn has_letters(self) -> bool {
        self.letters
    }
}

/// The token that contains the byte `at`.
pub(super) fn token(bytes: &[u8], at: usize) -> Token {
    let mut token = Token { start: at, end: at, letters: false };
    while token.start > 0 && bytes[token.start - 1].is_ascii_alphanumeric() {
        token.start -= 1;
        token.letters |= bytes[token.start].is_ascii_alphabetic();
    }
    while token.end < bytes.len() && bytes[token.end].is_ascii_alphanumeric() {
        token.letters |= bytes[token.end].is_ascii_alphabetic();
        token.end += 1;
    }
    token
}

/// The number that the token is, or that begins with it.
pub(super) fn find(text: &str, token: Token) -> Option<Finding> {
    let bytes = text.as_bytes();
    let before = |back: usize| token.start.checked_sub(back).map_or(b' ', |at| bytes[at]);
    let length = token.end - token.start;
    if length > 34 || before(1) == b'_' || before(1) == b'-' && before(2).is_ascii_alphanumeric() {
        return None;
    }
    let word = &bytes[token.start..token.end];
    let found = |end: usize, rule: &'static Rule, context: Option<&'static str>| {
        Some(Finding { start: token.start, end, rule, context })
    };
    if let Some(end) = iban(bytes, token) {
        return found(end, &IBAN, None);
    }
    let follows = bytes.get(token.end).copied().unwrap_or(b' ');
    if follows == b'_' || follows == b'-' && bytes.get(token.end + 1).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let near = std::cell::OnceCell::new();
    let context =
        |topics: &[Topic]| near.get_or_init(|| Context::around(text, token.start, token.end)).says_any(topics);
    let strong = match length {
        16 if is_codice_fiscale(word) => &CODICE_FISCALE,
        9 if is_dni(word) => &DNI,
        9 if is_nie(word) => &NIE,
        9 if is_nric(word) => &NRIC,
        18 if is_curp(word) => &CURP,
        18 if is_resident(word) => &RESIDENT,
        10 if is_pan(word) => return found(token.end, &PAN, Some(context(&[Topic::In, Topic::Id])?)),
        9 if is_nino(word) => return found(token.end, &NINO, Some(context(&[Topic::Gb, Topic::Id])?)),
        8 | 9 if is_pps(word) => return found(token.end, &PPS, Some(context(&[Topic::Ie, Topic::Id])?)),
        _ => return None,
    };
    let is_thing = Context::around(text, token.start, token.end).is_thing(&[Topic::Id]);
    if is_thing && strong.score < 0.9 { None } else { found(token.end, strong, context(&[Topic::Id])) }
}

/// The end of the IBAN that begins with the token: in one piece, or in groups with single spaces or dashes.
fn iban(bytes: &[u8], token: Token) -> Option<usize> {
    let word = &bytes[token.start..token.end];
    let [a, b, c, d, ..] = word else { return None };
    let is_start = a.is_ascii_alphabetic() && b.is_ascii_alphabetic() && c.is_ascii_digit() && d.is_ascii_digit();
    if !is_start || a.is_ascii_uppercase() != b.is_ascii_uppercase() {
        return None;
    }
    let country = [a.to_ascii_uppercase(), b.to_ascii_uppercase()];
    let length = LENGTHS.iter().find(|(countries, _)| countries.chunks(2).any(|known| known == country))?.1;
    let mut account = [0u8; 34];
    let (mut count, mut at) = (0, token.start);
    while count < length {
        let byte = *bytes.get(at)?;
        let is_fitting =
            byte.is_ascii_digit() || byte.is_ascii_alphabetic() && byte.is_ascii_uppercase() == a.is_ascii_uppercase();
        if is_fitting {
            account[count] = byte;
            count += 1;
        } else if !(matches!(byte, b' ' | b'-' | b'.') && at > token.start + 1 && bytes[at - 1].is_ascii_alphanumeric())
        {
            return None;
        }
        at += 1;
    }
    if bytes.get(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_') {
        return None;
    }
    (mod_97(account[4..length].iter().chain(&account[..4]).copied()) == 1).then_some(at)
}

/// The digit values of a part; `None` if it contains other characters.
fn values(part: &[u8]) -> Option<Vec<u8>> {
    part.iter().map(|byte| byte.is_ascii_digit().then(|| byte - b'0')).collect()
}

fn letters(part: &[u8]) -> bool {
    part.iter().all(u8::is_ascii_uppercase)
}

/// Italian tax code (Decreto ministeriale 23/12/1976): table values for characters at odd positions, alphabet order at even
/// ones, sum modulo 26.
fn is_codice_fiscale(word: &[u8]) -> bool {
    const ODD: [u8; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let upper: Vec<u8> = word.to_ascii_uppercase();
    // People who would have the same code get letters in place of digits.
    let digit = |byte: u8| byte.is_ascii_digit() || b"LMNPQRSTUV".contains(&byte);
    let form = letters(&upper[..6])
        && [6, 7, 9, 10, 12, 13, 14].iter().all(|&at| digit(upper[at]))
        && b"ABCDEHLMPRST".contains(&upper[8])
        && upper[11].is_ascii_uppercase()
        && upper[15].is_ascii_uppercase()
        && word.iter().any(u8::is_ascii_digit);
    let value = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte - b'A' };
    form && {
        let sum: u32 = upper[..15]
            .iter()
            .enumerate()
            .map(|(at, &byte)| u32::from(if at % 2 == 0 { ODD[value(byte) as usize] } else { value(byte) }))
            .sum();
        (sum % 26) as u8 == upper[15] - b'A'
    }
}

/// The check letter of Spanish identity numbers.
pub(super) fn dni_letter(digits: &[u8]) -> u8 {
    b"TRWAGMYFPDXBNJZSQVHLCKE"[(number(digits) % 23) as usize]
}

fn is_dni(word: &[u8]) -> bool {
    values(&word[..8]).is_some_and(|digits| dni_letter(&digits) == word[8].to_ascii_uppercase())
}

fn is_nie(word: &[u8]) -> bool {
    let Some(first) = b"XYZ".iter().position(|&letter| letter == word[0].to_ascii_uppercase()) else { return false };
    values(&word[1..8]).is_some_and(|digits| {
        let digits = [&[first as u8], &digits[..]].concat();
        dni_letter(&digits) == word[8].to_ascii_uppercase()
    })
}

fn is_nric(word: &[u8]) -> bool {
    let Some(digits) = values(&word[1..8]) else { return false };
    let sum = weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (table, more) = match word[0] {
        b'S' => (b"JZIHGFEDCBA", 0),
        b'T' => (b"JZIHGFEDCBA", 4),
        b'F' => (b"XWUTRQPNMLK", 0),
        b'G' => (b"XWUTRQPNMLK", 4),
        _ => return false,
    };
    table[((sum + more) % 11) as usize] == word[8]
}

fn is_curp(word: &[u8]) -> bool {
    let form = letters(&word[..4]) && b"HMX".contains(&word[10]) && letters(&word[11..16]) && word[17].is_ascii_digit();
    let Some(digits) = values(&word[4..10]).filter(|_| form) else { return false };
    // The Spanish alphabet has Ñ after N.
    let value = |byte: u8| match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        b'A'..=b'N' => u32::from(byte - b'A') + 10,
        _ => u32::from(byte - b'A') + 11,
    };
    let sum: u32 = word[..17].iter().zip((2..=18).rev()).map(|(&byte, weight)| value(byte) * weight).sum();
    date(None, &digits[2..4], &digits[4..6]) && (10 - sum % 10) % 10 == u32::from(word[17] - b'0')
}

fn is_pan(word: &[u8]) -> bool {
    letters(&word[..5]) && b"ABCFGHJKLPT".contains(&word[3]) && values(&word[5..9]).is_some() && letters(&word[9..])
}

/// Prefixes that are not issued (HM Revenue & Customs, NIM39110).
pub(super) fn is_nino_prefix(a: u8, b: u8) -> bool {
    a.is_ascii_uppercase()
        && b.is_ascii_uppercase()
        && !b"DFIQUV".contains(&a)
        && !b"DFIOQUV".contains(&b)
        && ![*b"BG", *b"GB", *b"KN", *b"NK", *b"NT", *b"TN", *b"ZZ"].contains(&[a, b])
}

fn is_nino(word: &[u8]) -> bool {
    is_nino_prefix(word[0], word[1]) && values(&word[2..8]).is_some() && (b'A'..=b'D').contains(&word[8])
}

fn is_pps(word: &[u8]) -> bool {
    let Some(digits) = values(&word[..7]) else { return false };
    let second = word.get(8).map_or(0, |&byte| if byte == b'W' { 0 } else { u32::from(byte.wrapping_sub(b'A')) + 1 });
    let rest = (weighted(&digits, &[8, 7, 6, 5, 4, 3, 2]) + 9 * (second % 256)) % 23;
    letters(&word[7..]) && word[7] == if rest == 0 { b'W' } else { b'A' + rest as u8 - 1 }
}

/// Chinese resident identity number (GB 11643-1999): ISO 7064 MOD 11-2 over 17 digits.
pub(super) fn resident_check(digits: &[u8]) -> u8 {
    b"10X98765432"[(weighted(digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]) % 11) as usize]
}

fn is_resident(word: &[u8]) -> bool {
    values(&word[..17]).is_some_and(|digits| {
        resident_check(&digits) == word[17].to_ascii_uppercase()
            && date(Some(&digits[6..10]), &digits[10..12], &digits[12..14])
    })
}
