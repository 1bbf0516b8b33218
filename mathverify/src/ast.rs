//! The abstract syntax tree of a parsed answer.

use crate::rational::Rat;

/// A parsed answer or formula. The parser limits its depth and number of nodes, so code that walks the tree needs no
/// further limit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// A number as written; `decimals` is the number of digits after the decimal point, `None` if it has no point.
    Num {
        value: Rat,
        decimals: Option<u32>,
    },
    /// A number in an explicit base (2 to 36): its digits in lower case, the base and the value.
    Based {
        digits: String,
        base: u32,
        value: Rat,
    },
    /// π, e, i, ∞.
    Const(Constant),
    /// A variable, with its subscript and primes: `x`, `a_1`, `f'`.
    Sym(String),
    /// Words that are not part of a formula.
    Text(String),
    Add(Vec<Expr>),
    Mul(Vec<Expr>),
    Neg(Box<Expr>),
    Div(Box<Expr>, Box<Expr>),
    Pow(Box<Expr>, Box<Expr>),
    /// `±x` (`true`) or `∓x`.
    PlusMinus(Box<Expr>, bool),
    Func(Func, Vec<Expr>),
    /// An unknown function: `f(x)`.
    Apply(String, Vec<Expr>),
    /// A sum, product, integral, limit or derivative: `body` as a function of `var`. [`Big`] says what `low` and
    /// `high` are.
    Big {
        kind: Big,
        var: String,
        low: Option<Box<Expr>>,
        high: Option<Box<Expr>>,
        body: Box<Expr>,
    },
    /// Items separated by commas, semicolons, "and" or "or", without brackets.
    List(Vec<Expr>),
    /// `(a, b)`: a tuple; compared with an interval, an open interval.
    Tuple(Vec<Expr>),
    /// `[a, b, c]` (not two items: two are an interval), or `⟨a, b⟩`.
    Brackets(Vec<Expr>),
    /// `{a, b}`.
    Set(Vec<Expr>),
    /// Set-builder notation, `{x | condition}` or `{x ∈ S | condition}`: the element and its conditions.
    Builder(Box<Expr>, Vec<Expr>),
    /// An interval, except `(a, b)`, which is a [`Expr::Tuple`].
    Interval {
        low: Box<Expr>,
        high: Box<Expr>,
        low_closed: bool,
        high_closed: bool,
    },
    Union(Vec<Expr>),
    Intersection(Vec<Expr>),
    SetMinus(Box<Expr>, Box<Expr>),
    /// A named set by its letter: `R`, `Z`, `N`, `Q`, `C`; `0` is the empty set.
    NamedSet(char),
    /// Rows of equal length.
    Matrix(Vec<Vec<Expr>>),
    /// A chain of relations, `a < b <= c`: n + 1 terms and n relations.
    Relation(Vec<Expr>, Vec<Rel>),
    /// A number followed by a unit or other words.
    Quantity(Box<Expr>, String),
    Percent(Box<Expr>),
    Degrees(Box<Expr>),
    /// `3:4` or `1:2:3`; also a time of day.
    Ratio(Vec<Expr>),
}

/// Constants of mathematics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Constant {
    Pi,
    E,
    I,
    Infinity,
}

/// Functions that the crate knows. Most of them can be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Func {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Asin,
    Acos,
    Atan,
    Acot,
    Asec,
    Acsc,
    Sinh,
    Cosh,
    Tanh,
    Coth,
    Sech,
    Csch,
    Asinh,
    Acosh,
    Atanh,
    Exp,
    Ln,
    /// `log(base, x)`.
    Log,
    Sqrt,
    /// `root(n, x)`: the real `n`-th root if there is one, else the principal root.
    Root,
    Abs,
    Floor,
    Ceil,
    Sign,
    Factorial,
    DoubleFactorial,
    Binomial,
    Gcd,
    Lcm,
    Min,
    Max,
    Mod,
    Re,
    Im,
    Arg,
    /// `det(matrix)`.
    Det,
    Transpose,
}

/// Operators with a bound or differentiated variable. `low` and `high` of [`Expr::Big`] are the limits, if written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Big {
    Sum,
    Product,
    Integral,
    /// `low` is the point that `var` approaches; `high`, if present, is the side: 1 from above, -1 from below.
    Limit,
    /// The derivative with respect to `var`; `low`, if present, is the point at which it is taken.
    Derivative,
}

/// Relations between two terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Rel {
    Eq,
    Approx,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
    Subset,
    /// `≡`
    Congruent,
    /// Relations that are compared only by their symbol: `→`, `⇒`, `∥`, `⊥`, `~` and others.
    Other(char),
}

impl Rel {
    /// The same relation read from right to left; `None` if it has no converse here.
    pub(crate) fn flipped(self) -> Option<Rel> {
        Some(match self {
            Rel::Eq | Rel::Approx | Rel::Ne | Rel::Congruent => self,
            Rel::Lt => Rel::Gt,
            Rel::Le => Rel::Ge,
            Rel::Gt => Rel::Lt,
            Rel::Ge => Rel::Le,
            Rel::In | Rel::NotIn | Rel::Subset | Rel::Other(_) => return None,
        })
    }
}

impl Expr {
    /// An integer as an expression.
    pub(crate) fn int(n: i64) -> Expr {
        Expr::Num { value: crate::rational::int(n), decimals: None }
    }

    /// A rational number as an expression, without a count of decimals.
    pub(crate) fn rat(value: Rat) -> Expr {
        Expr::Num { value, decimals: None }
    }

    /// The direct children of the node, in the order of the text.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Num { .. }
            | Expr::Based { .. }
            | Expr::Const(_)
            | Expr::Sym(_)
            | Expr::Text(_)
            | Expr::NamedSet(_) => Vec::new(),
            Expr::Add(v)
            | Expr::Mul(v)
            | Expr::Func(_, v)
            | Expr::Apply(_, v)
            | Expr::List(v)
            | Expr::Tuple(v)
            | Expr::Brackets(v)
            | Expr::Set(v)
            | Expr::Union(v)
            | Expr::Intersection(v)
            | Expr::Relation(v, _)
            | Expr::Ratio(v) => v.iter().collect(),
            Expr::Neg(a) | Expr::PlusMinus(a, _) | Expr::Quantity(a, _) | Expr::Percent(a) | Expr::Degrees(a) => {
                vec![a]
            }
            Expr::Div(a, b) | Expr::Pow(a, b) | Expr::SetMinus(a, b) => vec![a, b],
            Expr::Big { low, high, body, .. } => {
                low.iter().chain(high).map(|b| &**b).chain(std::iter::once(&**body)).collect()
            }
            Expr::Builder(a, v) => std::iter::once(&**a).chain(v).collect(),
            Expr::Interval { low, high, .. } => vec![low, high],
            Expr::Matrix(rows) => rows.iter().flatten().collect(),
        }
    }

    /// Whether this node or any descendant satisfies `test`.
    pub(crate) fn any(&self, test: &dyn Fn(&Expr) -> bool) -> bool {
        test(self) || self.children().into_iter().any(|c| c.any(test))
    }

    /// The same node with each direct child replaced by `f(child)`.
    pub(crate) fn map(&self, f: &mut dyn FnMut(&Expr) -> Expr) -> Expr {
        let mut one = |e: &Expr| Box::new(f(e));
        match self {
            Expr::Neg(a) => return Expr::Neg(one(a)),
            Expr::PlusMinus(a, s) => return Expr::PlusMinus(one(a), *s),
            Expr::Quantity(a, u) => return Expr::Quantity(one(a), u.clone()),
            Expr::Percent(a) => return Expr::Percent(one(a)),
            Expr::Degrees(a) => return Expr::Degrees(one(a)),
            Expr::Div(a, b) => return Expr::Div(one(a), one(b)),
            Expr::Pow(a, b) => return Expr::Pow(one(a), one(b)),
            Expr::SetMinus(a, b) => return Expr::SetMinus(one(a), one(b)),
            Expr::Interval { low, high, low_closed, high_closed } => {
                let (low, high) = (one(low), one(high));
                return Expr::Interval { low, high, low_closed: *low_closed, high_closed: *high_closed };
            }
            Expr::Big { kind, var, low, high, body } => {
                let low = low.as_ref().map(|e| one(e));
                let high = high.as_ref().map(|e| one(e));
                return Expr::Big { kind: *kind, var: var.clone(), low, high, body: one(body) };
            }
            _ => {}
        }
        let mut all = |v: &[Expr]| v.iter().map(&mut *f).collect::<Vec<_>>();
        match self {
            Expr::Add(v) => Expr::Add(all(v)),
            Expr::Mul(v) => Expr::Mul(all(v)),
            Expr::Func(g, v) => Expr::Func(*g, all(v)),
            Expr::Apply(g, v) => Expr::Apply(g.clone(), all(v)),
            Expr::List(v) => Expr::List(all(v)),
            Expr::Tuple(v) => Expr::Tuple(all(v)),
            Expr::Brackets(v) => Expr::Brackets(all(v)),
            Expr::Set(v) => Expr::Set(all(v)),
            Expr::Union(v) => Expr::Union(all(v)),
            Expr::Intersection(v) => Expr::Intersection(all(v)),
            Expr::Relation(v, ops) => Expr::Relation(all(v), ops.clone()),
            Expr::Ratio(v) => Expr::Ratio(all(v)),
            Expr::Builder(a, v) => Expr::Builder(Box::new(f(a)), v.iter().map(f).collect()),
            Expr::Matrix(rows) => Expr::Matrix(rows.iter().map(|row| row.iter().map(&mut *f).collect()).collect()),
            leaf => leaf.clone(),
        }
    }

    /// Replaces every occurrence of the variable `name` by `value`. A derivative with respect to `name` is then taken at
    /// the point `value`.
    pub(crate) fn substitute(&self, name: &str, value: &Expr) -> Expr {
        match self {
            Expr::Sym(s) if s == name => value.clone(),
            Expr::Big { kind: Big::Derivative, var, low, high, body } if var == name => {
                let point = low.as_ref().map_or_else(|| value.clone(), |low| low.substitute(name, value));
                let (var, low) = (var.clone(), Some(Box::new(point)));
                Expr::Big { kind: Big::Derivative, var, low, high: high.clone(), body: body.clone() }
            }
            other => other.map(&mut |child| child.substitute(name, value)),
        }
    }
}
