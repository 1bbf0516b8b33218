//! Complex numbers as pairs of balls. Functions take their principal branch, except that an odd root of a real number
//! is real.

use super::elementary::{atan2, exp, ln, pi, sin_cos};
use super::float::Ball;

/// `re + im i`. A number counts as real only if its imaginary part is exactly zero.
#[derive(Debug, Clone)]
pub(crate) struct Complex {
    pub re: Ball,
    pub im: Ball,
}

impl Complex {
    pub(crate) fn real(re: Ball) -> Self {
        Self { re, im: Ball::zero() }
    }

    pub(crate) fn int(n: i64) -> Self {
        Self::real(Ball::int(n))
    }

    pub(crate) fn is_real(&self) -> bool {
        self.im.is_exact_zero()
    }

    pub(crate) fn is_exact_zero(&self) -> bool {
        self.is_real() && self.re.is_exact_zero()
    }

    pub(crate) fn neg(&self) -> Self {
        Self { re: self.re.neg(), im: self.im.neg() }
    }

    pub(crate) fn add(&self, o: &Self, p: u32) -> Self {
        Self { re: self.re.add(&o.re, p), im: self.im.add(&o.im, p) }
    }

    pub(crate) fn sub(&self, o: &Self, p: u32) -> Self {
        self.add(&o.neg(), p)
    }

    pub(crate) fn mul(&self, o: &Self, p: u32) -> Option<Self> {
        let re = self.re.mul(&o.re, p)?.sub(&self.im.mul(&o.im, p)?, p);
        let im = self.re.mul(&o.im, p)?.add(&self.im.mul(&o.re, p)?, p);
        Some(Self { re, im })
    }

    fn norm(&self, p: u32) -> Option<Ball> {
        Some(self.re.mul(&self.re, p)?.add(&self.im.mul(&self.im, p)?, p))
    }

    pub(crate) fn div(&self, o: &Self, p: u32) -> Option<Self> {
        if o.is_real() {
            return Some(Self { re: self.re.div(&o.re, p)?, im: self.im.div(&o.re, p)? });
        }
        let norm = o.norm(p)?;
        let conjugate = Self { re: o.re.clone(), im: o.im.neg() };
        let n = self.mul(&conjugate, p)?;
        Some(Self { re: n.re.div(&norm, p)?, im: n.im.div(&norm, p)? })
    }

    pub(crate) fn abs(&self, p: u32) -> Option<Ball> {
        if self.is_real() {
            return Some(self.re.abs());
        }
        if self.re.is_exact_zero() {
            return Some(self.im.abs());
        }
        self.norm(p)?.sqrt(p)
    }

    pub(crate) fn arg(&self, p: u32) -> Option<Ball> {
        atan2(&self.im, &self.re, p)
    }

    pub(crate) fn exp(&self, p: u32) -> Option<Self> {
        let size = exp(&self.re, p)?;
        if self.is_real() {
            return Some(Self::real(size));
        }
        let (sin, cos) = sin_cos(&self.im, p)?;
        Some(Self { re: size.mul(&cos, p)?, im: size.mul(&sin, p)? })
    }

    pub(crate) fn ln(&self, p: u32) -> Option<Self> {
        if self.is_real() {
            return match self.re.sign()? {
                1 => Some(Self::real(ln(&self.re, p)?)),
                -1 => Some(Self { re: ln(&self.re.neg(), p)?, im: pi(p) }),
                _ => None,
            };
        }
        Some(Self { re: ln(&self.abs(p)?, p)?, im: self.arg(p)? })
    }

    pub(crate) fn sqrt(&self, p: u32) -> Option<Self> {
        if self.is_real() {
            return match self.re.sign()? {
                -1 => Some(Self { re: Ball::zero(), im: self.re.neg().sqrt(p)? }),
                _ => Some(Self::real(self.re.sqrt(p)?)),
            };
        }
        let mut half = self.ln(p)?;
        half.re.mid.e -= 1;
        half.re.rad -= 1.0;
        half.im.mid.e -= 1;
        half.im.rad -= 1.0;
        half.exp(p)
    }

    /// An integer power, by squaring.
    pub(crate) fn powi(&self, n: u64, p: u32) -> Option<Self> {
        let (mut result, mut base, mut n) = (Self::int(1), self.clone(), n);
        while n > 0 {
            if n & 1 == 1 {
                result = result.mul(&base, p)?;
            }
            n >>= 1;
            if n > 0 {
                base = base.mul(&base, p)?;
            }
        }
        Some(result)
    }

    /// The principal value of `self^exponent`, as `exp(exponent ln self)`.
    pub(crate) fn pow(&self, exponent: &Self, p: u32) -> Option<Self> {
        self.ln(p + 24)?.mul(exponent, p + 24)?.exp(p)
    }

    /// The `n`-th root: the real one if the number is real and has one, else the principal one.
    pub(crate) fn root(&self, n: u32, p: u32) -> Option<Self> {
        if n == 2 {
            return self.sqrt(p);
        }
        if self.is_exact_zero() {
            return Some(Self::int(0));
        }
        if self.is_real() && n % 2 == 1 && self.re.sign()? < 0 {
            return Some(self.neg().root(n, p)?.neg());
        }
        let exponent = Self::real(Ball::int(1).div(&Ball::int(i64::from(n)), p + 24)?);
        self.pow(&exponent, p)
    }

    /// Sine and cosine.
    pub(crate) fn sin_cos(&self, p: u32) -> Option<(Self, Self)> {
        if self.is_real() {
            let (s, c) = sin_cos(&self.re, p)?;
            return Some((Self::real(s), Self::real(c)));
        }
        let i = Self { re: Ball::zero(), im: Ball::int(1) };
        let plus = i.mul(self, p)?.exp(p)?;
        let minus = i.mul(self, p)?.neg().exp(p)?;
        let two_i = Self { re: Ball::zero(), im: Ball::int(2) };
        Some((plus.sub(&minus, p).div(&two_i, p)?, plus.add(&minus, p).div(&Self::int(2), p)?))
    }

    /// Whether the two numbers certainly differ.
    pub(crate) fn apart(&self, o: &Self, p: u32) -> bool {
        self.re.apart(&o.re, p) || self.im.apart(&o.im, p)
    }
}
