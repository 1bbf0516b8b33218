//! Exact rational numbers with a limit on their size.
//!
//! The functions that can enlarge a number return `None` if the result could exceed [`MAX_BITS`]. The size is estimated
//! first, so a power tower is refused before it is computed.

use num_bigint::{BigInt, BigUint, Sign};
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

/// An exact rational number.
pub(crate) type Rat = BigRational;

/// Maximum size of a numerator or denominator, in bits (about 20,000 decimal digits).
pub(crate) const MAX_BITS: u64 = 66_000;

/// `n` as a rational number.
pub(crate) fn int(n: i64) -> Rat {
    Rat::from_integer(BigInt::from(n))
}

/// `n / d`; the caller guarantees that `d` is not zero.
pub(crate) fn ratio(n: i64, d: i64) -> Rat {
    Rat::new(BigInt::from(n), BigInt::from(d))
}

/// Number of bits of the larger of numerator and denominator.
pub(crate) fn bits(r: &Rat) -> u64 {
    r.numer().bits().max(r.denom().bits())
}

/// `10^n` as an integer.
pub(crate) fn ten_to(n: u32) -> BigInt {
    BigInt::from(10).pow(n)
}

/// Reads digits with at most one point, such as `12.50`; returns the value and the number of decimals. `None` for any
/// other text, and for more than 18,000 digits.
pub(crate) fn decimal(text: &str) -> Option<(Rat, u32)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    if whole.len() + fraction.len() > 18_000 {
        return None;
    }
    if whole.len() + fraction.len() <= 18 {
        let n = format!("{whole}{fraction}").parse::<i64>().ok()?;
        if fraction.is_empty() {
            return Some((int(n), 0));
        }
        return Some((ratio(n, 10_i64.pow(u32::try_from(fraction.len()).ok()?)), u32::try_from(fraction.len()).ok()?));
    }
    let n = BigUint::parse_bytes(format!("{whole}{fraction}").as_bytes(), 10)?;
    let decimals = u32::try_from(fraction.len()).ok()?;
    Some((Rat::new(BigInt::from_biguint(Sign::Plus, n), ten_to(decimals)), decimals))
}

/// `base^exponent` for an integer exponent; `None` for a negative power of `0`, or if the result would be too large.
pub(crate) fn pow(base: &Rat, exponent: i64) -> Option<Rat> {
    if exponent == 0 || base.is_one() {
        return Some(Rat::one());
    }
    if base.is_zero() {
        return (exponent > 0).then(Rat::zero);
    }
    let minus_one = base.numer() == &BigInt::from(-1) && base.denom().is_one();
    if minus_one {
        return Some(if exponent % 2 == 0 { Rat::one() } else { int(-1) });
    }
    let magnitude = exponent.unsigned_abs();
    if bits(base).checked_mul(magnitude)? > MAX_BITS {
        return None;
    }
    let n = u32::try_from(magnitude).ok()?;
    let (numer, denom) = (base.numer().pow(n), base.denom().pow(n));
    if exponent > 0 {
        return Some(Rat::new_raw(numer, denom));
    }
    let sign = if numer.is_negative() { -BigInt::one() } else { BigInt::one() };
    Some(Rat::new_raw(denom * &sign, numer * sign))
}

/// The exact real `n`-th root; `None` if it is not rational.
pub(crate) fn root(r: &Rat, n: u32) -> Option<Rat> {
    if n == 0 || (r.is_negative() && n.is_even()) {
        return None;
    }
    let exact = |x: &BigInt| {
        let root = x.nth_root(n);
        (root.pow(n) == *x).then_some(root)
    };
    Some(Rat::new_raw(exact(r.numer())?, exact(r.denom())?))
}

/// The value as an `i64`; `None` if it is no integer or out of range.
pub(crate) fn to_i64(r: &Rat) -> Option<i64> {
    if r.is_integer() { r.numer().to_i64() } else { None }
}

/// The product; `None` if both numbers together have more than [`MAX_BITS`] bits.
pub(crate) fn mul(a: &Rat, b: &Rat) -> Option<Rat> {
    (bits(a) + bits(b) <= MAX_BITS).then(|| a * b)
}

/// The sum, with the limit of [`mul`].
pub(crate) fn add(a: &Rat, b: &Rat) -> Option<Rat> {
    (bits(a) + bits(b) <= MAX_BITS).then(|| a + b)
}

/// The quotient, with the limit of [`mul`]; `None` for a division by zero.
pub(crate) fn div(a: &Rat, b: &Rat) -> Option<Rat> {
    (!b.is_zero() && bits(a) + bits(b) <= MAX_BITS).then(|| a / b)
}

/// The number as text: `-7`, `3/4`.
pub(crate) fn render(r: &Rat) -> String {
    if r.is_integer() { r.numer().to_string() } else { format!("{}/{}", r.numer(), r.denom()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal("12.50"), Some((ratio(25, 2), 2)));
        assert_eq!(decimal(".5"), Some((ratio(1, 2), 1)));
        assert_eq!(decimal("1.2.3"), None);
        assert_eq!(decimal("."), None);
        let long = format!("1.{}1", "0".repeat(98));
        assert_eq!(decimal(&long), Some((int(1) + Rat::new(BigInt::one(), ten_to(99)), 99)));
    }

    #[test]
    fn powers_are_refused_by_size() {
        assert_eq!(pow(&int(2), 10), Some(int(1024)));
        assert_eq!(pow(&ratio(-2, 3), -3), Some(ratio(-27, 8)));
        assert_eq!(pow(&int(10), 1_000_000_000_000), None);
        assert_eq!(pow(&int(0), -1), None);
        assert_eq!(pow(&int(-1), 1_000_000_000_001), Some(int(-1)));
    }

    #[test]
    fn roots_are_exact_or_none() {
        assert_eq!(root(&ratio(4, 9), 2), Some(ratio(2, 3)));
        assert_eq!(root(&int(-8), 3), Some(int(-2)));
        assert_eq!(root(&int(2), 2), None);
    }
}
