//! Parses operators with limits: sums, products, integrals, limits.

use super::token::Tok;
use super::{Parsed, Parser};
use crate::ast::{Big, Constant, Expr, Rel};

impl Parser {
    /// A sum or product, `\sum_{k=1}^{n} body`, after its sign.
    pub(super) fn with_limits(&mut self, kind: Big) -> Parsed {
        let (mut var, mut low, mut high) = (None, None, None);
        for _ in 0..2 {
            if self.eat(&Tok::Sub) {
                let limit = if self.peek() == Some(&Tok::OpenGroup) {
                    self.group_with(Self::relation)?
                } else {
                    self.argument()?
                };
                match limit {
                    Expr::Relation(mut terms, ops) if ops == [Rel::Eq] => {
                        low = terms.pop();
                        var = terms.pop();
                    }
                    other => var = Some(other),
                }
            } else if self.eat(&Tok::Sup) {
                high = Some(self.argument()?);
            }
        }
        let body = self.product()?;
        let var = match var {
            Some(Expr::Sym(name)) => name,
            Some(Expr::Const(Constant::I)) => "i".into(),
            _ => return Err("a sum whose variable is not plain".into()),
        };
        let body = if var == "i" { bind_i(&body) } else { body };
        Ok(Expr::Big { kind, var, low: low.map(Box::new), high: high.map(Box::new), body: Box::new(body) })
    }

    /// An integral, `\int_a^b body dx`, after its sign.
    pub(super) fn integral(&mut self) -> Parsed {
        let (mut low, mut high) = (None, None);
        for _ in 0..2 {
            if self.eat(&Tok::Sub) {
                low = Some(Box::new(self.argument()?));
            } else if self.eat(&Tok::Sup) {
                high = Some(Box::new(self.argument()?));
            }
        }
        let outer = std::mem::replace(&mut self.stop_at_differential, true);
        self.split_differentials();
        // If brackets contain the differential too, `d` and the variable are read as factors and removed below.
        if matches!(self.peek(), Some(Tok::Open(_) | Tok::OpenGroup)) && self.closes_after_differential() {
            self.stop_at_differential = false;
        }
        let body = if matches!(self.peek(), Some(Tok::Sym(d)) if d == "d") { Ok(Expr::int(1)) } else { self.sum() };
        self.stop_at_differential = outer;
        let mut body = body?;
        let inside = || {
            // `\int \frac{3 dx}{x}` and `\int {x dx}`: the differential is a factor of the body.
            let found = std::cell::RefCell::new(None);
            body.any(&|e| {
                if let Expr::Mul(f) = e
                    && let Some(pair) =
                        f.windows(2).find(|w| w[0] == Expr::Sym("d".into()) && matches!(w[1], Expr::Sym(_)))
                    && let Expr::Sym(x) = &pair[1]
                {
                    *found.borrow_mut() = Some(x.clone());
                }
                false
            });
            found.into_inner()
        };
        let var = match (self.peek(), self.peek_at(1)) {
            (Some(Tok::Sym(d)), Some(Tok::Sym(x))) if d == "d" => {
                let x = x.clone();
                self.at += 2;
                x
            }
            _ => {
                let var = inside().ok_or("an integral without its differential")?;
                body = without_differential(&body, &var);
                var
            }
        };
        Ok(Expr::Big { kind: Big::Integral, var, low, high, body: Box::new(body) })
    }

    /// Whether `dx` is directly before the next closing bracket.
    fn closes_after_differential(&self) -> bool {
        let rest = &self.tokens[self.at..];
        let close = rest.iter().position(|t| matches!(t.kind, Tok::Close(_) | Tok::CloseGroup));
        close.is_some_and(|c| {
            c >= 2 && matches!(&rest[c - 2].kind, Tok::Sym(d) if d == "d") && matches!(rest[c - 1].kind, Tok::Sym(_))
        })
    }

    /// Splits `dx` and `xdx`, which were lexed as words, into letters.
    fn split_differentials(&mut self) {
        let mut split = Vec::with_capacity(self.tokens.len());
        for (i, token) in self.tokens.iter().enumerate() {
            match &token.kind {
                Tok::Word(w)
                    if i >= self.at
                        && w.is_ascii()
                        && (2..=3).contains(&w.len())
                        && w[..w.len() - 1].ends_with('d') =>
                {
                    for (k, c) in w.chars().enumerate() {
                        split.push(super::Token { kind: Tok::Sym(c.to_string()), spaced: token.spaced && k == 0 });
                    }
                }
                _ => split.push(token.clone()),
            }
        }
        self.tokens = split;
    }

    /// A limit, `\lim_{x \to a} body`, after its sign.
    pub(super) fn limit(&mut self) -> Parsed {
        self.expect(&Tok::Sub)?;
        self.side = None;
        let target = self.group_with(Self::relation)?;
        // The side takes the place of the upper limit.
        let high = self.side.take().map(|above| Box::new(Expr::int(if above { 1 } else { -1 })));
        let Expr::Relation(mut terms, ops) = target else { return Err("a limit without its point".into()) };
        let (Some(point), Some(Expr::Sym(var))) = (terms.pop(), terms.pop()) else {
            return Err("a limit without its variable".into());
        };
        if ops != [Rel::Other('→')] {
            return Err("a limit without its arrow".into());
        }
        let body = self.product()?;
        Ok(Expr::Big { kind: Big::Limit, var, low: Some(Box::new(point)), high, body: Box::new(body) })
    }
}

/// Replaces the imaginary unit by the variable `i`, in the body of a sum over `i`.
fn bind_i(body: &Expr) -> Expr {
    match body {
        Expr::Const(Constant::I) => Expr::Sym("i".into()),
        other => other.map(&mut bind_i),
    }
}

/// The body without the factors `d` and `var`.
fn without_differential(body: &Expr, var: &str) -> Expr {
    if let Expr::Mul(factors) = body {
        let at = factors.windows(2).position(|w| w[0] == Expr::Sym("d".into()) && w[1] == Expr::Sym(var.into()));
        if let Some(at) = at {
            let mut rest = factors.clone();
            rest.drain(at..at + 2);
            return match rest.len() {
                0 => Expr::int(1),
                _ => super::one_or(rest, Expr::Mul),
            };
        }
    }
    body.map(&mut |child| without_differential(child, var))
}
