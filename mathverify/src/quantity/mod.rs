//! Physical quantities and money, converted to base units: `90 km/h`, `2 h 30 min`, `1 kg m/s^2`, `25 °C`, `$3.50`.
//!
//! A text is read as a quantity only if it consists entirely of numbers and known units; `parse` reads all other texts.
//! Unit symbols are case-sensitive (`mg` is not `Mg`), unit names are not.

mod table;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use crate::ast::Expr;
use crate::rational::{Rat, int, ratio, ten_to};
pub(crate) use table::Base;
use table::{MISCASED, PREFIXES, ROWS, Row};

/// Maximum length of a quantity, in bytes.
const MAX_BYTES: usize = 120;

/// A unit or a product of units: its factor to base units, its dimension (exponent of each base) and its offset.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    pub factor: Rat,
    pub dimension: BTreeMap<Base, i32>,
    /// Added to a value before the multiplication by `factor`; not zero only for °C and °F.
    pub offset: Rat,
}

impl Unit {
    fn one() -> Self {
        Self { factor: int(1), dimension: BTreeMap::new(), offset: int(0) }
    }

    /// The unit of a row of the table with the prefix `10^power`.
    fn of(row: &Row, power: i32) -> Self {
        let scale = if power >= 0 {
            Rat::from_integer(ten_to(power.unsigned_abs()))
        } else {
            int(1) / Rat::from_integer(ten_to(power.unsigned_abs()))
        };
        Self {
            factor: ratio(row.factor.0, row.factor.1) * scale,
            dimension: row.dimension.iter().map(|(b, e)| (*b, i32::from(*e))).collect(),
            offset: int(0),
        }
    }

    /// `self * other^exponent`; `None` if a unit with an offset would be part of a product.
    fn times(mut self, other: &Unit, exponent: i32) -> Option<Self> {
        let plain = |u: &Unit| u.offset == int(0);
        // A unit with an offset may stand alone, but not in a product.
        if !plain(&self) || (!plain(other) && (exponent != 1 || !self.dimension.is_empty() || self.factor != int(1))) {
            return None;
        }
        self.offset = other.offset.clone();
        for _ in 0..exponent.unsigned_abs() {
            if exponent > 0 {
                self.factor *= &other.factor;
            } else {
                self.factor /= &other.factor;
            }
        }
        for (base, e) in &other.dimension {
            let sum = self.dimension.entry(*base).or_default();
            *sum += e * exponent;
            if *sum == 0 {
                self.dimension.remove(base);
            }
        }
        Some(self)
    }

    /// Converts a value in this unit to base units.
    pub(crate) fn in_base(&self, value: &Expr) -> Expr {
        let shifted = if self.offset == int(0) {
            value.clone()
        } else {
            Expr::Add(vec![value.clone(), Expr::rat(self.offset.clone())])
        };
        Expr::Mul(vec![shifted, Expr::rat(self.factor.clone())])
    }
}

/// The units by symbol, and the units by name.
static NAMED: LazyLock<(HashMap<String, Unit>, HashMap<String, Unit>)> = LazyLock::new(|| {
    let (mut symbols, mut names) = (HashMap::new(), HashMap::new());
    // Prefixed units first, so that plain units override them: `min` is a minute, `cd` a candela, `ft` a foot.
    for row in ROWS.iter().filter(|r| r.prefixed) {
        for (symbol, name, power) in PREFIXES {
            let unit = Unit::of(row, *power);
            if !symbol.is_empty() {
                // Bytes have prefixes only from kilo on: `dB` is a decibel, not a tenth of a byte.
                let none = |s: &str| matches!(s, "sec" | "secs") || (s == "B" && *power < 3);
                for s in row.symbols.iter().filter(|s| !none(s)) {
                    symbols.insert(format!("{symbol}{s}"), unit.clone());
                }
            }
            for n in row.names.iter().filter(|n| n.is_ascii()) {
                names.insert(format!("{name}{n}"), unit.clone());
            }
        }
    }
    for row in ROWS {
        for s in row.symbols {
            symbols.insert((*s).to_owned(), Unit::of(row, 0));
        }
        for n in row.names {
            names.insert((*n).to_owned(), Unit::of(row, 0));
        }
    }
    for (wrong, right) in MISCASED {
        if let Some(unit) = symbols.get(*right).cloned() {
            symbols.entry((*wrong).to_owned()).or_insert(unit);
        }
    }
    let kelvin = BTreeMap::from([(Base::Kelvin, 1)]);
    let celsius = Unit { factor: int(1), dimension: kelvin.clone(), offset: ratio(27_315, 100) };
    let fahrenheit = Unit { factor: ratio(5, 9), dimension: kelvin, offset: ratio(45_967, 100) };
    for (symbol, name, unit) in [("°C", "celsius", celsius), ("°F", "fahrenheit", fahrenheit)] {
        symbols.insert(symbol.to_owned(), unit.clone());
        names.insert(name.to_owned(), unit.clone());
        names.insert(format!("degree {name}"), unit.clone());
        names.insert(format!("degrees {name}"), unit);
    }
    (symbols, names)
});

/// The unit of a symbol or a name, singular or plural.
fn named(word: &str) -> Option<Unit> {
    let (symbols, names) = &*NAMED;
    if let Some(unit) = symbols.get(word) {
        return Some(unit.clone());
    }
    if word.chars().count() < 3 && word.is_ascii() {
        return None;
    }
    let lower = word.to_lowercase();
    names.get(&lower).or_else(|| names.get(lower.strip_suffix('s')?)).cloned()
}

/// A token of a quantity.
#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Number(String),
    Word(String),
    Power(i32),
    Times,
    Over,
    Open,
    Close,
}

/// Reads a text that is only a unit, without a number.
pub(crate) fn unit(text: &str) -> Option<Unit> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let pieces = pieces(&plain(text))?;
    let mut reader = Reader { pieces: &pieces, at: 0 };
    let unit = reader.unit()?;
    (reader.at == pieces.len()).then_some(unit)
}

/// A quantity: its value in base units, and its dimension.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantity {
    pub value: Expr,
    pub dimension: BTreeMap<Base, i32>,
}

/// Reads a text that is a number with a unit, or a compound of up to four (`2 h 30 min`); `None` for any other text.
pub(crate) fn read(text: &str) -> Option<Quantity> {
    let text = text.trim().trim_end_matches(['.', '。']);
    let digits = text.bytes().any(|b| b.is_ascii_digit());
    if text.len() > MAX_BYTES || !digits || text.bytes().all(|b| b.is_ascii_digit() || b".,-/ ".contains(&b)) {
        return None;
    }
    let plain = plain(text);
    let (negative, body) = match plain.strip_prefix(['-', '−']) {
        Some(rest) => (true, rest.trim_start()),
        None => (false, &*plain),
    };
    let pieces = pieces(body)?;
    let mut reader = Reader { pieces: &pieces, at: 0 };
    let mut terms: Vec<(Expr, Unit)> = Vec::new();
    while reader.at < pieces.len() {
        // `and` between the parts of a compound.
        if !terms.is_empty() && matches!(reader.peek(), Some(Piece::Word(w)) if w == "and") {
            reader.at += 1;
        }
        // $3.50: the currency comes first.
        let currency = match reader.peek() {
            Some(Piece::Word(w)) if terms.is_empty() => {
                let unit = named(w).filter(money)?;
                reader.at += 1;
                Some(unit)
            }
            _ => None,
        };
        let negative_inside = matches!(reader.peek(), Some(Piece::Number(n)) if n.starts_with('-'));
        let Some(Piece::Number(number)) = reader.next() else { return None };
        let value = number_value(number.trim_start_matches('-'))?;
        let value = if negative_inside { Expr::Neg(Box::new(value)) } else { value };
        let unit = match currency {
            // `$5 USD` names the currency twice; `$5 profit` is no quantity.
            Some(unit) if matches!(reader.peek(), Some(Piece::Word(w)) if w != "and") => {
                reader.unit().filter(|other| *other == unit)?
            }
            Some(unit) => unit,
            None => reader.unit()?,
        };
        terms.push((value, unit));
        if terms.len() > 4 {
            return None;
        }
    }
    let first = terms.first()?.1.clone();
    if first.dimension.is_empty() {
        return None;
    }
    // The units of a compound get smaller: 5 ft 3 in, 2 h 30 min.
    let smaller = terms.windows(2).all(|w| w[0].1.factor > w[1].1.factor && w[0].1.dimension == w[1].1.dimension);
    let offsets = terms.len() > 1 && terms.iter().any(|t| t.1.offset != int(0));
    if !smaller || offsets {
        return None;
    }
    let mut values: Vec<Expr> =
        terms.iter().map(|(v, u)| u.in_base(&if negative { negated(v) } else { v.clone() })).collect();
    let value = if values.len() == 1 { values.remove(0) } else { Expr::Add(values) };
    Some(Quantity { value, dimension: first.dimension })
}

fn negated(e: &Expr) -> Expr {
    Expr::Neg(Box::new(e.clone()))
}

/// Whether a unit is a power of one currency.
fn money(unit: &Unit) -> bool {
    unit.dimension.len() == 1
        && unit
            .dimension
            .keys()
            .all(|b| matches!(b, Base::Dollar | Base::Euro | Base::Pound | Base::Rupee | Base::Yuan | Base::Yen))
}

/// Parses the number of a quantity: digits with separators, a fraction, a power of ten.
fn number_value(text: &str) -> Option<Expr> {
    crate::parse::parse(text).ok().filter(|e| !e.any(&|e| matches!(e, Expr::Sym(_) | Expr::Text(_) | Expr::List(_))))
}

/// A position in the tokens of a quantity.
struct Reader<'a> {
    pieces: &'a [Piece],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<&'a Piece> {
        self.pieces.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Piece> {
        self.at += 1;
        self.pieces.get(self.at - 1)
    }

    /// A product of units with exponents. All units after a slash or "per" are in the denominator.
    fn unit(&mut self) -> Option<Unit> {
        let mut unit = Unit::one();
        let mut below = false;
        let mut any = false;
        loop {
            match self.peek() {
                Some(Piece::Times) if any => self.at += 1,
                Some(Piece::Over) if any => {
                    self.at += 1;
                    below = true;
                    if self.peek() == Some(&Piece::Open) {
                        self.at += 1;
                        let inner = self.unit()?;
                        if self.next() != Some(&Piece::Close) {
                            return None;
                        }
                        unit = unit.times(&inner, -1)?;
                    }
                    continue;
                }
                // The next part of a compound: 2 hours and 30 minutes.
                Some(Piece::Word(w)) if any && w == "and" => return Some(unit),
                Some(Piece::Word(_)) => {
                    let (one, exponent) = self.factor()?;
                    unit = unit.times(&one, if below { -exponent } else { exponent })?;
                    any = true;
                }
                _ => return any.then_some(unit),
            }
        }
    }

    /// A unit and its exponent: `m^2`, `square meters`, `meters squared`, `fluid ounces`.
    fn factor(&mut self) -> Option<(Unit, i32)> {
        let Some(Piece::Word(word)) = self.next() else { return None };
        let before = match &*word.to_lowercase() {
            "square" | "sq" | "平方" => Some(2),
            "cubic" | "cu" | "立方" => Some(3),
            _ => None,
        };
        if let Some(exponent) = before {
            let Some(Piece::Word(next)) = self.next() else { return None };
            return named(next).map(|u| (u, exponent));
        }
        // Names of two words: `fluid ounces`.
        let pair = match self.peek() {
            Some(Piece::Word(next)) if word.len() > 3 => named(&format!("{word} {next}")),
            _ => None,
        };
        let unit = match pair {
            Some(unit) => {
                self.at += 1;
                unit
            }
            None => named(word)?,
        };
        match self.peek() {
            Some(Piece::Power(e)) => {
                let e = *e;
                self.at += 1;
                Some((unit, e))
            }
            Some(Piece::Word(w)) if w == "squared" || w == "cubed" => {
                let e = if w == "squared" { 2 } else { 3 };
                self.at += 1;
                Some((unit, e))
            }
            _ => Some((unit, 1)),
        }
    }
}

/// The text without font commands, and with LaTeX commands and variants of characters as plain characters.
fn plain(text: &str) -> String {
    let mut out = text.replace("\\left", "").replace("\\right", "");
    for (from, to) in [
        ("^{\\circ}", "°"),
        ("^\\circ", "°"),
        ("{}^", "^"),
        ("\\degree", "°"),
        ("\\circ", "°"),
        ("\\cdot", "*"),
        ("\\times", "×"),
        ("\\mu", "µ"),
        ("\\Omega", "Ω"),
        ("\\,", " "),
        ("\\;", " "),
        ("\\:", " "),
        ("\\ ", " "),
        ("\\!", ""),
        ("\\$", "$"),
        ("{,}", ","),
        ("℃", "°C"),
        ("℉", "°F"),
        ("º", "°"),
        ("μ", "µ"),
        ("~", " "),
    ] {
        if out.contains(from) {
            out = out.replace(from, to);
        }
    }
    for command in ["\\textbf", "\\textrm", "\\text", "\\mathrm", "\\mathbf", "\\mbox", "\\rm", "\\operatorname"] {
        if out.contains(command) {
            out = out.replace(command, " ");
        }
    }
    out.replace("° ", "°").trim().to_owned()
}

/// Splits a quantity into tokens; `None` if it contains any other character.
fn pieces(text: &str) -> Option<Vec<Piece>> {
    // Dollars around the whole text are math delimiters.
    let text = text.strip_prefix('$').and_then(|t| t.strip_suffix('$')).unwrap_or(text).trim();
    let chars: Vec<char> = text.chars().filter(|c| !matches!(c, '{' | '}')).collect();
    let mut out: Vec<Piece> = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        match c {
            c if c.is_whitespace() => at += 1,
            '0'..='9' => {
                let start = at;
                while at < chars.len() && number_goes_on(&chars, at) {
                    at += 1;
                }
                let number: String = chars[start..at].iter().collect();
                let power = scientific(&chars, &mut at);
                let sign = matches!(out.last(), Some(Piece::Word(_))) && start > 0 && chars[start - 1] == '-';
                let sign = if sign { "-" } else { "" };
                out.push(Piece::Number(format!("{sign}{number}{power}")));
            }
            '-' if chars.get(at + 1).is_some_and(char::is_ascii_digit) && matches!(out[..], [Piece::Word(_)]) => {
                at += 1
            }
            '^' => {
                at += 1;
                let negative = matches!(chars.get(at), Some('-' | '−'));
                at += usize::from(negative);
                let e = chars.get(at)?.to_digit(10)?;
                at += 1;
                let e = i32::try_from(e).ok()?;
                out.push(Piece::Power(if negative { -e } else { e }));
            }
            '²' | '³' | '¹' => {
                at += 1;
                out.push(Piece::Power(match c {
                    '²' => 2,
                    '³' => 3,
                    _ => 1,
                }));
            }
            '⁻' => {
                let e = match chars.get(at + 1)? {
                    '¹' => 1,
                    '²' => 2,
                    '³' => 3,
                    _ => return None,
                };
                at += 2;
                out.push(Piece::Power(-e));
            }
            '*' | '·' | '⋅' | '×' => {
                at += 1;
                out.push(Piece::Times);
            }
            '-' if matches!(out.last(), Some(Piece::Number(_))) => at += 1,
            '/' => {
                at += 1;
                out.push(Piece::Over);
            }
            '(' => {
                at += 1;
                out.push(Piece::Open);
            }
            ')' => {
                at += 1;
                out.push(Piece::Close);
            }
            ',' if matches!(out.last(), Some(Piece::Word(_))) => at += 1,
            '$' | '€' | '£' | '¥' | '￥' | '₹' | '¢' | '元' => {
                at += 1;
                out.push(Piece::Word(c.to_string()));
            }
            '平' | '立' if chars.get(at + 1) == Some(&'方') => {
                out.push(Piece::Word(chars[at..at + 2].iter().collect()));
                at += 2;
            }
            c if c.is_alphabetic() || matches!(c, '°' | '″') => {
                let start = at;
                at += 1;
                while chars.get(at).is_some_and(|c| {
                    c.is_alphabetic() || *c == '.' && chars.get(at + 1).is_none_or(|n| n.is_whitespace())
                }) {
                    at += 1;
                }
                let word: String = chars[start..at].iter().filter(|c| **c != '.').collect();
                out.push(if word == "per" { Piece::Over } else { Piece::Word(word) });
            }
            _ => return None,
        }
    }
    Some(out)
}

/// Whether the character at `at` continues the number before it.
fn number_goes_on(chars: &[char], at: usize) -> bool {
    let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
    match chars[at] {
        '0'..='9' => true,
        ',' | '.' => digit(at + 1),
        // `1/2 mile`, `2 1/2 hours`; a space also separates groups of three digits.
        '/' => at > 0 && digit(at - 1) && digit(at + 1),
        ' ' => {
            let next = (at + 1..chars.len()).take_while(|i| digit(*i)).count();
            (next == 3 || (next > 0 && chars.get(at + 1 + next) == Some(&'/'))) && digit(at - 1)
        }
        _ => false,
    }
}

/// Reads `× 10^8` after a number, and returns it in the form `parse` accepts; empty if there is none.
fn scientific(chars: &[char], at: &mut usize) -> String {
    let mut i = *at;
    let skip = |i: &mut usize| {
        while chars.get(*i).is_some_and(|c| c.is_whitespace()) {
            *i += 1;
        }
    };
    skip(&mut i);
    if !matches!(chars.get(i), Some('×' | '*' | '·' | 'x')) {
        return String::new();
    }
    i += 1;
    skip(&mut i);
    if chars.get(i..i + 3) != Some(&['1', '0', '^'][..]) {
        return String::new();
    }
    i += 3;
    let start = i;
    i += usize::from(matches!(chars.get(i), Some('-' | '−')));
    let digits = i;
    while chars.get(i).is_some_and(char::is_ascii_digit) && i < digits + 3 {
        i += 1;
    }
    if i == digits {
        return String::new();
    }
    *at = i;
    let exponent: String = chars[start..i].iter().collect();
    format!(" × 10^{{{exponent}}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::exact::exact;

    fn value(text: &str) -> Option<(Rat, BTreeMap<Base, i32>)> {
        let q = read(text)?;
        Some((exact(&q.value)?, q.dimension))
    }

    #[test]
    fn equal_quantities() {
        for (a, b) in [
            ("90 km/h", "25 m/s"),
            ("90 kilometers per hour", "25 \\text{ m/s}"),
            ("2 h 30 min", "150 min"),
            ("2 hours and 30 minutes", "9000 s"),
            ("5 ft 3 in", "63 inches"),
            ("1 N", "1 kg m/s^2"),
            ("1 N", "1\\ \\mathrm{kg \\cdot m \\cdot s^{-2}}"),
            ("1 kWh", "3.6 MJ"),
            ("1 J", "1 N·m"),
            ("1 L", "1000 cm^3"),
            ("1 dm³", "1 L"),
            ("3 m^3", "3000 liters"),
            ("25 °C", "298.15 K"),
            ("212 °F", "100 degrees Celsius"),
            ("$3.50", "350 cents"),
            ("3 dollars 50 cents", "$3.50"),
            ("1.5 \\times 10^{3} \\text{ m}", "1.5 km"),
            ("1 square meter", "10000 cm^2"),
            ("1 acre", "43560 square feet"),
            ("5 µm", "0.005 mm"),
            ("1/2 mile", "2640 ft"),
            ("2 1/2 hours", "150 minutes"),
            ("5 KM", "5 km"),
            ("1 W", "1 J/s"),
            ("1 J/(kg K)", "1 m^2 s^-2 K^-1"),
        ] {
            let (x, y) = (value(a), value(b));
            assert!(x.is_some(), "{a}");
            assert_eq!(x, y, "{a} = {b}");
        }
    }

    #[test]
    fn different_quantities() {
        for (a, b) in [
            ("5 mg", "5 Mg"),
            ("5 °C", "5 °F"),
            ("5 mW", "5 MW"),
            ("5 mol", "5 g"),
            ("3 dollars 50 cents", "$3.05"),
            ("5 m", "5 m^2"),
            ("5 m/s", "5 s/m"),
            ("-5 °C", "5 °C"),
            ("1 US dollar", "1 euro"),
        ] {
            let (x, y) = (value(a), value(b));
            assert!(x.is_none() || y.is_none() || x != y, "{a} = {b}");
        }
    }

    #[test]
    fn what_is_not_all_number_and_unit() {
        for text in ["5", "5 apples", "x m", "5 + 3 m", "30 min 2 h", "5 m or more", "at 5 m", "3:4", "2x", "50%"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(unit("workers"), None);
        assert!(unit("miles per hour").is_some());
    }
}
