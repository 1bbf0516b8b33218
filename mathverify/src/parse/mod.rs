//! A Pratt parser for answers and formulas in LaTeX, plain text and Unicode.
//!
//! The parser reads the whole text or fails, because a number inside an unknown formula must not be compared. Depth,
//! tokens and nodes are limited, so the work of all code that walks the tree is limited too.

mod delimited;
mod functions;
mod lead;
mod lex_latex;
mod lex_number;
mod lexer;
mod limits;
mod notation;
mod operators;
mod prefix;
mod respell;
mod tables;
pub(crate) mod token;

use crate::ast::{Expr, Rel};
pub(crate) use lexer::fold_digit;
pub(crate) use notation::BRACKETS;
use token::{Commas, Tok, Token};

/// Maximum nesting depth of a formula.
pub(crate) const MAX_DEPTH: usize = 120;
/// Maximum number of left-associative and postfix operators, each of which deepens the tree: `a / b / c`, `x!!!`.
const MAX_CHAINS: usize = 150;
/// Maximum number of nodes of a syntax tree.
pub(crate) const MAX_NODES: usize = 6_000;
/// Maximum length of a formula, in bytes.
pub(crate) const MAX_BYTES: usize = 24_000;

/// Parses `text` in its default reading, with commas between digits as thousands separators.
pub(crate) fn parse(text: &str) -> Result<Expr, String> {
    parse_with(&respell::respelled(text), Commas::Thousands)
}

/// The text with numbers in words and program notation rewritten as formulas.
pub(crate) fn respelled(text: &str) -> std::borrow::Cow<'_, str> {
    respell::respelled(text)
}

/// Whether a word has a meaning in formulas: a function, a constant, a connective.
pub(crate) fn is_name(word: &str) -> bool {
    tables::named_word(word).is_some()
}

/// The readings of `text`: first the default, then those with other meanings of its commas or of `j` and `I`.
///
/// `1,22` is a list or a decimal; `(1,234)` is a number or a pair; `3+4j` has a variable or the imaginary unit. An
/// ambiguous text has several readings, and two answers are compared in every pair of readings.
pub(crate) fn readings(text: &str) -> Result<Vec<Expr>, String> {
    let respelled = respell::respelled(text);
    let text = &*respelled;
    let first = parse_with(text, Commas::Thousands);
    let mut all: Vec<Expr> = Vec::new();
    // `3+4j` and `2*I`: the imaginary unit in program notation.
    if let Ok(expr) = &first
        && let Some(other) = notation::imaginary(text, expr)
    {
        return Ok(vec![expr.clone(), other]);
    }
    let bytes = text.as_bytes();
    let digit = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_some_and(u8::is_ascii_digit);
    let commas: Vec<usize> =
        memchr::memchr_iter(b',', bytes).filter(|&i| digit(i.checked_sub(1)) && digit(Some(i + 1))).take(2).collect();
    if !commas.is_empty() {
        let bracketed = text.contains(['(', '[', '{']);
        if let Ok(expr) = first.clone() {
            all.push(expr);
        }
        if bracketed {
            all.extend(parse_with(text, Commas::List).ok().filter(|e| !all.contains(e)));
        } else if let Some(joined) = notation::indian_groups(text) {
            all.extend(parse_with(&joined, Commas::Thousands).ok().filter(|e| !all.contains(e)));
        } else if commas.len() == 1 && !text.contains(';') {
            // One comma: `1,22` is a decimal in most of Europe; in `1,234` the comma only separates thousands.
            let group = bytes[commas[0] + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            let whole = bytes[..commas[0]].iter().rev().take_while(|b| b.is_ascii_digit()).count();
            let leading_zero = whole == 1 && bytes[commas[0] - 1] == b'0';
            if group != 3 || whole > 3 || leading_zero {
                all.extend(parse_with(text, Commas::Decimal).ok().filter(|e| !all.contains(e)));
            }
        }
        if !all.is_empty() {
            return Ok(all);
        }
    }
    first.map(|e| vec![e])
}

fn parse_with(text: &str, commas: Commas) -> Result<Expr, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("longer than {MAX_BYTES} bytes"));
    }
    // `\text{5 hours}`: a font command contains the whole answer.
    if let Some(inner) = lead::set_as_text(text)
        && let Ok(expr) = parse_with(inner, commas)
    {
        return Ok(expr);
    }
    let text = lead::spelled_out(text).unwrap_or(text);
    let tokens = token::tokens(text, commas)?;
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        nodes: 0,
        bars: 0,
        stop_at_differential: false,
        separators: 0,
        chains: 0,
        side: None,
    };
    if parser.tokens.is_empty() {
        return Err("nothing".into());
    }
    let expr = parser.answer()?;
    if parser.at < parser.tokens.len() {
        return Err(format!("{} at token {}", describe(&parser.tokens[parser.at].kind), parser.at + 1));
    }
    let expr = notation::integer_part(notation::choices(expr), &parser.tokens);
    Ok(notation::differentials(expr))
}

fn describe(tok: &Tok) -> String {
    match tok {
        Tok::Word(w) | Tok::Text(w) | Tok::Sym(w) | Tok::Num(w) => format!("{w:?}"),
        other => format!("{other:?}"),
    }
}

/// The tokens with the current position, and the counters that limit the work.
pub(crate) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    nodes: usize,
    /// Number of left-associative and postfix operators so far; at most [`MAX_CHAINS`].
    chains: usize,
    /// Number of open `|` that a further `|` closes.
    bars: usize,
    /// True inside an integral, where `d` before a variable ends the integrand.
    stop_at_differential: bool,
    /// Not zero inside `{x | ...}`, where a bar or a colon separates the element from its conditions.
    separators: usize,
    /// The side from which the last limit approaches its point: `0^+` (`true`) or `0^-` (`false`).
    side: Option<bool>,
}

type Parsed = Result<Expr, String>;

impl Parser {
    fn peek(&self) -> Option<&Tok> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    fn peek_at(&self, ahead: usize) -> Option<&Tok> {
        self.tokens.get(self.at + ahead).map(|t| &t.kind)
    }

    /// Whether white space precedes the next token.
    fn spaced(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|t| t.spaced)
    }

    fn next(&mut self) -> Option<Tok> {
        let tok = self.tokens.get(self.at).map(|t| t.kind.clone());
        self.at += 1;
        tok
    }

    /// Consumes the next token if it is `tok`.
    fn eat(&mut self, tok: &Tok) -> bool {
        let here = self.peek() == Some(tok);
        self.at += usize::from(here);
        here
    }

    fn expect(&mut self, tok: &Tok) -> Result<(), String> {
        if self.eat(tok) { Ok(()) } else { Err(format!("expected {tok:?}, found {:?}", self.peek())) }
    }

    /// Runs `f` one level deeper, and counts one node.
    fn deeper<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.depth += 1;
        self.nodes += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        if self.nodes > MAX_NODES {
            return Err(format!("more than {MAX_NODES} parts"));
        }
        let depth = self.depth;
        let result = f(self);
        self.depth = depth - 1;
        result
    }

    /// Parses the whole text: items separated by semicolons, commas, "and" or "or".
    fn answer(&mut self) -> Parsed {
        let groups = self.separated(&|t| matches!(t, Tok::Semicolon), &mut |p| {
            let joins = |t: &Tok| matches!(t, Tok::And | Tok::Or | Tok::Logic(_));
            let mut connected = p.separated(&joins, &mut |p| {
                let items = p.separated(&|t| matches!(t, Tok::Comma), &mut Self::item)?;
                Ok(one_or(items, Expr::List))
            })?;
            // `p = 5, q = 2 and p = 7, q = 2`: if every part assigns the same names, the parts are tuples; otherwise
            // all items form one list.
            let grouped = connected.len() > 1
                && connected.iter().all(|g| names(g).is_some_and(|n| n.len() > 1))
                && connected.windows(2).all(|w| names(&w[0]) == names(&w[1]));
            if grouped {
                return Ok(Expr::List(connected.into_iter().map(as_tuple).collect()));
            }
            if connected.len() == 1 {
                return Ok(connected.remove(0));
            }
            if let Some(sign) = p.logic()? {
                // `p ∧ q` is one statement; `x > 1 ∧ x < 3` is a list of two relations, as with "and".
                if !connected.iter().all(|e| matches!(e, Expr::Relation(..))) {
                    let signs = vec![Rel::Other(sign); connected.len() - 1];
                    return Ok(Expr::Relation(connected, signs));
                }
            }
            let mut flat = Vec::new();
            for group in connected {
                match group {
                    Expr::List(items) => flat.extend(items),
                    other => flat.push(other),
                }
            }
            Ok(Expr::List(flat))
        })?;
        if groups.len() > 1 {
            // `p = 5, q = 2; p = 7, q = 2` means the same as `(p = 5, q = 2); (p = 7, q = 2)`.
            let grouped = groups.iter().all(|g| matches!(g, Expr::List(_)));
            let groups = if grouped { groups.into_iter().map(as_tuple).collect() } else { groups };
            return Ok(Expr::List(groups));
        }
        Ok(one_or(groups, Expr::List))
    }

    /// The sign `∧` or `∨` that joins the statements; an error if both occur, or one with "and" or "or", since the
    /// precedence is not defined.
    fn logic(&self) -> Result<Option<char>, String> {
        let mut signs = self.tokens.iter().filter_map(|t| match t.kind {
            Tok::Logic(sign) => Some(sign),
            _ => None,
        });
        let Some(first) = signs.next() else { return Ok(None) };
        let words = self.tokens.iter().any(|t| matches!(t.kind, Tok::And | Tok::Or));
        if words || signs.any(|sign| sign != first) {
            return Err("a formula of logic".into());
        }
        Ok(Some(first))
    }

    /// Items with separators between them; several separators in a row count as one.
    fn separated(
        &mut self,
        separator: &dyn Fn(&Tok) -> bool,
        item: &mut dyn FnMut(&mut Self) -> Parsed,
    ) -> Result<Vec<Expr>, String> {
        let mut items = vec![item(self)?];
        loop {
            let mut found = false;
            while self.peek().is_some_and(separator) {
                self.at += 1;
                found = true;
            }
            if !found {
                return Ok(items);
            }
            // After a separator at the end, or `, and`, the inner list ends and the outer one continues.
            if self.peek().is_none_or(|t| {
                matches!(t, Tok::And | Tok::Or | Tok::Logic(_) | Tok::Semicolon | Tok::Close(_) | Tok::CloseGroup)
            }) {
                return Ok(items);
            }
            items.push(item(self)?);
        }
    }

    /// One item: a chain of relations, or words only.
    fn item(&mut self) -> Parsed {
        self.lead_in();
        if let Some(words) = self.words_only() {
            return Ok(Expr::Text(words));
        }
        self.relation()
    }

    /// An item that consists only of words.
    fn words_only(&mut self) -> Option<String> {
        let mut end = self.at;
        let mut words: Vec<&str> = Vec::new();
        let mut real = false;
        while let Some(token) = self.tokens.get(end) {
            match &token.kind {
                Tok::Word(w) | Tok::Text(w) => {
                    real |= w.chars().count() > 3 || matches!(token.kind, Tok::Text(_)) || !w.is_ascii();
                    words.push(w);
                }
                Tok::Sym(w) if !words.is_empty() || w.len() == 1 => words.push(w),
                Tok::Minus if !words.is_empty() && real => {}
                // In `We find n!` the `!` belongs to the letter, so the item is not only words.
                Tok::Bang | Tok::Prime if real && !matches!(self.tokens[end - 1].kind, Tok::Sym(_)) => {}
                Tok::Comma | Tok::Semicolon | Tok::And | Tok::Or | Tok::Logic(_) => break,
                _ => return None,
            }
            end += 1;
        }
        if !real || end == self.at {
            return None;
        }
        let words = words.join(" ");
        self.at = end;
        Some(words)
    }

    /// A chain of relations or a single expression: `a = b = c`, `1 < x <= 5`, `x ∈ S`.
    fn relation(&mut self) -> Parsed {
        self.deeper(|p| {
            let mut terms = vec![p.ratio()?];
            let mut ops: Vec<Rel> = Vec::new();
            while let Some(Tok::Relation(rel)) = p.peek() {
                let rel = *rel;
                p.at += 1;
                // `x ≈` with nothing after it: the sign is dropped.
                if p.peek().is_none() && !terms.is_empty() && rel == Rel::Approx {
                    break;
                }
                ops.push(rel);
                terms.push(p.ratio()?);
            }
            if ops.is_empty() { Ok(one_or(terms, Expr::List)) } else { Ok(Expr::Relation(terms, ops)) }
        })
    }

    /// A ratio, `a : b : c`.
    fn ratio(&mut self) -> Parsed {
        let first = self.sets()?;
        if self.peek() != Some(&Tok::Colon) || self.separators > 0 {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.eat(&Tok::Colon) {
            // `Answer: 5`, `Area: 12`: words before a colon describe the value after it.
            if let [Expr::Text(_)] = parts[..] {
                return self.relation();
            }
            parts.push(self.sets()?);
        }
        Ok(Expr::Ratio(parts))
    }

    /// Unions, intersections and differences of sets.
    fn sets(&mut self) -> Parsed {
        let mut left = self.sum()?;
        // `{1, 2} \cup {3, 4}`: braces without backslashes are LaTeX groups, here sets.
        let as_set = |e: Expr| if let Expr::List(items) = e { Expr::Set(items) } else { e };
        loop {
            if matches!(self.peek(), Some(Tok::Cup | Tok::Cap | Tok::SetMinus)) {
                left = as_set(left);
            }
            match self.peek() {
                Some(Tok::Cup) => {
                    self.at += 1;
                    let right = as_set(self.sum()?);
                    left = match left {
                        Expr::Union(mut all) => {
                            all.push(right);
                            Expr::Union(all)
                        }
                        other => Expr::Union(vec![other, right]),
                    };
                }
                Some(Tok::Cap) => {
                    self.at += 1;
                    let right = as_set(self.sum()?);
                    left = match left {
                        Expr::Intersection(mut all) => {
                            all.push(right);
                            Expr::Intersection(all)
                        }
                        other => Expr::Intersection(vec![other, right]),
                    };
                }
                Some(Tok::SetMinus) => {
                    self.at += 1;
                    self.chained()?;
                    left = Expr::SetMinus(Box::new(left), Box::new(as_set(self.sum()?)));
                }
                _ => return Ok(left),
            }
        }
    }

    /// Counts a left-associative or postfix operator: a chain of them makes a tree as deep as the chain is long.
    fn chained(&mut self) -> Result<(), String> {
        self.chains += 1;
        self.nodes += 1;
        if self.chains > MAX_CHAINS { Err(format!("more than {MAX_CHAINS} operators in a row")) } else { Ok(()) }
    }
}

/// `items[0]` if it is the only item, else the list.
fn one_or(mut items: Vec<Expr>, many: impl FnOnce(Vec<Expr>) -> Expr) -> Expr {
    if items.len() == 1 { items.remove(0) } else { many(items) }
}

fn as_tuple(list: Expr) -> Expr {
    match list {
        Expr::List(items) => Expr::Tuple(items),
        other => other,
    }
}

/// The names that a list of assignments assigns; `None` if an item is no assignment.
fn names(list: &Expr) -> Option<Vec<String>> {
    let Expr::List(items) = list else { return None };
    items
        .iter()
        .map(|item| match item {
            Expr::Relation(terms, ops) if ops.first() == Some(&Rel::Eq) => match &terms[0] {
                Expr::Sym(name) => Some(name.clone()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}
