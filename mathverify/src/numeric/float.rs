//! Ball arithmetic: a real number as a binary float of arbitrary precision with a proven error bound, the radius.
//!
//! A [`Ball`] contains all reals within the radius of its midpoint. Every operation returns a ball that contains the
//! exact result for all members of its arguments. So two disjoint balls prove that the values differ. Parameters `p`
//! are the precision of the result in bits.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive, Zero};

use crate::rational::Rat;

/// Maximum absolute value of a binary exponent; a number beyond it is out of range.
const MAX_EXPONENT: i64 = 4_000_000;

/// A binary float, `m * 2^e`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Float {
    pub m: BigInt,
    pub e: i64,
}

impl Float {
    pub(crate) fn zero() -> Self {
        Self { m: BigInt::zero(), e: 0 }
    }

    /// The smallest `k` with `|self| < 2^k`; `i64::MIN / 4` for zero.
    pub(crate) fn top(&self) -> i64 {
        if self.m.is_zero() { i64::MIN / 4 } else { i64::try_from(self.m.bits()).unwrap_or(i64::MAX / 4) + self.e }
    }

    /// The value as an `f64`, truncated to 60 bits before the conversion.
    pub(crate) fn to_f64(&self) -> f64 {
        let bits = i64::try_from(self.m.bits()).unwrap_or(0);
        let shift = (bits - 60).max(0);
        let m = (&self.m >> u64::try_from(shift).unwrap_or(0)).to_i64().unwrap_or(0);
        let exponent = i32::try_from((self.e + shift).clamp(-20_000, 20_000)).unwrap_or(0);
        #[allow(clippy::cast_precision_loss)]
        let m = m as f64;
        m * 2f64.powi(exponent.div_euclid(2)) * 2f64.powi(exponent - exponent.div_euclid(2))
    }
}

/// A midpoint and a radius. `rad` is the base-2 logarithm of the radius: [`EXACT`] (`-inf`) if the value is exact.
#[derive(Debug, Clone)]
pub(crate) struct Ball {
    pub mid: Float,
    pub rad: f64,
}

/// The logarithm of a radius of zero.
pub(crate) const EXACT: f64 = f64::NEG_INFINITY;

/// Adds two error bounds given by their base-2 logarithms, rounded up.
pub(crate) fn add_bounds(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == EXACT { high } else { high + (1.0 + (low - high).exp2()).log2() + 1e-9 }
}

/// The base-2 logarithm of `2^n`.
#[allow(clippy::cast_precision_loss)]
fn log_of(n: i64) -> f64 {
    n as f64
}

impl Ball {
    pub(crate) fn zero() -> Self {
        Self { mid: Float::zero(), rad: EXACT }
    }

    pub(crate) fn int(n: i64) -> Self {
        Self { mid: Float { m: BigInt::from(n), e: 0 }, rad: EXACT }
    }

    pub(crate) fn is_exact_zero(&self) -> bool {
        self.mid.m.is_zero() && self.rad == EXACT
    }

    /// Rounds `mid` to `p` bits and adds the rounding error to `rad`.
    pub(crate) fn round(mid: Float, rad: f64, p: u32) -> Self {
        let bits = mid.m.bits();
        if bits <= u64::from(p) {
            return Self { mid, rad };
        }
        let shift = bits - u64::from(p);
        let e = mid.e + i64::try_from(shift).unwrap_or(0);
        let m = mid.m >> shift;
        Self { mid: Float { m, e }, rad: add_bounds(rad, log_of(e)) }
    }

    /// A rational number, rounded to `p` bits.
    pub(crate) fn rational(r: &Rat, p: u32) -> Self {
        if r.is_integer() {
            return Self::round(Float { m: r.numer().clone(), e: 0 }, EXACT, p);
        }
        Self::quotient(r.numer(), r.denom(), p)
    }

    fn quotient(n: &BigInt, d: &BigInt, p: u32) -> Self {
        let bits = |x: &BigInt| i64::try_from(x.bits()).unwrap_or(0);
        let shift = (i64::from(p) + 2 - (bits(n) - bits(d))).max(0);
        let (q, r) = (n << usize::try_from(shift).unwrap_or(0)).div_mod_floor(d);
        let rad = if r.is_zero() { EXACT } else { log_of(-shift) };
        Self::round(Float { m: q, e: -shift }, rad, p)
    }

    /// An upper bound of `log2 |x|` for all `x` in the ball.
    pub(crate) fn high(&self) -> f64 {
        if self.mid.m.is_zero() { self.rad } else { add_bounds(log_of(self.mid.top()), self.rad) }
    }

    /// A lower bound of `log2 |x|` for all `x` in the ball; `None` if the ball may contain zero.
    pub(crate) fn low(&self) -> Option<f64> {
        if self.mid.m.is_zero() {
            return None;
        }
        let low = log_of(self.mid.top() - 1);
        (self.rad < low - 1.0).then_some(low - 1.0).map(|l| if self.rad == EXACT { low } else { l })
    }

    /// The sign (-1, 0 or 1); `None` if it is not certain.
    pub(crate) fn sign(&self) -> Option<i32> {
        if self.is_exact_zero() {
            return Some(0);
        }
        self.low()?;
        Some(if self.mid.m.is_negative() { -1 } else { 1 })
    }

    pub(crate) fn neg(&self) -> Self {
        Self { mid: Float { m: -&self.mid.m, e: self.mid.e }, rad: self.rad }
    }

    pub(crate) fn abs(&self) -> Self {
        if self.mid.m.is_negative() { self.neg() } else { self.clone() }
    }

    pub(crate) fn add(&self, other: &Self, p: u32) -> Self {
        if self.is_exact_zero() {
            return other.clone();
        }
        if other.is_exact_zero() {
            return self.clone();
        }
        let rad = add_bounds(self.rad, other.rad);
        // A term that is far smaller than the other one only enlarges the radius.
        let (big, small) = if self.mid.top() >= other.mid.top() { (self, other) } else { (other, self) };
        let far = big.mid.top() - small.mid.top();
        if !big.mid.m.is_zero() && far > i64::from(p) + 64 && big.mid.e - small.mid.e > i64::from(p) + 64 {
            return Self::round(big.mid.clone(), add_bounds(rad, log_of(small.mid.top().max(-MAX_EXPONENT * 4))), p);
        }
        let e = self.mid.e.min(other.mid.e);
        let lift = |f: &Float| &f.m << usize::try_from(f.e - e).unwrap_or(0);
        if (self.mid.e - e).max(other.mid.e - e) > MAX_EXPONENT {
            return Self::round(big.mid.clone(), add_bounds(rad, log_of(small.mid.top().max(-MAX_EXPONENT * 4))), p);
        }
        Self::round(Float { m: lift(&self.mid) + lift(&other.mid), e }, rad, p)
    }

    pub(crate) fn sub(&self, other: &Self, p: u32) -> Self {
        self.add(&other.neg(), p)
    }

    /// The product; `None` if it is out of range.
    pub(crate) fn mul(&self, other: &Self, p: u32) -> Option<Self> {
        if self.is_exact_zero() || other.is_exact_zero() {
            return Some(Self::zero());
        }
        let mid = Float { m: &self.mid.m * &other.mid.m, e: self.mid.e + other.mid.e };
        if mid.top().abs() > MAX_EXPONENT && !mid.m.is_zero() {
            return None;
        }
        let mut rad = EXACT;
        if self.rad != EXACT || other.rad != EXACT {
            let term = |a: f64, b: f64| if a == EXACT || b == EXACT { EXACT } else { a + b };
            rad = add_bounds(term(self.high(), other.rad), term(other.high(), self.rad));
        }
        Some(Self::round(mid, rad, p))
    }

    /// The quotient; `None` if the divisor may be zero or the result is out of range.
    pub(crate) fn div(&self, other: &Self, p: u32) -> Option<Self> {
        let low = other.low()?;
        if self.is_exact_zero() {
            return Some(Self::zero());
        }
        let (n, d) = if other.mid.m.sign() == Sign::Minus {
            (-&self.mid.m, -&other.mid.m)
        } else {
            (self.mid.m.clone(), other.mid.m.clone())
        };
        let mut q = Self::quotient(&n, &d, p);
        q.mid.e += self.mid.e - other.mid.e;
        if q.rad != EXACT {
            q.rad += log_of(self.mid.e - other.mid.e);
        }
        if q.mid.top().abs() > MAX_EXPONENT && !q.mid.m.is_zero() {
            return None;
        }
        if self.rad != EXACT || other.rad != EXACT {
            let from_other = if other.rad == EXACT || q.mid.m.is_zero() { EXACT } else { q.high() + other.rad };
            q.rad = add_bounds(q.rad, add_bounds(self.rad, from_other) - low + 1.0);
        }
        Some(q)
    }

    /// The square root; `None` unless the number is exactly zero or certainly positive.
    pub(crate) fn sqrt(&self, p: u32) -> Option<Self> {
        if self.is_exact_zero() {
            return Some(Self::zero());
        }
        if self.mid.m.is_negative() || self.low().is_none() {
            return None;
        }
        let bits = i64::try_from(self.mid.m.bits()).unwrap_or(0);
        let mut shift = (2 * i64::from(p) + 4 - bits).max(0);
        if (self.mid.e - shift).is_odd() {
            shift += 1;
        }
        let lifted = &self.mid.m << usize::try_from(shift).unwrap_or(0);
        let m = lifted.sqrt();
        let e = (self.mid.e - shift) / 2;
        let exact = &m * &m == lifted;
        let mut rad = if exact { EXACT } else { log_of(e) };
        let mid = Float { m, e };
        if self.rad != EXACT {
            rad = add_bounds(rad, self.rad - log_of(mid.top() - 2));
        }
        Some(Self::round(mid, rad, p))
    }

    /// The largest integer not above the value; `None` if it is not certain.
    pub(crate) fn floor(&self) -> Option<BigInt> {
        if self.mid.top() > 100_000 {
            return None;
        }
        let at = |f: &Float| -> BigInt {
            if f.e >= 0 {
                &f.m << usize::try_from(f.e).unwrap_or(0)
            } else {
                f.m.div_floor(&(BigInt::from(1) << usize::try_from(-f.e).unwrap_or(0)))
            }
        };
        if self.rad == EXACT {
            return Some(at(&self.mid));
        }
        if self.rad > -2.0 || -self.mid.e > 100_000 {
            return None;
        }
        // The distance of the fractional part from 0 and from 1 must exceed the radius.
        let whole = at(&self.mid);
        let fraction = Ball { mid: self.mid.clone(), rad: EXACT }
            .sub(&Ball { mid: Float { m: whole.clone(), e: 0 }, rad: EXACT }, 4096);
        let fraction = fraction.mid.to_f64();
        let margin = self.rad.exp2().max(1e-15);
        (fraction > margin && fraction < 1.0 - margin).then_some(whole)
    }

    /// A ball that contains both balls.
    pub(crate) fn hull(&self, other: &Self, p: u32) -> Self {
        let between = Self { mid: other.mid.clone(), rad: EXACT }.sub(&Self { mid: self.mid.clone(), rad: EXACT }, p);
        let reach = if between.is_exact_zero() { other.rad } else { add_bounds(between.high(), other.rad) };
        Self { mid: self.mid.clone(), rad: self.rad.max(reach) }
    }

    /// Whether the two balls are certainly disjoint.
    pub(crate) fn apart(&self, other: &Self, p: u32) -> bool {
        self.sub(other, p + 64).low().is_some()
    }
}
