//! Operands: numbers, symbols, functions, fractions, roots, operators with limits.

use super::delimited::repeating;
use super::operators::{based, number_of};
use super::token::Tok;
use super::{Parsed, Parser};
use crate::ast::{Big, Constant, Expr, Func, Rel};

impl Parser {
    /// An operand without its powers, subscripts and postfix operators.
    pub(super) fn prefix(&mut self) -> Parsed {
        let Some(tok) = self.next() else { return Err("an unfinished formula".into()) };
        match tok {
            Tok::Num(text) => self.maybe_repeating(&text),
            Tok::Based(digits, base) => based(&digits, base).ok_or_else(|| "digits that are none in that base".into()),
            Tok::Vulgar(n, d) => Ok(Expr::rat(crate::rational::ratio(n, d))),
            Tok::Sym(name) if name == "∠" => {
                // `\angle ABC` is a name.
                let mut letters = String::from("∠");
                while let Some(Tok::Sym(s) | Tok::Word(s)) = self.peek() {
                    letters.push_str(s);
                    self.at += 1;
                }
                Ok(Expr::Sym(letters))
            }
            // `\triangle ABC` is a name too. The order of its letters counts: `\triangle ABC \cong \triangle DEF`.
            Tok::Sym(name)
                if name == "△" && matches!(self.peek(), Some(Tok::Word(w)) if w.chars().all(char::is_uppercase)) =>
            {
                let Some(Tok::Word(letters)) = self.next() else { return Err("a triangle without letters".into()) };
                Ok(Expr::Sym(format!("△{letters}")))
            }
            Tok::Sym(name) => self.symbol(name),
            Tok::Const(c) => Ok(Expr::Const(c)),
            Tok::Word(word) => Ok(self.word_operand(word)),
            Tok::Text(text) => Ok(Expr::Text(text)),
            Tok::NamedSet(letter) => Ok(Expr::NamedSet(letter)),
            Tok::Open(bracket) => self.deeper(|p| p.bracketed(bracket)),
            Tok::OpenGroup => {
                self.at -= 1;
                self.deeper(Self::group)
            }
            Tok::Bar | Tok::DoubleBar => self.deeper(|p| p.absolute(&tok)),
            // A French interval, open on the left: `]a, b[`
            Tok::Close(']') => self.deeper(|p| p.bracketed(']')),
            Tok::Frac => self.fraction(),
            Tok::Binom => {
                let (n, k) = (self.argument()?, self.argument()?);
                Ok(Expr::Func(Func::Binomial, vec![n, k]))
            }
            Tok::Func(f) => self.deeper(|p| p.function(f)),
            Tok::Sum => self.deeper(|p| p.with_limits(Big::Sum)),
            Tok::Product => self.deeper(|p| p.with_limits(Big::Product)),
            Tok::Integral => self.deeper(Self::integral),
            Tok::Limit => self.deeper(Self::limit),
            Tok::Accent(mark) => {
                let inner = self.argument()?;
                accented(inner, mark)
            }
            Tok::Begin(name) => self.deeper(|p| p.environment(&name)),
            Tok::Currency(c) => {
                let amount = self.deeper(Self::power)?;
                Ok(Expr::Quantity(Box::new(amount), c.to_string()))
            }
            Tok::Ellipsis => Ok(Expr::Sym("…".into())),
            other => Err(format!("{other:?} where an operand should be")),
        }
    }

    /// Up to three ASCII letters are a product of variables: takes the first letter and leaves the rest in the tokens,
    /// so that a power belongs to the last letter. Any other word is text.
    fn word_operand(&mut self, word: String) -> Expr {
        let mut letters = word.chars();
        // Common English words, and words after other words, are not products.
        let sentence = |word: &str| {
            matches!(
                word,
                "The"
                    | "the"
                    | "So"
                    | "We"
                    | "It"
                    | "Her"
                    | "His"
                    | "She"
                    | "He"
                    | "was"
                    | "are"
                    | "Our"
                    | "Its"
                    | "if"
                    | "If"
                    | "of"
                    | "for"
                    | "but"
                    | "not"
                    | "has"
            )
        };
        let before = self.at.checked_sub(2).map(|at| &self.tokens[at].kind);
        let after_words = matches!(before, Some(Tok::Word(w)) if w.len() > 3 || sentence(w));
        let short = word.len() <= 3 && word.is_ascii() && !sentence(&word) && !after_words;
        let (Some(first), true) = (letters.next(), short) else { return Expr::Text(word) };
        let rest = letters.as_str();
        if !rest.is_empty() {
            self.at -= 1;
            let kind = match rest {
                "e" => Tok::Const(Constant::E),
                "i" => Tok::Const(Constant::I),
                one if one.len() == 1 => Tok::Sym(one.into()),
                more => Tok::Word(more.into()),
            };
            self.tokens[self.at] = super::Token { kind, spaced: false };
        }
        match first {
            'e' => Expr::Const(Constant::E),
            'i' => Expr::Const(Constant::I),
            other => Expr::Sym(other.to_string()),
        }
    }

    /// A number, perhaps with a repeating block after its decimals: `0.1\overline{6}`, `0.(6)`, `0.\dot{3}`.
    fn maybe_repeating(&mut self, text: &str) -> Parsed {
        let block = match (self.peek(), self.peek_at(1), self.peek_at(2), self.peek_at(3)) {
            (Some(Tok::Accent("bar" | "dot")), Some(Tok::OpenGroup), Some(Tok::Num(b)), Some(Tok::CloseGroup)) => {
                Some((b.clone(), 4))
            }
            (Some(Tok::Accent("bar" | "dot")), Some(Tok::Num(b)), ..) => Some((b.clone(), 2)),
            (Some(Tok::Open('(')), Some(Tok::Num(b)), Some(Tok::Close(')')), _)
                if !self.spaced() && text.ends_with('.') =>
            {
                Some((b.clone(), 3))
            }
            _ => None,
        };
        if let Some((block, length)) = block
            && text.contains('.')
            && let Some((value, decimals)) = crate::rational::decimal(text)
            && let Some(value) = repeating(&value, decimals, &block)
        {
            self.at += length;
            return Ok(Expr::rat(value));
        }
        number_of(text)
    }

    /// A number token.
    pub(super) fn number(&mut self) -> Parsed {
        match self.next() {
            Some(Tok::Num(text)) => number_of(&text),
            _ => Err("expected a number".into()),
        }
    }

    /// The argument of a LaTeX command: a group, one digit, or one operand with an optional minus.
    pub(super) fn argument(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::OpenGroup) => self.deeper(Self::group),
            Some(Tok::Num(text)) => {
                // `\frac12`: each argument is one digit.
                let text = text.clone();
                let mut chars = text.chars();
                match chars.next() {
                    Some(first) if first.is_ascii_digit() && text.len() > 1 && !text.contains('.') => {
                        let spaced = false;
                        self.tokens[self.at] = super::Token { kind: Tok::Num(chars.collect()), spaced };
                        number_of(&first.to_string())
                    }
                    _ => {
                        self.at += 1;
                        number_of(&text)
                    }
                }
            }
            Some(Tok::Minus) => {
                self.at += 1;
                Ok(Expr::Neg(Box::new(self.deeper(Self::argument)?)))
            }
            _ => self.deeper(Self::prefix),
        }
    }

    /// `\frac{a}{b}`, or the derivative `\frac{d}{dx} f`.
    fn fraction(&mut self) -> Parsed {
        if let Some(var) = self.derivative_by() {
            let body = self.deeper(Self::product)?;
            return Ok(Expr::Big { kind: Big::Derivative, var, low: None, high: None, body: Box::new(body) });
        }
        // `frac(1, 2)` is not LaTeX, and fails here.
        let (n, d) = (self.argument()?, self.argument()?);
        Ok(Expr::Div(Box::new(n), Box::new(d)))
    }

    /// Consumes `{d}{dx}` and returns the variable; `None` if something else follows.
    fn derivative_by(&mut self) -> Option<String> {
        let kinds: Vec<&Tok> = (0..7).filter_map(|i| self.peek_at(i)).collect();
        let d = |t: &Tok| matches!(t, Tok::Sym(s) if s == "d");
        let (var, length) = match kinds[..] {
            [Tok::OpenGroup, a, Tok::CloseGroup, Tok::OpenGroup, b, Tok::Sym(x), Tok::CloseGroup] if d(a) && d(b) => {
                (x.clone(), 7)
            }
            [Tok::OpenGroup, a, Tok::CloseGroup, Tok::OpenGroup, Tok::Word(w), Tok::CloseGroup, ..]
                if d(a) && w.len() == 2 && w.starts_with('d') =>
            {
                (w[1..].to_owned(), 6)
            }
            _ => return None,
        };
        self.at += length;
        Some(var)
    }

    /// Whether `(names and numbers) =` follows: `p(x) = ...`, `E(2020, 1993) = 76`.
    fn is_function_left_of_equation(&self) -> bool {
        if self.peek() != Some(&Tok::Open('(')) || self.spaced() {
            return false;
        }
        let mut ahead = 1;
        while matches!(self.peek_at(ahead), Some(Tok::Sym(_) | Tok::Num(_) | Tok::Comma | Tok::Minus)) && ahead < 12 {
            ahead += 1;
        }
        ahead > 1
            && self.peek_at(ahead) == Some(&Tok::Close(')'))
            && matches!(self.peek_at(ahead + 1), Some(Tok::Relation(Rel::Eq)))
    }

    /// Whether `^{-1}(` follows.
    fn inverse_mark(&self) -> bool {
        let kinds: Vec<Option<&Tok>> = (0..6).map(|i| self.peek_at(i)).collect();
        matches!(
            kinds[..],
            [Some(Tok::Sup), Some(Tok::OpenGroup), Some(Tok::Minus), Some(Tok::Num(one)), Some(Tok::CloseGroup), Some(Tok::Open('('))]
                if one == "1"
        )
    }

    /// A name, or a function with its arguments.
    fn symbol(&mut self, name: String) -> Parsed {
        // Only the usual names of functions take arguments: `f(x)`. In contrast, `x(x + 1)` is a product.
        let function = self.is_function_left_of_equation()
            || matches!(&*name, "f" | "g" | "h" | "F" | "G" | "H" | "P" | "Q" | "W" | "T" | "phi" | "psi");
        let name_end = self.at;
        let full = match self.peek() {
            Some(Tok::Sub) if function => {
                self.at += 1;
                match self.subscripted(Expr::Sym(name.clone()))? {
                    Expr::Sym(s) => s,
                    other => return Ok(other),
                }
            }
            // `f^{-1}(x)`
            Some(Tok::Sup) if function && self.inverse_mark() => {
                self.at += 5;
                format!("{name}⁻¹")
            }
            Some(Tok::Prime) if function => {
                let mut n = name.clone();
                while self.eat(&Tok::Prime) {
                    n.push('\'');
                }
                n
            }
            _ => name.clone(),
        };
        if function && self.peek() == Some(&Tok::Open('(')) && !self.spaced() {
            self.at += 1;
            let arguments = match self.deeper(|p| p.bracketed('('))? {
                Expr::Tuple(items) => items,
                other => vec![other],
            };
            return Ok(Expr::Apply(full, arguments));
        }
        if full != name {
            return Ok(Expr::Sym(full));
        }
        self.at = name_end;
        if name == "C" && self.peek() == Some(&Tok::Open('(')) && !self.spaced() {
            let before = (self.at, self.depth);
            self.at += 1;
            if let Ok(Expr::Tuple(items)) = self.deeper(|p| p.bracketed('('))
                && items.len() == 2
            {
                return Ok(Expr::Func(Func::Binomial, items));
            }
            (self.at, self.depth) = before;
        }
        Ok(Expr::Sym(name))
    }

    /// Reads the subscript of `base`: the result is a name with a subscript, or a number in another base.
    pub(super) fn subscripted(&mut self, base: Expr) -> Parsed {
        let start = self.at;
        // The subscript as text becomes part of a name.
        let rendered = self.subscript_text()?;
        match &base {
            Expr::Sym(name) => Ok(Expr::Sym(format!("{name}_{rendered}"))),
            Expr::Num { value, decimals: None } if value.is_integer() => {
                let words = [
                    ("two", 2),
                    ("three", 3),
                    ("four", 4),
                    ("five", 5),
                    ("six", 6),
                    ("seven", 7),
                    ("eight", 8),
                    ("nine", 9),
                    ("ten", 10),
                ];
                let base_number = rendered.parse::<u32>().ok();
                let base_number = base_number.or_else(|| words.iter().find(|w| w.0 == rendered).map(|w| w.1));
                // The digits as written: `value` has no leading zeros.
                let written = match self.tokens[..start].iter().rev().find_map(|t| match &t.kind {
                    Tok::Num(n) => Some(n.clone()),
                    _ => None,
                }) {
                    Some(n) => n,
                    None => value.to_integer().to_string(),
                };
                base_number
                    .and_then(|b| based(&written, b))
                    .ok_or_else(|| "a number with a subscript that is not a base".into())
            }
            // `(ab)_1`, `(5 cm)_1`
            Expr::Mul(_) | Expr::Quantity(..) => Err("a subscript after a product".into()),
            Expr::Apply(name, args) => Ok(Expr::Apply(format!("{name}_{rendered}"), args.clone())),
            Expr::Text(name) => Ok(Expr::Sym(format!("{name}_{rendered}"))),
            Expr::Pow(b, e) => match &**b {
                Expr::Sym(name) => Ok(Expr::Pow(Box::new(Expr::Sym(format!("{name}_{rendered}"))), e.clone())),
                _ => Err("a subscript after a power".into()),
            },
            _ => Err("a subscript after something other than a name or a number".into()),
        }
    }

    /// Consumes a subscript; its tokens as text without spaces.
    fn subscript_text(&mut self) -> Result<String, String> {
        let mut depth = 0;
        let mut text = String::new();
        loop {
            let Some(tok) = self.next() else {
                return if depth == 0 {
                    Err("an empty subscript".into())
                } else {
                    Err("an unfinished subscript".into())
                };
            };
            match tok {
                Tok::OpenGroup => depth += 1,
                Tok::CloseGroup => depth -= 1,
                Tok::Num(s) | Tok::Sym(s) | Tok::Word(s) | Tok::Text(s) => text.push_str(&s),
                Tok::Const(Constant::E) => text.push('e'),
                Tok::Const(Constant::I) => text.push('i'),
                Tok::Const(Constant::Pi) => text.push('π'),
                Tok::Const(Constant::Infinity) => text.push('∞'),
                Tok::Plus => text.push('+'),
                Tok::Minus => text.push('-'),
                Tok::Comma => text.push(','),
                Tok::Sup => text.push('^'),
                Tok::Open(_) => text.push('('),
                Tok::Close(_) => text.push(')'),
                Tok::Prime => text.push('\''),
                Tok::Times => text.push('*'),
                Tok::Slash => text.push('/'),
                Tok::Colon => text.push(':'),
                Tok::Func(f) => text.push_str(&format!("{f:?}").to_lowercase()),
                Tok::Sub => {}
                other => return Err(format!("{other:?} in a subscript")),
            }
            if depth <= 0 {
                return if text.is_empty() { Err("an empty subscript".into()) } else { Ok(text) };
            }
        }
    }
}

/// A name with an accent: `\vec{v}`, `\overline{AB}`.
fn accented(inner: Expr, mark: &'static str) -> Parsed {
    match (inner, mark) {
        (Expr::Sym(name), _) => Ok(Expr::Sym(format!("{mark}{{{name}}}"))),
        // `\overline{AB}`: a segment, or the digits of a number.
        (Expr::Mul(factors), "bar" | "vec") => {
            let mut name = String::new();
            for factor in &factors {
                match factor {
                    Expr::Sym(s) if s.len() == 1 => name.push_str(s),
                    _ => return Err("a line over a formula".into()),
                }
            }
            Ok(Expr::Sym(format!("{mark}{{{name}}}")))
        }
        (_, mark) => Err(format!("{mark} over a formula")),
    }
}
