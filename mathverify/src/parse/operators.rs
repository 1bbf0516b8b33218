//! Sums, products, signs, powers, and postfix operators.

use super::token::Tok;
use super::{Parsed, Parser, one_or};
use crate::ast::{Constant, Expr, Func};
use crate::rational::{self, Rat, int};
use num_bigint::BigInt;
use num_traits::Zero;

impl Parser {
    /// `a + b - c ± d`.
    pub(super) fn sum(&mut self) -> Parsed {
        self.deeper(|p| {
            let mut terms = vec![p.product()?];
            loop {
                let term = match p.peek() {
                    Some(Tok::Plus) => {
                        p.at += 1;
                        // In `a + -b`, `product` reads the second sign.
                        p.product()?
                    }
                    Some(Tok::Minus) => {
                        p.at += 1;
                        Expr::Neg(Box::new(p.product()?))
                    }
                    Some(Tok::PlusMinus) => {
                        p.at += 1;
                        Expr::PlusMinus(Box::new(p.product()?), true)
                    }
                    Some(Tok::MinusPlus) => {
                        p.at += 1;
                        Expr::PlusMinus(Box::new(p.product()?), false)
                    }
                    _ => break,
                };
                p.nodes += 1;
                terms.push(term);
            }
            Ok(one_or(terms, Expr::Add))
        })
    }

    /// `a * b / c mod d`; the operands may be products by juxtaposition.
    pub(super) fn product(&mut self) -> Parsed {
        let mut left = self.signed()?;
        loop {
            match self.peek() {
                Some(Tok::Times) => {
                    self.at += 1;
                    let right = self.signed()?;
                    left = multiply(left, right);
                }
                Some(Tok::Cross) => {
                    self.at += 1;
                    self.chained()?;
                    let right = self.signed()?;
                    left = Expr::Apply("×".into(), vec![left, right]);
                }
                Some(Tok::Slash) => {
                    self.at += 1;
                    self.chained()?;
                    // `1/2 x` is (1/2) x; `a / 8y` is a / (8y).
                    let plain = matches!(left, Expr::Num { decimals: None, .. });
                    let loose = plain
                        && matches!(self.peek(), Some(Tok::Num(_)))
                        && !matches!(self.peek_at(1), Some(Tok::Sup | Tok::Bang | Tok::Sub));
                    let right = if loose { self.number()? } else { self.signed()? };
                    left = Expr::Div(Box::new(left), Box::new(right));
                    if loose && self.starts_factor() {
                        let rest = self.juxtaposed()?;
                        left = multiply(left, rest);
                    }
                }
                Some(Tok::Func(Func::Mod)) if self.peek_at(1).is_some() => {
                    self.at += 1;
                    self.chained()?;
                    let right = self.signed()?;
                    left = Expr::Func(Func::Mod, vec![left, right]);
                }
                // `7 (mod 5)`
                Some(Tok::Open('(')) if self.peek_at(1) == Some(&Tok::Func(Func::Mod)) => {
                    self.at += 2;
                    self.chained()?;
                    let right = self.signed()?;
                    self.expect(&Tok::Close(')'))?;
                    left = Expr::Func(Func::Mod, vec![left, right]);
                }
                Some(Tok::Over) => {
                    self.at += 1;
                    self.chained()?;
                    let right = self.product_of_rest()?;
                    left = Expr::Div(Box::new(left), Box::new(right));
                }
                Some(Tok::Choose) => {
                    self.at += 1;
                    self.chained()?;
                    let right = self.sum()?;
                    left = Expr::Func(Func::Binomial, vec![left, right]);
                }
                _ => return Ok(left),
            }
            self.nodes += 1;
        }
    }

    fn product_of_rest(&mut self) -> Parsed {
        self.deeper(Self::sum)
    }

    /// A product by juxtaposition with signs before it: `-2x`.
    fn signed(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::Minus) => {
                self.at += 1;
                Ok(Expr::Neg(Box::new(self.deeper(Self::signed)?)))
            }
            Some(Tok::Plus) => {
                self.at += 1;
                self.deeper(Self::signed)
            }
            Some(Tok::PlusMinus) => {
                self.at += 1;
                Ok(Expr::PlusMinus(Box::new(self.deeper(Self::signed)?), true))
            }
            Some(Tok::MinusPlus) => {
                self.at += 1;
                Ok(Expr::PlusMinus(Box::new(self.deeper(Self::signed)?), false))
            }
            _ => self.juxtaposed(),
        }
    }

    /// A product by juxtaposition, or a number with a unit: `2 x y`, `3 \sqrt 2`, `5 \text{ cm}`.
    fn juxtaposed(&mut self) -> Parsed {
        let mut factors = vec![self.power()?];
        loop {
            // Mixed numbers: 3 1/2, 3½, 3\frac12.
            if let [.., last] = &mut factors[..]
                && let Some(mixed) = self.mixed(last)?
            {
                *last = self.postfix(mixed)?;
                continue;
            }
            if self.unit(&mut factors)? {
                continue;
            }
            if !self.starts_factor() {
                break;
            }
            if matches!(self.peek(), Some(Tok::Num(_))) {
                return Err("two numbers side by side".into());
            }
            self.nodes += 1;
            let factor = self.power()?;
            factors.push(factor);
        }
        Ok(one_or(factors, Expr::Mul))
    }

    /// Whether the next token starts a further factor of a product by juxtaposition.
    pub(super) fn starts_factor(&self) -> bool {
        match self.peek() {
            Some(Tok::Sym(d)) if d == "d" && self.stop_at_differential => !matches!(self.peek_at(1), Some(Tok::Sym(_))),
            Some(Tok::Bar) => self.bars == 0 && self.separators == 0,
            Some(Tok::DoubleBar) => self.bars == 0,
            Some(Tok::Func(Func::Mod)) => false,
            // `[` can also end a French open interval: `]0, 1[`.
            Some(Tok::Open('[')) => !matches!(
                self.peek_at(1),
                None | Some(Tok::Cup | Tok::Cap | Tok::Comma | Tok::Close(_) | Tok::CloseGroup)
            ),
            Some(Tok::Open('(')) => self.peek_at(1) != Some(&Tok::Func(Func::Mod)),
            Some(Tok::Open(_)) => true,
            Some(
                Tok::Num(_)
                | Tok::Sym(_)
                | Tok::Word(_)
                | Tok::Const(_)
                | Tok::Func(_)
                | Tok::Frac
                | Tok::Binom
                | Tok::Sum
                | Tok::Product
                | Tok::Integral
                | Tok::Limit
                | Tok::Accent(_)
                | Tok::OpenGroup
                | Tok::Vulgar(..)
                | Tok::Begin(_)
                | Tok::NamedSet(_),
            ) => true,
            _ => false,
        }
    }

    /// The mixed number of the integer `left` and a proper fraction after it; `None` if there is no such fraction.
    fn mixed(&mut self, left: &Expr) -> Result<Option<Expr>, String> {
        let Expr::Num { value, decimals: None } = left else { return Ok(None) };
        if !value.is_integer() {
            return Ok(None);
        }
        let whole = value.clone();
        let before = self.at;
        let fraction = match (self.peek(), self.peek_at(1), self.peek_at(2)) {
            (Some(Tok::Vulgar(n, d)), ..) => {
                let r = rational::ratio(*n, *d);
                self.at += 1;
                Some(r)
            }
            (Some(Tok::Num(n)), Some(Tok::Slash), Some(Tok::Num(d))) if self.spaced() => {
                let r = proper(n, d);
                self.at += 3;
                r
            }
            (Some(Tok::Frac), ..) => match self.prefix()? {
                Expr::Div(n, d) => match (*n, *d) {
                    (Expr::Num { value: n, decimals: None }, Expr::Num { value: d, decimals: None })
                        if n.is_integer() && d.is_integer() && n < d =>
                    {
                        Some(n / d)
                    }
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        };
        match fraction {
            Some(f) if !matches!(self.peek(), Some(Tok::Sup)) => Ok(Some(Expr::rat(whole + f))),
            _ => {
                self.at = before;
                Ok(None)
            }
        }
    }

    /// Reads a unit, words or a currency after the factors, which become one quantity. `false` if there are none.
    fn unit(&mut self, factors: &mut Vec<Expr>) -> Result<bool, String> {
        let (word, plain) = match self.peek() {
            Some(Tok::Text(w)) => (w.clone(), false),
            Some(Tok::Word(w)) => (w.clone(), true),
            Some(Tok::Currency(c)) => (c.to_string(), false),
            // `9 Ω`, `50 µm`
            Some(Tok::Sym(s)) if s == "Omega" && matches!(self.peek_at(1), None | Some(Tok::Comma)) => {
                if !factors.iter().all(is_numeric) {
                    return Ok(false);
                }
                ("ohm".to_owned(), false)
            }
            Some(Tok::Sym(s))
                if s == "mu"
                    && matches!(self.peek_at(1), Some(Tok::Text(_) | Tok::Sym(_)))
                    && self.peek_at(2).is_none() =>
            {
                if !factors.iter().all(is_numeric) {
                    return Ok(false);
                }
                ("µ".to_owned(), false)
            }
            _ => return Ok(false),
        };
        // Up to three letters are a product of variables (`xy`, `abc`), unless they are a unit after a number (`5 cm`).
        // Longer words are units.
        let after_number = factors.iter().all(is_numeric);
        if plain && !after_number && word.len() <= 3 {
            return Ok(false);
        }
        if plain
            && after_number
            && word.len() <= 3
            && !crate::units::is_unit(&word)
            && !self.words_follow()
            && word.is_ascii()
        {
            return Ok(false);
        }
        let mut words = vec![word];
        self.at += 1;
        loop {
            match self.peek() {
                Some(Tok::Text(w) | Tok::Word(w)) => words.push(w.clone()),
                Some(Tok::Sym(w)) if w.len() == 1 && (self.spaced() || words == ["µ"]) => words.push(w.clone()),
                Some(Tok::Currency(c)) => words.push(c.to_string()),
                Some(Tok::Slash)
                    if matches!(self.peek_at(1), Some(Tok::Word(_) | Tok::Text(_)))
                        || matches!(self.peek_at(1), Some(Tok::Sym(s)) if matches!(&**s, "h" | "s" | "m" | "L" | "g")) =>
                {
                    words.push("/".into());
                    self.at += 1;
                    if let Some(Tok::Word(w) | Tok::Text(w) | Tok::Sym(w)) = self.peek() {
                        words.push(w.clone());
                    }
                }
                Some(Tok::Sup) => match (self.peek_at(1), self.peek_at(2), self.peek_at(3)) {
                    (Some(Tok::Num(n)), ..) => {
                        words.push(format!("^{n}"));
                        self.at += 1;
                    }
                    (Some(Tok::OpenGroup), Some(Tok::Num(n)), Some(Tok::CloseGroup)) => {
                        words.push(format!("^{n}"));
                        self.at += 3;
                    }
                    (Some(Tok::OpenGroup), Some(Tok::Minus), Some(Tok::Num(n)))
                        if self.peek_at(4) == Some(&Tok::CloseGroup) =>
                    {
                        words.push(format!("^-{n}"));
                        self.at += 4;
                    }
                    _ => break,
                },
                Some(Tok::Times) if matches!(self.peek_at(1), Some(Tok::Text(_))) => words.push("*".into()),
                _ => break,
            }
            self.at += 1;
            if words.len() > 12 {
                return Err("a sentence after a number".into());
            }
        }
        let value = one_or(std::mem::take(factors), Expr::Mul);
        factors.push(Expr::Quantity(Box::new(value), words.join(" ")));
        Ok(true)
    }

    fn words_follow(&self) -> bool {
        matches!(self.peek_at(1), Some(Tok::Word(_) | Tok::Text(_)))
    }

    /// An operand with its powers, subscripts and postfix operators.
    pub(super) fn power(&mut self) -> Parsed {
        self.deeper(|p| {
            let base = p.prefix()?;
            p.postfix(base)
        })
    }

    /// Reads the powers, subscripts and postfix operators after `base`.
    pub(super) fn postfix(&mut self, mut base: Expr) -> Parsed {
        loop {
            base = match self.peek() {
                // The side of a limit, `0^+` or `0^{-}`: `group_with` reads the sign.
                Some(Tok::Sup) if self.side_of_limit() => return Ok(base),
                Some(Tok::Sup) => {
                    self.at += 1;
                    match (self.peek(), self.peek_at(1), self.peek_at(2)) {
                        (Some(Tok::Degree), ..) => {
                            self.at += 1;
                            Expr::Degrees(Box::new(base))
                        }
                        (Some(Tok::OpenGroup), Some(Tok::Degree), Some(Tok::CloseGroup)) => {
                            self.at += 3;
                            Expr::Degrees(Box::new(base))
                        }
                        (Some(Tok::OpenGroup), Some(Tok::Degree), Some(Tok::Sym(c))) if c == "C" || c == "F" => {
                            let unit = format!("°{c}");
                            self.at += 3;
                            self.expect(&Tok::CloseGroup)?;
                            Expr::Quantity(Box::new(base), unit)
                        }
                        // `4^{th}`
                        (Some(Tok::OpenGroup), Some(Tok::Word(w) | Tok::Text(w)), Some(Tok::CloseGroup))
                            if matches!(&**w, "th" | "st" | "nd" | "rd") =>
                        {
                            self.at += 3;
                            Expr::Quantity(Box::new(base), "th".to_owned())
                        }
                        (Some(Tok::Prime), ..) => {
                            self.at += 1;
                            primed(base, 1)?
                        }
                        (Some(Tok::OpenGroup), Some(Tok::Prime), _) => {
                            self.at += 1;
                            let mut n = 0;
                            while self.eat(&Tok::Prime) {
                                n += 1;
                            }
                            self.expect(&Tok::CloseGroup)?;
                            primed(base, n)?
                        }
                        (Some(Tok::Transpose), ..) => {
                            self.at += 1;
                            Expr::Func(Func::Transpose, vec![base])
                        }
                        _ => {
                            let exponent = self.deeper(Self::exponent)?;
                            // `x^{2}_{1}`: the subscript belongs to the base.
                            if self.peek() == Some(&Tok::Sub) && matches!(base, Expr::Sym(_)) {
                                self.at += 1;
                                base = self.subscripted(base)?;
                            }
                            Expr::Pow(Box::new(base), Box::new(exponent))
                        }
                    }
                }
                Some(Tok::Sub) => {
                    self.at += 1;
                    self.subscripted(base)?
                }
                Some(Tok::Bang) => {
                    self.at += 1;
                    if self.eat(&Tok::Bang) {
                        Expr::Func(Func::DoubleFactorial, vec![base])
                    } else {
                        Expr::Func(Func::Factorial, vec![base])
                    }
                }
                Some(Tok::Prime) => {
                    self.at += 1;
                    primed(base, 1)?
                }
                Some(Tok::Percent) => {
                    self.at += 1;
                    Expr::Percent(Box::new(base))
                }
                Some(Tok::Degree) => {
                    self.at += 1;
                    // `f \circ g` is not supported.
                    if matches!(base, Expr::Sym(_) | Expr::Apply(..) | Expr::Func(..))
                        && matches!(self.peek(), Some(Tok::Sym(_) | Tok::Word(_) | Tok::Func(_) | Tok::Open(_)))
                    {
                        return Err("a composition of functions".into());
                    }
                    match self.peek() {
                        Some(Tok::Sym(c)) if (c == "C" || c == "F") && !matches!(base, Expr::Sym(_)) => {
                            let unit = format!("°{c}");
                            self.at += 1;
                            Expr::Quantity(Box::new(base), unit)
                        }
                        _ => Expr::Degrees(Box::new(base)),
                    }
                }
                // `0.333...`
                Some(Tok::Ellipsis) => match &base {
                    Expr::Num { value, decimals: Some(n) } => {
                        let repeated = repeating_tail(value, *n).ok_or("an unfinished decimal")?;
                        self.at += 1;
                        Expr::rat(repeated)
                    }
                    _ => return Ok(base),
                },
                _ => return Ok(base),
            };
            self.chained()?;
        }
    }

    /// Whether `^+}` or `^{+}}` follows, or the same with a minus: the end of a limit's subscript.
    fn side_of_limit(&self) -> bool {
        let sign = |t: Option<&Tok>| matches!(t, Some(Tok::Plus | Tok::Minus));
        let closed = |t: Option<&Tok>| t == Some(&Tok::CloseGroup);
        (sign(self.peek_at(1)) && closed(self.peek_at(2)))
            || (self.peek_at(1) == Some(&Tok::OpenGroup)
                && sign(self.peek_at(2))
                && closed(self.peek_at(3))
                && closed(self.peek_at(4)))
    }

    fn exponent(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::OpenGroup) => self.group(),
            Some(Tok::Minus) => {
                self.at += 1;
                let inner = self.deeper(Self::exponent)?;
                Ok(Expr::Neg(Box::new(inner)))
            }
            Some(Tok::Plus) => {
                self.at += 1;
                self.deeper(Self::exponent)
            }
            _ => {
                let base = self.prefix()?;
                // `2^3^2` nests to the right. In `2^n!` the factorial applies to the power.
                match self.peek() {
                    Some(Tok::Sup) => {
                        self.at += 1;
                        let top = self.deeper(Self::exponent)?;
                        Ok(Expr::Pow(Box::new(base), Box::new(top)))
                    }
                    _ => Ok(base),
                }
            }
        }
    }
}

/// The product of two expressions; a product on the left is extended, not nested.
pub(super) fn multiply(left: Expr, right: Expr) -> Expr {
    match left {
        Expr::Mul(mut factors) => {
            factors.push(right);
            Expr::Mul(factors)
        }
        other => Expr::Mul(vec![other, right]),
    }
}

/// Whether the expression counts as a number, so that a short word after it can be a unit.
fn is_numeric(e: &Expr) -> bool {
    matches!(
        e,
        Expr::Num { .. }
            | Expr::Div(..)
            | Expr::Const(Constant::Pi)
            | Expr::Func(..)
            | Expr::Neg(_)
            | Expr::Pow(..)
            | Expr::Percent(_)
            | Expr::Add(_)
            | Expr::Mul(_)
            | Expr::Quantity(..)
    )
}

/// A name with `n` primes.
fn primed(base: Expr, n: usize) -> Parsed {
    match base {
        Expr::Sym(name) => Ok(Expr::Sym(name + &"'".repeat(n))),
        // `30'` may be minutes of an angle or feet, so it is not read.
        _ => Err("a prime after something other than a name".into()),
    }
}

/// The proper fraction `n / d`; `None` if it is not one.
fn proper(n: &str, d: &str) -> Option<Rat> {
    let (n, dn) = rational::decimal(n)?;
    let (d, dd) = rational::decimal(d)?;
    (dn == 0 && dd == 0 && !d.is_zero() && n < d).then(|| n / d)
}

/// The value of `0.333...`, `0.1666...` or `0.1212...`: the block that ends the decimals repeats without end. A block
/// of one digit must occur three times (twice if there are only two decimals), a longer block twice.
fn repeating_tail(value: &Rat, decimals: u32) -> Option<Rat> {
    if !(2..=400).contains(&decimals) {
        return None;
    }
    let scaled = (value * Rat::from_integer(rational::ten_to(decimals))).to_integer();
    let digits = format!("{:0>width$}", scaled.to_string(), width = decimals as usize + 1);
    let fraction = &digits[digits.len() - decimals as usize..];
    // Take the shortest block that is repeated often enough at the end of the digits.
    for block in 1..=fraction.len() / 2 {
        let times = if block == 1 { 3.min(fraction.len()) } else { 2 };
        if block * times > fraction.len() {
            continue;
        }
        let tail = &fraction[fraction.len() - block..];
        let repeats = (1..times).all(|k| fraction[..fraction.len() - block * k].ends_with(tail));
        if repeats {
            let period = tail.parse::<BigInt>().ok()?;
            let nines = rational::ten_to(u32::try_from(block).ok()?) - BigInt::from(1);
            let rest = Rat::new(period, nines) / Rat::from_integer(rational::ten_to(decimals));
            return Some(value + rest);
        }
    }
    None
}

/// Digits as a number; `decimals` is set only if there is a point.
pub(super) fn number_of(text: &str) -> Parsed {
    let (value, decimals) = rational::decimal(text).ok_or("a number that is too long")?;
    Ok(Expr::Num { value, decimals: text.contains('.').then_some(decimals) })
}

/// The number with these `digits` in `base` (2 to 36); `None` if a digit does not exist in that base.
pub(super) fn based(digits: &str, base: u32) -> Option<Expr> {
    if !(2..=36).contains(&base) || digits.is_empty() || digits.len() > 2_000 {
        return None;
    }
    let lower = digits.to_lowercase();
    let value = BigInt::parse_bytes(lower.as_bytes(), base)?;
    if lower.starts_with(['+', '-']) {
        return None;
    }
    Some(Expr::Based { digits: lower, base, value: Rat::from_integer(value) })
}

/// The value of an integer from 1 to 999, such as a base or the index of a root; `None` for any other expression.
pub(super) fn small(e: &Expr) -> Option<u32> {
    match e {
        Expr::Num { value, decimals: None } if *value > int(0) && *value < int(1_000) => {
            rational::to_i64(value).and_then(|n| u32::try_from(n).ok())
        }
        _ => None,
    }
}
