//! Parses functions with their arguments.

use super::operators::small;
use super::token::Tok;
use super::{Parsed, Parser};
use crate::ast::{Constant, Expr, Func};

impl Parser {
    /// A function after its name: subscript, power and arguments.
    pub(super) fn function(&mut self, f: Func) -> Parsed {
        match f {
            Func::Sqrt => {
                if self.peek() == Some(&Tok::Open('[')) {
                    self.at += 1;
                    let index = self.sum()?;
                    self.expect(&Tok::Close(']'))?;
                    let inner = self.radicand()?;
                    return Ok(match small(&index) {
                        Some(2) => Expr::Func(Func::Sqrt, vec![inner]),
                        _ => Expr::Func(Func::Root, vec![index, inner]),
                    });
                }
                let inner = self.radicand()?;
                Ok(Expr::Func(Func::Sqrt, vec![inner]))
            }
            Func::Root => {
                let inner = self.radicand()?;
                Ok(Expr::Func(Func::Root, vec![Expr::int(3), inner]))
            }
            Func::Log => {
                let base = if self.eat(&Tok::Sub) { Some(self.argument()?) } else { None };
                let power = self.function_power()?;
                let mut arguments = self.function_arguments()?;
                let value = match (base, arguments.len()) {
                    (Some(base), 1) => Expr::Func(Func::Log, vec![base, arguments.remove(0)]),
                    (None, 1) => Expr::Func(Func::Ln, arguments),
                    // `log(x, base)`, as in programs.
                    (None, 2) => {
                        arguments.swap(0, 1);
                        Expr::Func(Func::Log, arguments)
                    }
                    _ => return Err("a logarithm of several arguments".into()),
                };
                Ok(raised(value, power))
            }
            Func::Mod => {
                // `\pmod{m}` alone.
                Err("mod without a left operand".into())
            }
            // In `\max = 9`, the function is the name of a value.
            Func::Min | Func::Max if matches!(self.peek(), Some(Tok::Relation(_))) => {
                Ok(Expr::Sym(if f == Func::Min { "min" } else { "max" }.into()))
            }
            // `\max f` is the maximum of a function, which has no value here.
            Func::Min | Func::Max if !matches!(self.peek(), Some(Tok::Open(_) | Tok::OpenGroup | Tok::Sub)) => {
                Err("an extreme value of something without parentheses".into())
            }
            Func::Gcd | Func::Lcm | Func::Min | Func::Max | Func::Binomial => {
                if self.eat(&Tok::Sub) {
                    return Err("an operator with a subscript".into());
                }
                let arguments = self.function_arguments()?;
                let right = f != Func::Binomial || arguments.len() == 2;
                if right { Ok(Expr::Func(f, arguments)) } else { Err("binomial needs two arguments".into()) }
            }
            _ => {
                let power = self.function_power()?;
                // `sin^{-1}` is the inverse function.
                let (f, power) = match (&power, inverse(f)) {
                    (Some(Expr::Neg(one)), Some(inverse)) if **one == Expr::int(1) => (inverse, None),
                    _ => (f, power),
                };
                let arguments = self.function_arguments()?;
                if arguments.len() != 1 {
                    return Err("a function of several arguments".into());
                }
                Ok(raised(Expr::Func(f, arguments), power))
            }
        }
    }

    /// The power of a function before its arguments: `\sin^2 x`.
    fn function_power(&mut self) -> Result<Option<Expr>, String> {
        if self.eat(&Tok::Sup) { Ok(Some(self.argument()?)) } else { Ok(None) }
    }

    /// The operand of a root: a group, parentheses, or one operand.
    fn radicand(&mut self) -> Parsed {
        match self.peek() {
            Some(Tok::OpenGroup) => self.group(),
            Some(Tok::Num(_)) => self.number(),
            Some(Tok::Open('(')) => {
                self.at += 1;
                self.bracketed('(')
            }
            _ => self.deeper(Self::prefix),
        }
    }

    /// The arguments of a function: `(a, b)`, `{a}`, or a product without parentheses, so that `\sin 2x \cos x` is
    /// `sin(2x) cos(x)`.
    fn function_arguments(&mut self) -> Result<Vec<Expr>, String> {
        let delimited = matches!(self.peek(), Some(Tok::Open('(' | '[' | '{') | Tok::OpenGroup));
        if delimited {
            let value = self.prefix()?;
            // No postfix operator is read here: in `sin(x)^2` and `sin(x)!`, it applies to the value of the function.
            return Ok(match value {
                Expr::Tuple(items) | Expr::Brackets(items) | Expr::Set(items) | Expr::List(items) => items,
                Expr::Interval { low, high, .. } => vec![*low, *high],
                // `\sin[x]`
                Expr::Apply(name, items) if name == super::BRACKETS => items,
                other => vec![other],
            });
        }
        let mut factors = Vec::new();
        if self.peek() == Some(&Tok::Minus) {
            self.at += 1;
            let rest = self.function_arguments()?;
            return Ok(rest.into_iter().map(|e| Expr::Neg(Box::new(e))).collect());
        }
        loop {
            factors.push(self.power()?);
            self.nodes += 1;
            // The argument continues over simple factors only: `\ln 2x / 3` is `ln(2x) / 3`.
            let next_is_simple = matches!(self.peek(), Some(Tok::Sym(_) | Tok::Const(_) | Tok::Num(_) | Tok::Word(_)));
            let ends = matches!(factors.last(), Some(Expr::Func(..) | Expr::Tuple(_) | Expr::Quantity(..)));
            if !next_is_simple || ends || !self.starts_factor() {
                break;
            }
            if matches!(self.peek(), Some(Tok::Word(w)) if w.len() > 3) {
                break;
            }
        }
        // `\cos \pi/7` is `cos(π/7)`: only for a slash without spaces between π and a number.
        if self.peek() == Some(&Tok::Slash)
            && !self.spaced()
            && matches!(factors.last(), Some(Expr::Const(Constant::Pi)))
            && matches!(self.peek_at(1), Some(Tok::Num(_)))
        {
            self.at += 1;
            let denominator = self.number()?;
            let numerator = super::one_or(factors, Expr::Mul);
            return Ok(vec![Expr::Div(Box::new(numerator), Box::new(denominator))]);
        }
        Ok(vec![super::one_or(factors, Expr::Mul)])
    }
}

/// `value^power`, or `value` if there is no power.
fn raised(value: Expr, power: Option<Expr>) -> Expr {
    match power {
        Some(power) => Expr::Pow(Box::new(value), Box::new(power)),
        None => value,
    }
}

/// The inverse of a trigonometric or hyperbolic function.
fn inverse(f: Func) -> Option<Func> {
    Some(match f {
        Func::Sin => Func::Asin,
        Func::Cos => Func::Acos,
        Func::Tan => Func::Atan,
        Func::Cot => Func::Acot,
        Func::Sec => Func::Asec,
        Func::Csc => Func::Acsc,
        Func::Sinh => Func::Asinh,
        Func::Cosh => Func::Acosh,
        Func::Tanh => Func::Atanh,
        _ => return None,
    })
}
