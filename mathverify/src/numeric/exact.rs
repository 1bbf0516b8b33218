//! The exact rational value of an expression without variables.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::ast::{Expr, Func};
use crate::budget::Budget;
use crate::rational::{self, Rat};

/// Maximum cost of one exact value, in steps of about 25 ns: about 1 ms. Even short texts can be expensive: an answer
/// with a hundred percent signs reduces a fraction a hundred times.
const MOST: u64 = 40_000;
/// Number of steps per unit of a [`Budget`].
const PER_UNIT: u64 = 20;

/// Number of steps of one operation on two fractions with `bits` bits in total. A reduction takes as many rounds as
/// there are bits, and every round passes over the whole length.
fn steps(bits: u64) -> u64 {
    let words = bits / 64;
    words.saturating_mul(words + 70)
}

/// The exact value; `None` if it is irrational, not supported, or costs more than [`MOST`].
pub(crate) fn exact(e: &Expr) -> Option<Rat> {
    Exact { left: MOST }.value(e)
}

/// Like [`exact`], and charges the cost to `budget`.
pub(crate) fn exact_paid(e: &Expr, budget: &Budget) -> Option<Rat> {
    let (value, units) = exact_priced(e, budget.left());
    budget.take(units);
    value
}

/// Like [`exact`], with at most `units` budget units; also returns the number of units used.
pub(crate) fn exact_priced(e: &Expr, units: usize) -> (Option<Rat>, u32) {
    let most = MOST.min((units as u64).saturating_mul(PER_UNIT));
    let mut exact = Exact { left: most };
    let value = exact.value(e);
    (value, u32::try_from((most - exact.left) / PER_UNIT).unwrap_or(u32::MAX))
}

/// The cost of `operations` operations on two numbers, in units of a budget.
pub(crate) fn price(a: &Rat, b: &Rat, operations: u64) -> u32 {
    let steps = steps(rational::bits(a) + rational::bits(b));
    u32::try_from(operations.saturating_mul(steps) / PER_UNIT).unwrap_or(u32::MAX)
}

/// An evaluation with its remaining steps.
struct Exact {
    left: u64,
}

impl Exact {
    fn pay(&mut self, cost: u64) -> Option<()> {
        let left = self.left.checked_sub(cost);
        self.left = left.unwrap_or(0);
        left.map(|_| ())
    }

    /// Charges one operation on numbers with `bits` bits in total.
    fn pay_bits(&mut self, bits: u64) -> Option<()> {
        self.pay(steps(bits))
    }

    fn two(&mut self, a: &Rat, b: &Rat, f: fn(&Rat, &Rat) -> Option<Rat>) -> Option<Rat> {
        self.pay_bits(rational::bits(a) + rational::bits(b))?;
        f(a, b)
    }

    fn pow(&mut self, base: &Rat, n: i64) -> Option<Rat> {
        let words = rational::bits(base).saturating_mul(n.unsigned_abs()).min(rational::MAX_BITS) / 64;
        self.pay(words * words / 20)?;
        rational::pow(base, n)
    }

    fn root(&mut self, r: &Rat, n: u32) -> Option<Rat> {
        self.pay_bits(rational::bits(r) / 2)?;
        rational::root(r, n)
    }

    fn value(&mut self, e: &Expr) -> Option<Rat> {
        match e {
            Expr::Num { value, .. } | Expr::Based { value, .. } => Some(value.clone()),
            Expr::Neg(a) => Some(-self.value(a)?),
            Expr::Add(terms) => {
                let mut sum = Rat::zero();
                for term in terms {
                    let term = self.value(term)?;
                    sum = self.two(&sum, &term, rational::add)?;
                }
                Some(sum)
            }
            Expr::Mul(factors) => {
                let mut product = Rat::one();
                for factor in factors {
                    let factor = self.value(factor)?;
                    product = self.two(&product, &factor, rational::mul)?;
                }
                Some(product)
            }
            Expr::Div(a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                self.two(&a, &b, rational::div)
            }
            Expr::Pow(b, n) => {
                let (b, n) = (self.value(b)?, self.value(n)?);
                if let Some(n) = rational::to_i64(&n) {
                    return if n == 0 && b.is_zero() { None } else { self.pow(&b, n) };
                }
                let root = self.root(&b, n.denom().to_u32().filter(|d| *d <= 64)?)?;
                self.pow(&root, n.numer().to_i64()?)
            }
            Expr::Percent(a) => {
                let a = self.value(a)?;
                self.two(&a, &rational::int(100), rational::div)
            }
            Expr::Func(Func::Sqrt, a) => {
                let value = self.value(a.first()?)?;
                self.root(&value, 2)
            }
            Expr::Func(Func::Root, a) => {
                let n = rational::to_i64(&self.value(a.first()?)?)?;
                let value = self.value(a.get(1)?)?;
                self.root(&value, u32::try_from(n).ok().filter(|n| (1..=64).contains(n))?)
            }
            Expr::Func(f, a) => {
                let mut values = Vec::with_capacity(a.len());
                for argument in a {
                    values.push(self.value(argument)?);
                }
                let bits: u64 = values.iter().map(rational::bits).sum();
                self.pay_bits(bits)?;
                match f {
                    Func::Factorial | Func::DoubleFactorial | Func::Binomial => self.pay(2_400)?,
                    // `mod` is a division, a multiplication and a subtraction.
                    Func::Mod => self.pay_bits(2 * bits)?,
                    _ => {}
                }
                function(*f, &values)
            }
            _ => None,
        }
    }
}

/// Largest n of an exact n!, and largest k (or n - k, if smaller) of an exact C(n, k).
const MAX_FACTORIAL: i64 = 700;
const MAX_CHOSEN: i64 = 350;

/// The exact value of a function of exact arguments; `None` if it has none.
fn function(f: Func, a: &[Rat]) -> Option<Rat> {
    let whole = |r: &Rat| rational::to_i64(r);
    match f {
        Func::Factorial => {
            let n = whole(a.first()?)?;
            (0..=MAX_FACTORIAL).contains(&n).then(|| Rat::from_integer((1..=n).fold(BigInt::one(), |p, k| p * k)))
        }
        Func::DoubleFactorial => {
            let n = whole(a.first()?)?;
            (0..=MAX_FACTORIAL)
                .contains(&n)
                .then(|| Rat::from_integer((1..=n).rev().step_by(2).fold(BigInt::one(), |p, k| p * k)))
        }
        Func::Binomial => {
            let (n, k) = (whole(a.first()?)?, whole(a.get(1)?)?);
            if n < 0 || k < 0 || n > 20_000 {
                return None;
            }
            if k > n {
                return Some(Rat::zero());
            }
            let k = k.min(n - k);
            if k > MAX_CHOSEN {
                return None;
            }
            let mut value = BigInt::one();
            for j in 0..k {
                value *= n - j;
                value /= j + 1;
            }
            Some(Rat::from_integer(value))
        }
        Func::Gcd | Func::Lcm => {
            // Defined for fractions too: the largest number that divides all, and the smallest that all divide.
            let mut all = a.iter().map(Signed::abs);
            let first = all.next()?;
            all.try_fold(first, |x, y| {
                if rational::bits(&x) + rational::bits(&y) > rational::MAX_BITS {
                    return None;
                }
                let (nx, ny, dx, dy) = (x.numer(), y.numer(), x.denom(), y.denom());
                if f == Func::Gcd {
                    return Some(Rat::new(nx.gcd(ny), dx.lcm(dy)));
                }
                if x.is_zero() || y.is_zero() { Some(Rat::zero()) } else { Some(Rat::new(nx.lcm(ny), dx.gcd(dy))) }
            })
        }
        Func::Mod => {
            let (x, m) = (a.first()?, a.get(1)?);
            if m.is_zero() {
                return None;
            }
            Some(x - m * (x / m).floor())
        }
        Func::Abs => Some(a.first()?.abs()),
        Func::Floor => Some(a.first()?.floor()),
        Func::Ceil => Some(a.first()?.ceil()),
        Func::Min => a.iter().min().cloned(),
        Func::Max => a.iter().max().cloned(),
        Func::Sign => Some(a.first()?.signum()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by fuzzing: this input took four seconds before reductions counted against the budget.
    #[test]
    fn fractions_that_grow_are_given_up() {
        let percent = |n: usize| "%".repeat(n);
        let text = format!("{}{}^8{}^8{}^3{}^3", "7".repeat(99), percent(16), percent(20), percent(16), percent(19));
        let e = crate::parse::parse(&text).unwrap();
        let (value, units) = exact_priced(&e, 30_000);
        assert!(value.is_none());
        assert_eq!(u64::from(units), MOST / PER_UNIT, "it was not the allowance that ended it");
        // A smaller budget stops the evaluation earlier.
        assert!(exact_priced(&e, 100).1 <= 100);
        assert_eq!(exact_priced(&crate::parse::parse("12%").unwrap(), 1).0, Some(rational::ratio(3, 25)));
    }
}
