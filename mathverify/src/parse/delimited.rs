//! Parses bracketed expressions: groups, tuples, intervals, sets, absolute values, matrices.

use super::token::Tok;
use super::{Parsed, Parser};
use crate::ast::{Expr, Func};
use crate::rational::{self, Rat};
use num_bigint::BigInt;

impl Parser {
    /// A LaTeX group, `{...}`. With commas inside, it is a list: a set or tuple that may have lost its backslashes.
    pub(super) fn group(&mut self) -> Parsed {
        self.expect(&Tok::OpenGroup)?;
        let (bars, separators) = (std::mem::take(&mut self.bars), std::mem::take(&mut self.separators));
        let items =
            if self.eat(&Tok::CloseGroup) { Err("an empty group".into()) } else { self.items(&Tok::CloseGroup) };
        (self.bars, self.separators) = (bars, separators);
        Ok(super::one_or(items?, Expr::List))
    }

    /// A group whose content is parsed by `f`, with an optional sign for the side of a limit.
    pub(super) fn group_with(&mut self, f: fn(&mut Self) -> Parsed) -> Parsed {
        self.expect(&Tok::OpenGroup)?;
        let inner = self.deeper(f)?;
        // `x \to 0^+`
        if matches!(self.peek(), Some(Tok::Sup)) {
            self.at += 1;
            let grouped = self.eat(&Tok::OpenGroup);
            self.side = match self.next() {
                Some(Tok::Plus) => Some(true),
                Some(Tok::Minus) => Some(false),
                _ => return Err("an unfinished limit".into()),
            };
            if grouped {
                self.expect(&Tok::CloseGroup)?;
            }
        }
        self.expect(&Tok::CloseGroup)?;
        Ok(inner)
    }

    /// Parses items up to `close` and consumes it.
    fn items(&mut self, close: &Tok) -> Result<Vec<Expr>, String> {
        let mut items = vec![self.deeper(Self::item_in_brackets)?];
        while matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::And | Tok::Or)) {
            while matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::And | Tok::Or)) {
                self.at += 1;
            }
            if self.peek() == Some(close) {
                break;
            }
            self.nodes += 1;
            items.push(self.deeper(Self::item_in_brackets)?);
        }
        self.expect(close)?;
        Ok(items)
    }

    fn item_in_brackets(&mut self) -> Parsed {
        self.item()
    }

    /// Parses the content of a bracket that was consumed, up to its closing bracket, and returns the whole expression.
    pub(super) fn bracketed(&mut self, open: char) -> Parsed {
        let (bars, separators) = (std::mem::take(&mut self.bars), std::mem::take(&mut self.separators));
        let result = self.bracketed_inner(open);
        (self.bars, self.separators) = (bars, separators);
        result
    }

    fn bracketed_inner(&mut self, open: char) -> Parsed {
        match open {
            'f' | 'c' => {
                let inner = self.sum()?;
                self.expect(&Tok::Close(open))?;
                return Ok(Expr::Func(if open == 'f' { Func::Floor } else { Func::Ceil }, vec![inner]));
            }
            '<' => return Ok(Expr::Brackets(self.items(&Tok::Close('<'))?)),
            '{' => return self.set(),
            _ => {}
        }
        if open == '(' && self.eat(&Tok::Close(')')) {
            return Err("empty parentheses".into());
        }
        if open == '[' && self.eat(&Tok::Close(']')) {
            return Ok(Expr::Set(Vec::new()));
        }
        let mut items = vec![self.deeper(Self::item_in_brackets)?];
        while matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::And | Tok::Or)) {
            while matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::And | Tok::Or)) {
                self.at += 1;
            }
            self.nodes += 1;
            items.push(self.deeper(Self::item_in_brackets)?);
        }
        let close = match self.next() {
            Some(Tok::Close(c @ (')' | ']'))) => c,
            Some(Tok::Open('[')) if items.len() == 2 && open != '[' => '[',
            other => return Err(format!("{other:?} where a bracket should close")),
        };
        // `]a, b[` and `]a, b]`: the French notation of open ends.
        if items.len() == 2 {
            let ends = match (open, close) {
                ('[', ']') => Some((true, true)),
                ('[', ')') => Some((true, false)),
                ('(', ']') => Some((false, true)),
                (']', '[') => Some((false, false)),
                (']', ']') => Some((false, true)),
                ('(', '[') => Some((false, false)),
                _ => None,
            };
            if let Some((low_closed, high_closed)) = ends {
                let (Some(high), Some(low)) = (items.pop(), items.pop()) else { return Err("an interval".into()) };
                return Ok(Expr::Interval { low: Box::new(low), high: Box::new(high), low_closed, high_closed });
            }
        }
        if items.len() == 1 {
            let inner = items.remove(0);
            if (open == '(') == (close == ')') {
                // `[x]` is the integer part of x, since a single letter needs no grouping.
                let letter = open == '[' && matches!(inner, Expr::Sym(_));
                return Ok(if letter { Expr::Apply(super::BRACKETS.into(), vec![inner]) } else { inner });
            }
            return Err("brackets that do not match".into());
        }
        match (open, close) {
            ('(', ')') => Ok(Expr::Tuple(items)),
            ('[', ']') => Ok(Expr::Brackets(items)),
            _ => Err("brackets that do not match".into()),
        }
    }

    /// The rest of a set after `\{`: `\{a, b\}` or `\{x | condition\}`.
    fn set(&mut self) -> Parsed {
        if self.eat(&Tok::Close('{')) {
            return Ok(Expr::Set(Vec::new()));
        }
        self.separators = 1;
        let first = self.deeper(Self::item_in_brackets)?;
        if self.eat(&Tok::Bar) || self.eat(&Tok::Colon) {
            self.separators = 0;
            let conditions = self.items(&Tok::Close('{'))?;
            return Ok(Expr::Builder(Box::new(first), conditions));
        }
        self.separators = 0;
        let mut items = vec![first];
        while matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::And | Tok::Or)) {
            while matches!(self.peek(), Some(Tok::Comma | Tok::Semicolon | Tok::And | Tok::Or)) {
                self.at += 1;
            }
            if self.peek() == Some(&Tok::Close('{')) {
                break;
            }
            self.nodes += 1;
            items.push(self.deeper(Self::item_in_brackets)?);
        }
        self.expect(&Tok::Close('{'))?;
        // `\lbrace 1 + 2 \rbrace`: one item makes a set of one element.
        Ok(Expr::Set(items))
    }

    /// An absolute value or norm after its opening bar: `|x|`, `‖x‖`.
    pub(super) fn absolute(&mut self, bar: &Tok) -> Parsed {
        let (bars, separators) = (self.bars, std::mem::take(&mut self.separators));
        self.bars = bars + 1;
        let inner = self.sum();
        (self.bars, self.separators) = (bars, separators);
        let inner = inner?;
        self.expect(bar)?;
        Ok(Expr::Func(Func::Abs, vec![inner]))
    }

    /// A matrix or a determinant (`vmatrix`); any other environment is an error.
    pub(super) fn environment(&mut self, name: &str) -> Parsed {
        let matrix = ["matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "smallmatrix", "array"];
        if !matrix.contains(&name) {
            return Err(format!("the environment {name}"));
        }
        let end = Tok::End(name.to_owned());
        let mut rows: Vec<Vec<Expr>> = vec![Vec::new()];
        loop {
            if self.eat(&end) {
                break;
            }
            if self.eat(&Tok::RowBreak) {
                rows.push(Vec::new());
                continue;
            }
            if self.eat(&Tok::Ampersand) {
                let empty = rows.last().is_none_or(Vec::is_empty)
                    || matches!(self.peek(), Some(Tok::Ampersand | Tok::RowBreak))
                    || self.peek() == Some(&end);
                if empty {
                    return Err("a matrix with an empty cell".into());
                }
                continue;
            }
            let cell = self.deeper(Self::relation)?;
            rows.last_mut().ok_or("a matrix without rows")?.push(cell);
            if !matches!(self.peek(), Some(Tok::Ampersand | Tok::RowBreak | Tok::Comma)) && self.peek() != Some(&end) {
                return Err("an unfinished matrix".into());
            }
            self.eat(&Tok::Comma);
        }
        rows.retain(|r| !r.is_empty());
        let width = rows.first().map_or(0, Vec::len);
        if width == 0 || rows.iter().any(|r| r.len() != width) {
            return Err("a matrix whose rows differ in length".into());
        }
        let matrix = Expr::Matrix(rows);
        Ok(if name == "vmatrix" { Expr::Func(Func::Det, vec![matrix]) } else { matrix })
    }
}

/// The value of a repeating decimal such as `0.1\overline{6}`: `value` with `decimals` digits after the point, followed
/// by `block` repeated without end.
pub(super) fn repeating(value: &Rat, decimals: u32, block: &str) -> Option<Rat> {
    if block.is_empty() || block.len() > 400 || decimals > 400 || !block.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let period = block.parse::<BigInt>().ok()?;
    let nines = rational::ten_to(u32::try_from(block.len()).ok()?) - BigInt::from(1);
    Some(value + Rat::new(period, nines) / Rat::from_integer(rational::ten_to(decimals)))
}
