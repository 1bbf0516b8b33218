//! Symbolic derivatives of elementary expressions, and antiderivatives of sums of powers, exponentials, sines and
//! cosines.

use crate::ast::{Constant, Expr, Func};
use crate::numeric::exact::exact;
use crate::rational::int;

fn mul(a: Expr, b: Expr) -> Expr {
    Expr::Mul(vec![a, b])
}

fn depends(e: &Expr, var: &str) -> bool {
    e.any(&|e| matches!(e, Expr::Sym(s) if s == var))
}

/// The derivative of `e` with respect to `var`; `None` if there is no rule for it.
pub(crate) fn derivative(e: &Expr, var: &str) -> Option<Expr> {
    if !depends(e, var) {
        return Some(Expr::int(0));
    }
    let d = |e: &Expr| derivative(e, var);
    Some(match e {
        Expr::Sym(_) => Expr::int(1),
        Expr::Neg(a) => Expr::Neg(Box::new(d(a)?)),
        Expr::Add(terms) => Expr::Add(terms.iter().map(d).collect::<Option<_>>()?),
        Expr::Mul(factors) => {
            // The product rule for two factors at a time keeps the result small.
            let (first, rest) = factors.split_first()?;
            if rest.is_empty() {
                return d(first);
            }
            let rest = if rest.len() == 1 { rest[0].clone() } else { Expr::Mul(rest.to_vec()) };
            Expr::Add(vec![mul(d(first)?, rest.clone()), mul(first.clone(), d(&rest)?)])
        }
        Expr::Div(a, b) => {
            let top = Expr::Add(vec![mul(d(a)?, (**b).clone()), Expr::Neg(Box::new(mul((**a).clone(), d(b)?)))]);
            Expr::Div(Box::new(top), Box::new(mul((**b).clone(), (**b).clone())))
        }
        Expr::Pow(b, n) if !depends(n, var) => {
            let lower = Expr::Add(vec![(**n).clone(), Expr::int(-1)]);
            let power = Expr::Pow(b.clone(), Box::new(exact(&lower).map_or(lower, Expr::rat)));
            Expr::Mul(vec![(**n).clone(), power, d(b)?])
        }
        Expr::Pow(b, n) => {
            // b^n = e^(n ln b)
            let exponent = mul((**n).clone(), Expr::Func(Func::Ln, vec![(**b).clone()]));
            mul(e.clone(), d(&exponent)?)
        }
        Expr::Func(Func::Ln, a) => Expr::Div(Box::new(d(&a[0])?), Box::new(a[0].clone())),
        Expr::Func(f, a) if a.len() == 1 => {
            let x = a[0].clone();
            let outer = match f {
                Func::Sin => Expr::Func(Func::Cos, vec![x.clone()]),
                Func::Cos => Expr::Neg(Box::new(Expr::Func(Func::Sin, vec![x.clone()]))),
                Func::Tan => Expr::Pow(Box::new(Expr::Func(Func::Sec, vec![x.clone()])), Box::new(Expr::int(2))),
                Func::Exp => e.clone(),
                Func::Sqrt => Expr::Div(Box::new(Expr::int(1)), Box::new(mul(Expr::int(2), e.clone()))),
                _ => return None,
            };
            mul(outer, d(&x)?)
        }
        _ => return None,
    })
}

/// An antiderivative of a sum of `c x^n`, `c / x`, `c e^x`, `c sin x` and `c cos x`, where `x` is `var` and `c` does
/// not depend on `x`; `None` for any other expression.
pub(crate) fn antiderivative(e: &Expr, var: &str) -> Option<Expr> {
    let x = || Expr::Sym(var.to_owned());
    if !depends(e, var) {
        return Some(mul(e.clone(), x()));
    }
    let power = |n: &Expr| {
        let up = exact(n)? + int(1);
        if up == int(0) {
            return Some(Expr::Func(Func::Ln, vec![Expr::Func(Func::Abs, vec![x()])]));
        }
        let raised = Expr::Pow(Box::new(x()), Box::new(Expr::rat(up.clone())));
        Some(Expr::Div(Box::new(raised), Box::new(Expr::rat(up))))
    };
    Some(match e {
        Expr::Sym(_) => power(&Expr::int(1))?,
        Expr::Neg(a) => Expr::Neg(Box::new(antiderivative(a, var)?)),
        Expr::Add(terms) => Expr::Add(terms.iter().map(|t| antiderivative(t, var)).collect::<Option<_>>()?),
        Expr::Mul(factors) => {
            let (with, without): (Vec<_>, Vec<_>) = factors.iter().cloned().partition(|f| depends(f, var));
            if with.len() != 1 || without.is_empty() {
                return None;
            }
            Expr::Mul(without.into_iter().chain(std::iter::once(antiderivative(&with[0], var)?)).collect())
        }
        Expr::Div(a, b) if !depends(b, var) => Expr::Div(Box::new(antiderivative(a, var)?), b.clone()),
        Expr::Div(a, b) if !depends(a, var) => {
            let inner = match &**b {
                Expr::Sym(_) => power(&Expr::int(-1))?,
                Expr::Pow(base, n) if **base == x() => power(&Expr::Neg(n.clone()))?,
                _ => return None,
            };
            mul((**a).clone(), inner)
        }
        Expr::Pow(base, n) if **base == x() && !depends(n, var) => power(n)?,
        Expr::Pow(base, n) if **base == Expr::Const(Constant::E) && **n == x() => e.clone(),
        Expr::Func(f, a) if a.len() == 1 && a[0] == x() => match f {
            Func::Sin => Expr::Neg(Box::new(Expr::Func(Func::Cos, a.clone()))),
            Func::Cos => Expr::Func(Func::Sin, a.clone()),
            Func::Exp => e.clone(),
            Func::Sqrt => power(&Expr::rat(crate::rational::ratio(1, 2)))?,
            _ => return None,
        },
        _ => return None,
    })
}

/// Whether an antiderivative that [`antiderivative`] returned has no finite value at zero, where its derivative then has
/// a pole: it contains `ln |x|` or a negative power of x, where `x` is `var`. There are no other poles.
pub(crate) fn has_pole(antiderivative: &Expr, var: &str) -> bool {
    antiderivative.any(&|e| match e {
        Expr::Func(Func::Ln, a) => a.iter().any(|a| depends(a, var)),
        Expr::Pow(base, n) => depends(base, var) && exact(n).is_none_or(|n| n < int(0)),
        _ => false,
    })
}
