//! Rewrites other spellings as formulas before parsing: program notation (`0x1F`, `math.sqrt(2)`), scale words
//! (`5 million`, `1.2万`) and number words (`twenty-five`, `百分之二十五`).

use std::borrow::Cow;
use std::sync::LazyLock;

use num_bigint::BigInt;
use regex::{Captures, Regex};
use text2num::{Language, text2digits};

use crate::pattern::pattern;

/// Maximum length of a text that is rewritten, in bytes.
const MAX_BYTES: usize = 400;

/// The text with such spellings rewritten; the text itself if it has none.
pub(super) fn respelled(text: &str) -> Cow<'_, str> {
    if text.len() > MAX_BYTES || !text.bytes().any(|b| b.is_ascii_alphabetic() || b >= 0x80) {
        return Cow::Borrowed(text);
    }
    if !text.bytes().any(|b| b.is_ascii_digit())
        && let Some(number) = spoken(text)
    {
        return Cow::Owned(number);
    }
    let mut out = Cow::Borrowed(text);
    if has(&out, "0x") || has(&out, "0b") || has(&out, "0o") || has(&out, "0X") {
        replace(&mut out, &LITERAL, literal);
    }
    if has(&out, "math.")
        || has(&out, "Math.")
        || has(&out, "np.")
        || has(&out, "numpy.")
        || has(&out, "sp.")
        || has(&out, "sympy.")
        || has(&out, "torch.")
    {
        replace(&mut out, &MODULE, |c| format!("{}{}", &c[1], &c[2]));
    }
    if has(&out, "Rational(") || has(&out, "Fraction(") {
        replace(&mut out, &FRACTION, |c| format!("(({})/({}))", &c[1], &c[2]));
    }
    if has(&out, "pow(") {
        replace(&mut out, &POWER, |c| format!("(({})^({}))", &c[1], &c[2]));
    }
    if has(&out, "and/or") {
        out = Cow::Owned(out.replace("and/or", "or"));
    }
    if SCALE_STEM.is_match(&out) {
        replace(&mut out, &SCALED, scaled);
    }
    if out.contains(|c: char| CHINESE_DIGITS.contains(c))
        && let Some(number) = chinese(&out)
    {
        return Cow::Owned(number);
    }
    out
}

fn has(text: &str, part: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()
}

fn replace(text: &mut Cow<'_, str>, regex: &Regex, with: impl Fn(&Captures<'_>) -> String) {
    if regex.is_match(text) {
        *text = Cow::Owned(regex.replace_all(text, |c: &Captures<'_>| with(c)).into_owned());
    }
}

static LITERAL: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(^|[^\w.\\])0(?:[xX]([0-9a-fA-F]{1,64})|[bB]([01]{1,200})|[oO]([0-7]{1,100}))\b"));

/// A hexadecimal, binary or octal literal (`0x1F`, `0b101`, `0o17`) as a decimal number.
fn literal(c: &Captures<'_>) -> String {
    let (digits, base) = match (c.get(2), c.get(3), c.get(4)) {
        (Some(hex), ..) => (hex.as_str(), 16),
        (_, Some(binary), _) => (binary.as_str(), 2),
        (_, _, Some(octal)) => (octal.as_str(), 8),
        _ => ("", 10),
    };
    match BigInt::parse_bytes(digits.as_bytes(), base) {
        Some(value) => format!("{}{value}", &c[1]),
        None => c[0].to_owned(),
    }
}

static MODULE: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(^|[^\w.])(?:math|cmath|Math|np|numpy|sp|sympy|torch|scipy|mpmath)\.([A-Za-z])"));
static FRACTION: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"\b(?:Rational|Fraction)\(\s*([-+]?\d+)\s*,\s*([-+]?\d+)\s*\)"));
static POWER: LazyLock<Regex> = LazyLock::new(|| pattern(r"\bpow\(([^(),]{1,40}),([^(),]{1,40})\)"));

/// Words that multiply the number before them by a power of ten, as regular expressions with the exponent: English,
/// German, French, Spanish, Italian, Portuguese, Polish, Russian, Hindi.
const SCALES: &[(&str, u32)] = &[
    ("hundred", 2),
    ("thousand", 3),
    ("millions?", 6),
    ("billions?", 9),
    ("trillions?", 12),
    ("lakhs?", 5),
    ("crores?", 7),
    ("tausend", 3),
    ("millionen", 6),
    ("mio", 6),
    ("milliarden?", 9),
    ("mrd", 9),
    ("milliards?", 9),
    ("mille", 3),
    ("mil", 3),
    ("mill[oó]n(?:es)?", 6),
    ("milhão", 6),
    ("milhões", 6),
    ("milion[ie]", 6),
    ("miliard[io]", 9),
    ("milion(?:y|ów)?", 6),
    ("tysi[ąę]c[ye]?", 3),
    ("tys", 3),
    ("mln", 6),
    ("mld", 9),
    ("тысяч[аи]?", 3),
    ("тыс", 3),
    ("миллион(?:а|ов)?", 6),
    ("млн", 6),
    ("миллиард(?:а|ов)?", 9),
    ("млрд", 9),
    ("लाख", 5),
    ("करोड़", 7),
    ("हज़ार", 3),
];
/// The same for scripts without spaces between words: Chinese, Japanese, Korean, Thai.
const SIGNS: &[(&str, u32)] = &[
    ("万亿", 12),
    ("百万", 6),
    ("千万", 7),
    ("百萬", 6),
    ("千萬", 7),
    ("万", 4),
    ("萬", 4),
    ("亿", 8),
    ("億", 8),
    ("兆", 12),
    ("십만", 5),
    ("백만", 6),
    ("천만", 7),
    ("만", 4),
    ("십억", 9),
    ("백억", 10),
    ("천억", 11),
    ("억", 8),
    ("천", 3),
    ("ล้าน", 6),
    ("พัน", 3),
    ("หมื่น", 4),
    ("แสน", 5),
];

static SCALED: LazyLock<Regex> = LazyLock::new(|| {
    let words: Vec<&str> = SCALES.iter().map(|s| s.0).collect();
    let signs = signs();
    // The first alternative is a number of several parts, such as `1亿2000万`; its first part alone would match too.
    pattern(&format!(
        r"(?i)(?P<parts>\d[\d,.]*(?:{signs})(?:(?:\s?\d+(?:{signs}))+(?:\d+)?|\d+))|(?P<digits>\d[\d,.]*)(?P<gap>(?:\s|~|\\[ ,;]|-)*(?:\\(?:text|mathrm|mbox|textbf)\{{\s*)?)(?:(?P<word>{})\b\.?|(?P<sign>{signs}))",
        words.join("|"),
    ))
});

/// The alternatives of [`SIGNS`] as a pattern.
fn signs() -> String {
    let signs: Vec<&str> = SIGNS.iter().map(|s| s.0).collect();
    signs.join("|")
}

/// A part of a number of several parts, and its sign if it has one.
static PART: LazyLock<Regex> = LazyLock::new(|| pattern(&format!(r"(\d[\d,.]*)({})?", signs())));

/// The sum of the parts of a number such as `1亿2000万`. `None` without a certain reading: if a part is not below the unit before it, or
/// if a last single digit may stand for the next lower unit (`3万5`).
fn sum_of_parts(text: &str) -> Option<String> {
    let mut sum = BigInt::ZERO;
    let mut before = u32::MAX;
    for part in PART.captures_iter(text) {
        let power = match part.get(2) {
            Some(sign) => SIGNS.iter().find(|s| s.0 == sign.as_str())?.1,
            None if part[1].len() < 2 => return None,
            None => 0,
        };
        let value: BigInt = shifted(&part[1], power)?.parse().ok()?;
        if before != u32::MAX && value >= BigInt::from(10).pow(before) {
            return None;
        }
        sum += value;
        before = power;
    }
    Some(sum.to_string())
}

/// Matches any scale word: a cheap test before [`SCALED`].
static SCALE_STEM: LazyLock<Regex> = LazyLock::new(|| {
    let all: Vec<&str> = SCALES.iter().chain(SIGNS).map(|s| s.0).collect();
    pattern(&format!("(?i)(?:{})", all.join("|")))
});

/// A number with a scale word as digits: `2.5 thousand` as `2500`.
fn scaled(c: &Captures<'_>) -> String {
    if let Some(parts) = c.name("parts") {
        return sum_of_parts(parts.as_str()).unwrap_or_else(|| c[0].to_owned());
    }
    let word = c.name("word").map_or("", |m| m.as_str()).to_lowercase();
    let sign = c.name("sign").map_or("", |m| m.as_str());
    static EXACT: LazyLock<Vec<(Regex, u32)>> =
        LazyLock::new(|| SCALES.iter().map(|(w, p)| (pattern(&format!("^(?:{w})$")), *p)).collect());
    let power = if word.is_empty() {
        SIGNS.iter().find(|s| s.0 == sign).map(|s| s.1)
    } else {
        EXACT.iter().find(|(w, _)| w.is_match(&word)).map(|s| s.1)
    };
    match power.and_then(|p| shifted(&c["digits"], p)) {
        // Drop the separator, but keep a font command before the scale word, because its closing brace follows later.
        Some(number) => format!("{number}{}", if c["gap"].contains('{') { &c["gap"] } else { "" }),
        None => c[0].to_owned(),
    }
}

/// The number `digits` times `10^power`, as text; `None` if its separators have no certain reading.
fn shifted(digits: &str, power: u32) -> Option<String> {
    let digits = digits.trim_end_matches([',', '.']);
    // A single comma is a decimal comma unless exactly three digits follow; other commas separate thousands.
    let plain = match (digits.matches(',').count(), digits.matches('.').count()) {
        (0, 0 | 1) => digits.to_owned(),
        (1, 0) if digits.split(',').next_back().is_some_and(|g| g.len() != 3) => digits.replace(',', "."),
        (_, 0) => digits.replace(',', ""),
        (commas, points) => {
            let (comma, point) = (digits.rfind(',')?, digits.find('.')?);
            let grouped = || digits[..comma].split('.').skip(1).all(|group| group.len() == 3);
            if points == 1 && comma < point {
                digits.replace(',', "")
            } else if commas == 1 && grouped() {
                // `1.234,5`: a decimal comma after points that separate thousands.
                digits.replace('.', "").replace(',', ".")
            } else {
                return None;
            }
        }
    };
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let places = usize::try_from(power).ok()?;
    let mut out = String::from(whole);
    if fraction.len() <= places {
        out.push_str(fraction);
        out.push_str(&"0".repeat(places - fraction.len()));
    } else {
        out.push_str(&fraction[..places]);
        out.push('.');
        out.push_str(&fraction[places..]);
    }
    let trimmed = out.trim_start_matches('0');
    Some(if trimmed.is_empty() || trimmed.starts_with('.') { format!("0{trimmed}") } else { trimmed.to_owned() })
}

/// English words for denominators.
const PARTS: [(&str, u32); 18] = [
    ("half", 2),
    ("halves", 2),
    ("third", 3),
    ("thirds", 3),
    ("quarter", 4),
    ("quarters", 4),
    ("fourth", 4),
    ("fourths", 4),
    ("fifth", 5),
    ("fifths", 5),
    ("sixth", 6),
    ("sixths", 6),
    ("seventh", 7),
    ("sevenths", 7),
    ("eighth", 8),
    ("eighths", 8),
    ("tenth", 10),
    ("tenths", 10),
];

/// Number words as digits, if the text is only a number, in English perhaps with a noun of one or two words:
/// `twenty-five`, `two thirds`, `minus seven`, `vingt et un`, `fünfundzwanzig`, `twelve apples`.
fn spoken(text: &str) -> Option<String> {
    static ENGLISH: LazyLock<Language> = LazyLock::new(Language::english);
    static OTHERS: LazyLock<[Language; 6]> = LazyLock::new(|| {
        [
            Language::german(),
            Language::french(),
            Language::spanish(),
            Language::italian(),
            Language::portugese(),
            Language::dutch(),
        ]
    });
    let trimmed = text.trim().trim_end_matches('.');
    let words: Vec<String> = trimmed.split_whitespace().map(str::to_lowercase).collect();
    let letters = trimmed.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '-' | '\''));
    if words.is_empty() || words.len() > 12 || !letters || trimmed.chars().count() < 3 {
        return None;
    }
    let (sign, words) = match &*words[0] {
        "minus" | "negative" => ("-", &words[1..]),
        _ => ("", &words[..]),
    };
    let digits = |words: &[String], language: &Language| {
        text2digits(&words.join(" "), language).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()))
    };
    // Take the longest prefix that is an English number.
    for length in (1..=words.len()).rev() {
        let Some(number) = digits(&words[..length], &ENGLISH) else { continue };
        let rest = &words[length..];
        let part = |w: &String| PARTS.iter().find(|p| p.0 == w.as_str()).map(|p| p.1);
        return match rest {
            [] => Some(format!("{sign}{number}")),
            [word, ..] if part(word).is_some() => {
                let fraction = format!("{sign}{number}/{}", part(word)?);
                (rest.len() == 1).then_some(fraction)
            }
            // A noun of one or two words; "one of them" and "two or three" are not counts.
            [first, ..] if rest.len() <= 2 && number != "1" && !["of", "or", "and", "to", "by"].contains(&&**first) => {
                Some(format!("{sign}{number} {}", rest.join(" ")))
            }
            _ => None,
        };
    }
    // Numbers of other languages that are English words with another meaning are not read.
    if matches!(
        &*words[0],
        "second" | "seconds" | "once" | "due" | "sole" | "cent" | "cents" | "elf" | "mil" | "mille" | "sei"
    ) {
        return None;
    }
    let mut found = OTHERS.iter().filter_map(|language| digits(words, language));
    let number = found.next()?;
    // If two languages read different numbers, there is no number.
    found.all(|other| other == number).then(|| format!("{sign}{number}"))
}

const CHINESE_DIGITS: &str = "零〇一二两兩三四五六七八九十百千";

/// A Chinese or Japanese number as digits, perhaps with a measure word, which is kept: `二十五`, `三分之二`,
/// `百分之二十五`, `负三`, `三点五`, `十二个`.
fn chinese(text: &str) -> Option<String> {
    const MEASURES: [&str; 34] = [
        "", "个", "個", "元", "米", "厘米", "千米", "公里", "岁", "人", "只", "本", "张", "天", "年", "个月", "小时",
        "分钟", "秒", "次", "种", "条", "块", "千克", "公斤", "克", "吨", "升", "度", "名", "位", "支", "棵", "辆",
    ];
    let text = text.trim().trim_end_matches(['。', '.']);
    let (sign, body) = match text.strip_prefix('负').or_else(|| text.strip_prefix('負')) {
        Some(rest) => ("-", rest),
        None => ("", text),
    };
    if let Some(percent) = body.strip_prefix("百分之") {
        return Some(format!("{sign}{}%", chinese_value(percent, false)?));
    }
    if let Some((below, above)) = body.split_once("分之") {
        return Some(format!("{sign}{}/{}", chinese_value(above, false)?, chinese_value(below, false)?));
    }
    MEASURES.iter().find_map(|measure| {
        let number = chinese_value(body.strip_suffix(measure)?, measure.is_empty())?;
        Some(if measure.is_empty() { format!("{sign}{number}") } else { format!("{sign}{number} {measure}") })
    })
}

/// The value of Chinese numerals without sign and measure word, as decimal digits. A number that stands `alone` may leave
/// out its last unit: `一百五` is 150, `一万五` is 15000, but `一百零五` is 105.
fn chinese_value(text: &str, alone: bool) -> Option<String> {
    let (whole, decimals) = text.split_once('点').map_or((text, None), |(w, d)| (w, Some(d)));
    let digit = |c: char| match c {
        '零' | '〇' => Some(0_u64),
        '一' => Some(1),
        '二' | '两' | '兩' => Some(2),
        '三' => Some(3),
        '四' => Some(4),
        '五' => Some(5),
        '六' => Some(6),
        '七' => Some(7),
        '八' => Some(8),
        '九' => Some(9),
        _ => None,
    };
    if whole.is_empty() || whole.chars().count() > 20 {
        return None;
    }
    const MYRIAD: u64 = 10_000;
    const YI: u64 = 100_000_000;
    let positional = whole.chars().count() > 1 && whole.chars().all(|c| digit(c).is_some());
    let value = if positional {
        let digits: String = whole.chars().filter_map(digit).map(|d| d.to_string()).collect();
        digits.parse().ok()?
    } else {
        // The parts that 亿 and 万 multiply, the digits and units after them, and a digit without a unit yet.
        let (mut yi, mut myriads, mut section, mut pending): (u64, u64, u64, Option<u64>) = (0, 0, 0, None);
        // The unit before the current character, if no zero is between them; whether that holds for 亿 and the section.
        let (mut unit_before, mut yi_before) = (None, false);
        // The smallest unit of the section.
        let mut least = MYRIAD;
        for (place, c) in whole.chars().enumerate() {
            if let Some(d) = digit(c) {
                if pending.is_some_and(|p| p != 0) {
                    return None;
                }
                pending = Some(d);
                if d == 0 {
                    (unit_before, yi_before) = (None, false);
                }
                continue;
            }
            let unit = match c {
                '十' => 10,
                '百' => 100,
                '千' => 1_000,
                '万' | '萬' => MYRIAD,
                '亿' | '億' => YI,
                _ => return None,
            };
            unit_before = Some(unit);
            if unit < MYRIAD {
                if unit >= least {
                    return None;
                }
                least = unit;
                // `十五`, `一千零十`: one ten.
                section += pending.take().filter(|d| *d != 0).unwrap_or(1) * unit;
                continue;
            }
            let multiplied = section + pending.take().unwrap_or(0) + if unit == YI { myriads } else { 0 };
            let multiplied = if place == 0 { 1 } else { multiplied };
            let repeated = yi != 0 && unit == YI || myriads != 0 && unit == MYRIAD;
            if repeated || multiplied == 0 {
                return None;
            }
            (section, least, yi_before) = (0, MYRIAD, unit == YI);
            if unit == YI {
                (yi, myriads) = (multiplied.checked_mul(YI)?, 0);
            } else {
                myriads = multiplied * MYRIAD;
            }
        }
        // `一亿二千` is 120 million in speech.
        if yi_before && section >= 1_000 {
            return None;
        }
        let last = pending.unwrap_or(0);
        let last = match unit_before {
            Some(unit) if unit > 10 && last != 0 => {
                // `百五` is 105 in Japanese.
                let certain = alone && decimals.is_none() && whole.starts_with(|c| digit(c).is_some());
                certain.then_some(last * (unit / 10))?
            }
            _ => last,
        };
        yi.checked_add(myriads + section + last)?
    };
    match decimals {
        None => Some(value.to_string()),
        Some(d) if !d.is_empty() => {
            let digits: Option<String> = d.chars().map(|c| digit(c).map(|d| d.to_string())).collect();
            Some(format!("{value}.{}", digits?))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::respelled;

    #[test]
    fn spellings_become_formulas() {
        for (text, formula) in [
            ("0x1F", "31"),
            ("-0x1f", "-31"),
            ("0b101", "5"),
            ("0o17", "15"),
            ("math.sqrt(2)", "sqrt(2)"),
            ("np.pi/2", "pi/2"),
            ("Rational(1, 2)", "((1)/(2))"),
            ("pow(2, 10)", "((2)^( 10))"),
            ("5 million", "5000000"),
            ("5 million dollars", "5000000 dollars"),
            ("2.5 thousand", "2500"),
            ("1,5 Millionen", "1500000"),
            ("1,234 thousand", "1234000"),
            ("1.234,5 Millionen", "1234500000"),
            ("1.234.567,5 Tausend", "1234567500"),
            ("1,234.5 million", "1234500000"),
            ("5\\text{ million}", "5000000\\text{ }"),
            ("1.2万", "12000"),
            ("3亿", "300000000"),
            ("1亿2000万", "120000000"),
            ("3억 5천만", "350000000"),
            ("1.2亿3000万", "150000000"),
            ("5万3000", "53000"),
            ("2 crore", "20000000"),
            ("3 млн", "3000000"),
            ("twenty-five", "25"),
            ("Twelve", "12"),
            ("minus seven", "-7"),
            ("two thirds", "2/3"),
            ("one half", "1/2"),
            ("twelve apples", "12 apples"),
            ("fünfundzwanzig", "25"),
            ("vingt et un", "21"),
            ("veinticinco", "25"),
            ("二十五", "25"),
            ("百分之二十五", "25%"),
            ("三分之二", "2/3"),
            ("负三", "-3"),
            ("三点一四", "3.14"),
            ("一百零五", "105"),
            ("二〇二四", "2024"),
            ("一万两千", "12000"),
            ("十二个", "12 个"),
            ("一亿二千万", "120000000"),
            ("三万亿", "3000000000000"),
            ("一万亿零二千万", "1000020000000"),
            ("一百五十亿三千万", "15030000000"),
            ("万五千", "15000"),
            ("一百五", "150"),
            ("二千三", "2300"),
            ("一万五", "15000"),
            ("一万二千三", "12300"),
            ("两亿五", "250000000"),
            ("一万零五", "10005"),
            ("一千零十五", "1015"),
            ("一百五十个", "150 个"),
        ] {
            assert_eq!(respelled(text), formula, "{text}");
        }
        for text in
            ["5", "x", "0x + 3", "10x", "one of them", "two or three", "a cat", "三角形", "一样", "5 miles", "mice"]
        {
            assert_eq!(respelled(text), text);
        }
        // Without a certain reading.
        for text in [
            "百五",
            "一百五个",
            "一百五点二",
            "一亿二千",
            "一百二百",
            "一万二万",
            "一亿二亿",
            "12.34,5 million",
            "1,2.3,4 million",
            "3万5",
            "2万3亿",
            "2万20000",
        ] {
            assert_eq!(respelled(text), text);
        }
    }
}
