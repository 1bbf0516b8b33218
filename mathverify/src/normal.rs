//! The algebraic normal form: quotients of polynomials in variables, π, e, i, and roots of primes.
//!
//! Two expressions with the same normal form are equal wherever both have a value. Different normal forms prove
//! nothing, because functions and nested roots are opaque atoms; then `numeric` compares the values.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::Ratio;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::ast::{Constant, Expr, Func};
use crate::budget::Budget;
use crate::numeric::exact::exact_priced;
use crate::rational::{self, Rat};
use crate::verdict::{Outcome, Tier};

/// Maximum number of terms of a polynomial.
const MAX_TERMS: usize = 300;
/// Work limit of one comparison, in multiplications of two terms.
const MAX_WORK: usize = 20_000;
/// Largest prime factor that is searched for in a number under a root.
const MAX_PRIME: u32 = 2_000;

/// Maximum length of the key of a polynomial ([`Poly::key`]), in bytes.
const MAX_KEY: usize = 4_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Atom {
    /// A prime, or a factor without primes up to [`MAX_PRIME`], under a root: its exponent is in (0, 1).
    Number(BigInt),
    Constant(Constant),
    Symbol(String),
    /// Any other subexpression, by the keys of its arguments.
    Opaque(String),
}

type Exponent = Ratio<i64>;
type Monomial = BTreeMap<Atom, Exponent>;

#[derive(Debug, Clone, PartialEq)]
struct Poly(BTreeMap<Monomial, Rat>);

#[derive(Debug, Clone, PartialEq)]
struct Quotient {
    n: Poly,
    d: Poly,
}

/// Equal if the normal forms are equal; `None` if they differ, or if the work limit is reached.
pub(crate) fn compare(a: &Expr, b: &Expr, budget: &Budget) -> Option<Outcome> {
    // A multiplication of two terms costs four units of the budget.
    let mut normal = Normal { work: 0, most: MAX_WORK.min(budget.left() / 4) };
    let outcome = normal.compare(a, b);
    budget.take(u32::try_from(normal.work.saturating_mul(4)).unwrap_or(u32::MAX));
    outcome
}
struct Normal {
    work: usize,
    most: usize,
}

impl Poly {
    fn number(value: Rat) -> Self {
        let mut map = BTreeMap::new();
        if !value.is_zero() {
            map.insert(Monomial::new(), value);
        }
        Self(map)
    }

    fn atom(atom: Atom, exponent: Exponent) -> Self {
        Self(std::iter::once((std::iter::once((atom, exponent)).collect(), Rat::one())).collect())
    }

    /// The only term of a monomial; `None` for any other polynomial.
    fn single(&self) -> Option<(&Monomial, &Rat)> {
        if self.0.len() == 1 { self.0.iter().next() } else { None }
    }

    /// The polynomial as text, to name an opaque atom; `None` beyond [`MAX_KEY`] bytes, since nested keys could grow
    /// without limit.
    fn key(&self) -> Option<String> {
        let mut out = String::new();
        for (monomial, coefficient) in &self.0 {
            out.push_str(&rational::render(coefficient));
            for (atom, exponent) in monomial {
                let name = match atom {
                    Atom::Number(n) => n.to_string(),
                    Atom::Constant(c) => format!("{c:?}"),
                    Atom::Symbol(s) => format!("'{s}'"),
                    Atom::Opaque(inner) => format!("[{inner}]"),
                };
                out.push_str(&format!("*{name}^{exponent}"));
            }
            out.push('+');
            if out.len() > MAX_KEY {
                return None;
            }
        }
        Some(out)
    }
}

impl Quotient {
    fn of(n: Poly) -> Self {
        Self { n, d: Poly::number(Rat::one()) }
    }

    fn key(&self) -> Option<String> {
        Some(format!("({})/({})", self.n.key()?, self.d.key()?))
    }
}

impl Normal {
    /// Counts a product or sum of two coefficients as work. Reducing a fraction costs the square of its length, which a
    /// count of terms does not show: `x` with percent signs between its powers is one term with a coefficient of tens
    /// of thousands of bits.
    fn pay(&mut self, a: &Rat, b: &Rat) -> Option<()> {
        let words = usize::try_from((rational::bits(a) + rational::bits(b)) / 64).ok()?;
        self.work = self.work.saturating_add(words * words / 44 + words);
        (self.work <= self.most).then_some(())
    }

    fn compare(&mut self, a: &Expr, b: &Expr) -> Option<Outcome> {
        let (x, y) = (self.quotient(a)?, self.quotient(b)?);
        let (left, right) = (self.mul(&x.n, &y.d)?, self.mul(&y.n, &x.d)?);
        // A denominator that is zero: the expression has no value.
        let nothing = x.d.0.is_empty() || y.d.0.is_empty();
        (left == right && !nothing).then(|| Outcome::equal(Tier::Algebraic, "the same normal form"))
    }

    fn add(&mut self, a: &Poly, b: &Poly) -> Option<Poly> {
        let mut out = a.clone();
        for (monomial, coefficient) in &b.0 {
            if let Some(present) = out.0.get(monomial) {
                self.pay(present, coefficient)?;
            }
            let sum =
                out.0.get(monomial).map_or_else(|| Some(coefficient.clone()), |c| rational::add(c, coefficient))?;
            if sum.is_zero() {
                out.0.remove(monomial);
            } else {
                out.0.insert(monomial.clone(), sum);
            }
        }
        (out.0.len() <= MAX_TERMS).then_some(out)
    }

    fn mul(&mut self, a: &Poly, b: &Poly) -> Option<Poly> {
        self.work += a.0.len() * b.0.len();
        if self.work > self.most {
            return None;
        }
        let mut out = Poly(BTreeMap::new());
        for (m, c) in &a.0 {
            for (n, d) in &b.0 {
                let (monomial, factor) = times(m, n)?;
                self.pay(c, d)?;
                let coefficient = rational::mul(&rational::mul(c, d)?, &factor)?;
                let sum = out
                    .0
                    .get(&monomial)
                    .map_or_else(|| Some(coefficient.clone()), |s| rational::add(s, &coefficient))?;
                if sum.is_zero() {
                    out.0.remove(&monomial);
                } else {
                    out.0.insert(monomial, sum);
                }
            }
        }
        (out.0.len() <= MAX_TERMS).then_some(out)
    }

    fn power(&mut self, base: &Poly, n: u64) -> Option<Poly> {
        let (mut result, mut base, mut n) = (Poly::number(Rat::one()), base.clone(), n);
        while n > 0 {
            if n & 1 == 1 {
                result = self.mul(&result, &base)?;
            }
            n >>= 1;
            if n > 0 {
                base = self.mul(&base, &base)?;
            }
        }
        Some(result)
    }

    fn quotient(&mut self, e: &Expr) -> Option<Quotient> {
        self.work += 1;
        if self.work > self.most {
            return None;
        }
        Some(match e {
            Expr::Num { value, .. } | Expr::Based { value, .. } => Quotient::of(Poly::number(value.clone())),
            Expr::Const(Constant::Infinity) => return None,
            Expr::Const(c) => Quotient::of(Poly::atom(Atom::Constant(*c), Exponent::one())),
            Expr::Sym(name) => Quotient::of(Poly::atom(Atom::Symbol(name.clone()), Exponent::one())),
            Expr::Neg(a) => {
                let a = self.quotient(a)?;
                Quotient { n: self.mul(&a.n, &Poly::number(-Rat::one()))?, d: a.d }
            }
            Expr::Add(terms) => {
                let mut sum = Quotient::of(Poly::number(Rat::zero()));
                for t in terms {
                    let t = self.quotient(t)?;
                    sum = if t.d == sum.d {
                        Quotient { n: self.add(&sum.n, &t.n)?, d: sum.d }
                    } else {
                        let (left, right) = (self.mul(&sum.n, &t.d)?, self.mul(&t.n, &sum.d)?);
                        Quotient { n: self.add(&left, &right)?, d: self.mul(&sum.d, &t.d)? }
                    };
                }
                sum
            }
            Expr::Mul(factors) => {
                let mut product = Quotient::of(Poly::number(Rat::one()));
                for f in factors {
                    let f = self.quotient(f)?;
                    product = Quotient { n: self.mul(&product.n, &f.n)?, d: self.mul(&product.d, &f.d)? };
                }
                product
            }
            Expr::Div(a, b) => {
                let (a, b) = (self.quotient(a)?, self.quotient(b)?);
                if b.n.0.is_empty() {
                    return None;
                }
                Quotient { n: self.mul(&a.n, &b.d)?, d: self.mul(&a.d, &b.n)? }
            }
            Expr::Percent(a) => self.quotient(&Expr::Div(a.clone(), Box::new(Expr::int(100))))?,
            Expr::Quantity(a, _) => self.quotient(a)?,
            Expr::Pow(base, exponent) => self.raise(base, exponent)?,
            Expr::Func(Func::Sqrt, a) => self.root(&a[0], Exponent::new(1, 2))?,
            Expr::Func(Func::Root, a) => {
                let n = rational::to_i64(&self.exact(&a[0])?).filter(|n| (2..=64).contains(n))?;
                self.root(a.get(1)?, Exponent::new(1, n))?
            }
            Expr::Func(f, arguments) => {
                let keys: Option<Vec<String>> = arguments.iter().map(|a| self.quotient(a)?.key()).collect();
                Quotient::of(Poly::atom(Atom::Opaque(format!("{f:?}({})", keys?.join(","))), Exponent::one()))
            }
            Expr::Apply(name, arguments) => {
                let keys: Option<Vec<String>> = arguments.iter().map(|a| self.quotient(a)?.key()).collect();
                Quotient::of(Poly::atom(Atom::Opaque(format!("{name}({})", keys?.join(","))), Exponent::one()))
            }
            _ => return None,
        })
    }

    /// The exact rational value; its cost counts as work.
    fn exact(&mut self, e: &Expr) -> Option<Rat> {
        let (value, units) = exact_priced(e, 4 * self.most.saturating_sub(self.work));
        self.work = self.work.saturating_add(units as usize / 4);
        value
    }

    fn raise(&mut self, base: &Expr, exponent: &Expr) -> Option<Quotient> {
        if let Some(r) = self.exact(exponent) {
            if let Some(n) = rational::to_i64(&r) {
                let b = self.quotient(base)?;
                if n.unsigned_abs() > 200 || (n <= 0 && b.n.0.is_empty()) {
                    return None;
                }
                let (n_, d_) = (self.power(&b.n, n.unsigned_abs())?, self.power(&b.d, n.unsigned_abs())?);
                return Some(if n >= 0 { Quotient { n: n_, d: d_ } } else { Quotient { n: d_, d: n_ } });
            }
            let r = Exponent::new(r.numer().to_i64()?, r.denom().to_i64()?);
            return (r.numer().abs() <= 64 && *r.denom() <= 64).then(|| self.root(base, r)).flatten();
        }
        let (b, x) = (self.quotient(base)?, self.quotient(exponent)?);
        Some(Quotient::of(Poly::atom(Atom::Opaque(format!("{}^{}", b.key()?, x.key()?)), Exponent::one())))
    }

    /// `base^r` for a rational `r`. A product of positive numbers, π and e, or a single atom such as a variable, gets
    /// its exponents multiplied by `r`; any other base becomes an opaque atom.
    fn root(&mut self, base: &Expr, r: Exponent) -> Option<Quotient> {
        let b = self.quotient(base)?;
        if b.n.0.is_empty() {
            return None;
        }
        if let (Some((m, c)), Some((n, d))) = (b.n.single(), b.d.single()) {
            let coefficient = rational::div(c, d)?;
            let mut monomial = m.clone();
            for (atom, exponent) in n {
                *monomial.entry(atom.clone()).or_insert_with(Exponent::zero) -= exponent;
            }
            monomial.retain(|_, e| !e.is_zero());
            let positive = |a: &Atom| matches!(a, Atom::Number(_) | Atom::Constant(Constant::Pi | Constant::E));
            // A single variable: x^(1/2). In contrast, (x²)^(1/2) is |x| and stays opaque.
            let variable = monomial.len() == 1 && coefficient.is_one() && monomial.values().all(One::is_one);
            if coefficient.is_positive() && (variable || monomial.keys().all(positive)) {
                let number = rooted(&coefficient, r)?;
                let rest = Poly(
                    std::iter::once((monomial.iter().map(|(a, e)| (a.clone(), e * r)).collect(), Rat::one())).collect(),
                );
                return Some(Quotient::of(self.mul(&number, &rest)?));
            }
        }
        Some(Quotient::of(Poly::atom(Atom::Opaque(format!("{}^{r}", b.key()?)), Exponent::one())))
    }
}

/// `number^r` for a positive number, as a rational times powers of primes with exponents in (0, 1).
fn rooted(number: &Rat, r: Exponent) -> Option<Poly> {
    let mut monomial = Monomial::new();
    for (part, sign) in [(number.numer(), 1), (number.denom(), -1)] {
        for (prime, count) in factors(part)? {
            *monomial.entry(Atom::Number(prime)).or_insert_with(Exponent::zero) +=
                r * Exponent::from_integer(count * sign);
        }
    }
    let (monomial, factor) = normalised(monomial)?;
    Some(Poly(std::iter::once((monomial, factor)).collect()))
}

/// Prime factors up to [`MAX_PRIME`] with their exponents; the cofactor that remains is treated as a prime. `None` for
/// more than 512 bits.
fn factors(n: &BigInt) -> Option<Vec<(BigInt, i64)>> {
    if n.bits() > 512 {
        return None;
    }
    let (mut rest, mut out) = (n.clone(), Vec::new());
    let mut p = 2_u32;
    while p <= MAX_PRIME && !rest.is_one() {
        let mut count = 0;
        while (&rest % p).is_zero() {
            rest /= p;
            count += 1;
        }
        if count > 0 {
            out.push((BigInt::from(p), count));
        }
        if BigInt::from(u64::from(p) * u64::from(p)) > rest {
            break;
        }
        p += if p == 2 { 1 } else { 2 };
    }
    if !rest.is_one() {
        // The cofactor is often a perfect power of one large prime: 10007².
        match (2..=4_u32).rev().find(|&k| rest.nth_root(k).pow(k) == rest) {
            Some(k) => out.push((rest.nth_root(k), i64::from(k))),
            None => out.push((rest, 1)),
        }
    }
    Some(out)
}

/// The product of two monomials, and the rational factor that [`normalised`] splits off; `None` if an exponent is too
/// large.
fn times(a: &Monomial, b: &Monomial) -> Option<(Monomial, Rat)> {
    let mut out = a.clone();
    for (atom, exponent) in b {
        let sum = out.get(atom).copied().unwrap_or_else(Exponent::zero);
        let (sn, sd) = (*sum.numer(), *sum.denom());
        if sn.abs() > 1 << 30 || sd > 1 << 20 || exponent.numer().abs() > 1 << 30 || *exponent.denom() > 1 << 20 {
            return None;
        }
        out.insert(atom.clone(), sum + exponent);
    }
    normalised(out)
}

/// Moves integer powers of numbers into the rational factor, which it returns, and reduces powers of i to i or 1.
fn normalised(mut monomial: Monomial) -> Option<(Monomial, Rat)> {
    let mut factor = Rat::one();
    monomial.retain(|_, e| !e.is_zero());
    for (atom, exponent) in &mut monomial {
        match atom {
            Atom::Number(n) => {
                let whole = exponent.floor();
                if !whole.is_zero() {
                    let power = rational::pow(&Rat::from_integer(n.clone()), whole.to_integer())?;
                    factor = rational::mul(&factor, &power)?;
                    *exponent -= whole;
                }
            }
            Atom::Constant(Constant::I) if exponent.is_integer() => {
                let turns = exponent.to_integer().mod_floor(&4);
                if turns >= 2 {
                    factor = -factor;
                }
                *exponent = Exponent::from_integer(turns % 2);
            }
            _ => {}
        }
    }
    monomial.retain(|_, e| !e.is_zero());
    Some((monomial, factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        compare(&crate::parse::parse(a).unwrap(), &crate::parse::parse(b).unwrap(), &Budget::new()).is_some()
    }

    #[test]
    fn surds_polynomials_and_complex_numbers() {
        for (a, b) in [
            ("\\sqrt{12}", "2\\sqrt{3}"),
            ("\\frac{1}{\\sqrt2+1}", "\\sqrt2-1"),
            ("\\sqrt{2}\\sqrt{3}", "\\sqrt6"),
            ("\\sqrt[3]{54}", "3\\sqrt[3]{2}"),
            ("(x+1)^2", "x^2+2x+1"),
            ("\\frac{x}{7}+\\frac27", "\\frac{x+2}{7}"),
            ("(1+i)^2", "2i"),
            ("\\frac{1}{3x^{2/3}}", "\\frac{1}{3 x^{1/3} x^{1/3}}"),
            ("\\pi^{1/2}\\pi^{1/2}", "\\pi"),
            ("2^{10.5}", "1024\\sqrt2"),
        ] {
            assert!(same(a, b), "{a} = {b}");
        }
        for (a, b) in [("\\sqrt{x^2}", "x"), ("x+1", "x+2"), ("\\sqrt{2}", "1.41421356"), ("\\sqrt[3]{2}", "\\sqrt{2}")]
        {
            assert!(!same(a, b), "{a} and {b}");
        }
    }
}
