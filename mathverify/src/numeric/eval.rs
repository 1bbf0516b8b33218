//! Evaluates an expression at a sample point, as a complex ball, at a given precision.

use num_bigint::BigInt;
use num_traits::{One, Signed, ToPrimitive};

use super::complex::Complex;
use super::elementary::{atan, pi};
use super::exact::exact_paid;
use super::float::{Ball, EXACT, Float};
use crate::ast::{Big, Constant, Expr, Func};
use crate::budget::Budget;
use crate::rational;

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// The expression has no value at this point, or the value is not certain: for example, a division by a number that
    /// may be zero.
    Undefined,
    /// The value is out of range, or the work budget is used up.
    Budget,
    /// A value is not defined or not implemented: a list, a matrix, the arctangent of a complex number.
    Unsupported,
}

type Value = Result<Complex, NoValue>;

/// Evaluates at one sample point. The value of a variable depends only on its name and the point, so both sides of a
/// comparison get the same values.
pub(crate) struct Evaluator<'a> {
    budget: &'a Budget,
    /// Precision of the operations, in bits.
    pub precision: u32,
    /// The index of the sample point.
    pub point: u64,
    /// Whether variables may be negative at this point.
    pub negative: bool,
    /// Whether variables range over several orders of magnitude.
    pub wide: bool,
    /// Whether a form that cannot be evaluated got a pseudo-random value: a difference then proves nothing.
    pub opaque: bool,
    /// Values of bound variables, innermost last.
    bound: Vec<(String, Complex)>,
}

/// A 64-bit hash of `text` and `seed`: FNV-1a with the finalizer of SplitMix64.
pub(crate) fn hash(text: &str, seed: u64) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for b in text.bytes() {
        h = (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

fn some<T>(value: Option<T>) -> Result<T, NoValue> {
    value.ok_or(NoValue::Undefined)
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(budget: &'a Budget, precision: u32, point: u64, negative: bool) -> Self {
        Self { budget, precision, point, negative, wide: false, opaque: false, bound: Vec::new() }
    }

    /// The value of a variable: a pseudo-random number from 0.4 to 3.4, with 20 bits after the point.
    fn variable(&self, name: &str) -> Complex {
        if let Some((_, value)) = self.bound.iter().rev().find(|b| b.0 == name) {
            return value.clone();
        }
        let h = hash(name, self.point);
        let magnitude = 419_430 + i64::try_from(h % 3_145_728).unwrap_or(0);
        let sign = if self.negative && (h >> 40) & 1 == 1 { -1 } else { 1 };
        // At wide points, the value is multiplied by up to 2^16: five orders of magnitude.
        let scale = if self.wide { i64::try_from((h >> 44) % 17).unwrap_or(0) } else { 0 };
        Complex::real(Ball { mid: Float { m: BigInt::from(sign * magnitude), e: scale - 20 }, rad: EXACT })
    }

    /// A pseudo-random value for a form that cannot be evaluated: equal keys give equal values.
    fn opaque_value(&mut self, key: &str) -> Complex {
        self.opaque = true;
        self.variable(key)
    }

    pub(crate) fn eval(&mut self, e: &Expr) -> Value {
        let p = self.precision;
        // Roots, powers and functions are series of about thirty multiplications, whose cost grows with the precision.
        let cost = match e {
            Expr::Func(Func::Factorial | Func::DoubleFactorial | Func::Binomial, _) => 120,
            Expr::Pow(..) | Expr::Func(..) => 20 * (1 + p / 256),
            Expr::Const(Constant::E) => 20,
            _ => 1 + p / 1024,
        };
        if !self.budget.take(cost) {
            return Err(NoValue::Budget);
        }
        match e {
            Expr::Num { value, .. } | Expr::Based { value, .. } => Ok(Complex::real(Ball::rational(value, p))),
            Expr::Const(Constant::Pi) => Ok(Complex::real(pi(p))),
            Expr::Const(Constant::E) => some(Complex::int(1).exp(p)),
            Expr::Const(Constant::I) => Ok(Complex { re: Ball::zero(), im: Ball::int(1) }),
            Expr::Const(Constant::Infinity) => Err(NoValue::Undefined),
            Expr::Sym(name) => Ok(self.variable(name)),
            Expr::Add(terms) => {
                let mut sum = Complex::int(0);
                for t in terms {
                    sum = sum.add(&self.eval(t)?, p);
                }
                Ok(sum)
            }
            Expr::Mul(factors) => {
                let mut product = Complex::int(1);
                for f in factors {
                    product = product.mul(&self.eval(f)?, p).ok_or(NoValue::Budget)?;
                }
                Ok(product)
            }
            Expr::Neg(a) => Ok(self.eval(a)?.neg()),
            Expr::Div(a, b) => {
                let (a, b) = (self.eval(a)?, self.eval(b)?);
                some(a.div(&b, p))
            }
            Expr::Pow(base, exponent) => self.power(base, exponent),
            Expr::Func(f, arguments) => self.function(*f, arguments),
            Expr::Apply(name, arguments) => {
                let mut key = format!("{name}(");
                for a in arguments {
                    let v = self.eval(a)?;
                    key.push_str(&format!("{}|{};", rounded(&v.re)?, rounded(&v.im)?));
                }
                Ok(self.variable(&key))
            }
            Expr::Percent(a) => some(self.eval(a)?.div(&Complex::int(100), p)),
            Expr::Degrees(a) => {
                let a = self.eval(a)?.mul(&Complex::real(pi(p)), p).ok_or(NoValue::Budget)?;
                some(a.div(&Complex::int(180), p))
            }
            Expr::Quantity(a, _) => self.eval(a),
            Expr::Ratio(parts) if parts.len() == 2 => {
                let (a, b) = (self.eval(&parts[0])?, self.eval(&parts[1])?);
                some(a.div(&b, p))
            }
            Expr::Big { kind, var, low, high, body } => self.big(e, *kind, var, low.as_deref(), high.as_deref(), body),
            _ => Err(NoValue::Unsupported),
        }
    }

    fn power(&mut self, base: &Expr, exponent: &Expr) -> Value {
        let p = self.precision;
        let exact = exact_paid(exponent, self.budget);
        if let Some(n) = exact.as_ref().and_then(rational::to_i64) {
            let b = self.eval(base)?;
            if n == 0 {
                return if b.is_exact_zero() { Err(NoValue::Undefined) } else { Ok(Complex::int(1)) };
            }
            if n.unsigned_abs() > 1 << 40 {
                return Err(NoValue::Budget);
            }
            let power = b.powi(n.unsigned_abs(), p + 48).ok_or(NoValue::Budget)?;
            return if n > 0 { Ok(power) } else { some(Complex::int(1).div(&power, p)) };
        }
        if let Some(r) = exact
            && let (Some(n), Some(d)) = (r.numer().to_i64(), r.denom().to_u32())
            && d <= 64
            && n.unsigned_abs() <= 4096
        {
            let b = self.eval(base)?;
            if b.is_exact_zero() && n <= 0 {
                return Err(NoValue::Undefined);
            }
            let root = some(b.root(d, p + 16))?;
            let power = root.powi(n.unsigned_abs(), p + 16).ok_or(NoValue::Budget)?;
            return if n > 0 { Ok(power) } else { some(Complex::int(1).div(&power, p)) };
        }
        let x = self.eval(exponent)?;
        if *base == Expr::Const(Constant::E) {
            return x.exp(p).ok_or(NoValue::Budget);
        }
        let b = self.eval(base)?;
        if b.is_exact_zero() {
            return match x.re.sign() {
                Some(1) if x.is_real() => Ok(Complex::int(0)),
                _ => Err(NoValue::Undefined),
            };
        }
        some(b.pow(&x, p))
    }

    fn function(&mut self, f: Func, arguments: &[Expr]) -> Value {
        let p = self.precision;
        let mut values = Vec::with_capacity(arguments.len());
        if matches!(f, Func::Det | Func::Transpose) {
            return Err(NoValue::Unsupported);
        }
        for a in arguments {
            values.push(self.eval(a)?);
        }
        let x = values.first().ok_or(NoValue::Unsupported)?.clone();
        let one = Complex::int(1);
        let real = |c: &Complex| if c.is_real() { Ok(c.re.clone()) } else { Err(NoValue::Undefined) };
        match f {
            Func::Sin => Ok(some(x.sin_cos(p))?.0),
            Func::Cos => Ok(some(x.sin_cos(p))?.1),
            Func::Tan | Func::Cot | Func::Sec | Func::Csc => {
                let (s, c) = some(x.sin_cos(p))?;
                some(match f {
                    Func::Tan => s.div(&c, p),
                    Func::Cot => c.div(&s, p),
                    Func::Sec => one.div(&c, p),
                    _ => one.div(&s, p),
                })
            }
            Func::Atan if x.is_real() => Ok(Complex::real(some(atan(&x.re, p))?)),
            Func::Acot if x.is_real() => {
                // The values of acot are in (0, π).
                let mut half = pi(p);
                half.mid.e -= 1;
                half.rad -= 1.0;
                Ok(Complex::real(half.sub(&some(atan(&x.re, p))?, p)))
            }
            Func::Asin | Func::Acos | Func::Asec | Func::Acsc => {
                let x = if matches!(f, Func::Asec | Func::Acsc) { some(one.div(&x, p))? } else { x };
                let size = real(&x)?;
                if size.abs().sub(&Ball::int(1), p).sign() == Some(1) {
                    return Err(NoValue::Undefined);
                }
                // asin x = atan(x / sqrt(1 - x²)); at x = ±1 it is ±π/2.
                let rest = Ball::int(1).sub(&some(size.mul(&size, p))?, p);
                let mut half = pi(p);
                half.mid.e -= 1;
                half.rad -= 1.0;
                let asin = if rest.is_exact_zero() {
                    if size.mid.m.is_negative() { half.neg() } else { half.clone() }
                } else {
                    some(atan(&some(size.div(&some(rest.sqrt(p))?, p))?, p))?
                };
                let wants_asin = matches!(f, Func::Asin | Func::Acsc);
                Ok(Complex::real(if wants_asin { asin } else { half.sub(&asin, p) }))
            }
            Func::Sinh | Func::Cosh | Func::Tanh | Func::Coth | Func::Sech | Func::Csch => {
                let plus = x.exp(p).ok_or(NoValue::Budget)?;
                let minus = x.neg().exp(p).ok_or(NoValue::Budget)?;
                let (s, c) = (plus.sub(&minus, p), plus.add(&minus, p));
                let two = Complex::int(2);
                some(match f {
                    Func::Sinh => s.div(&two, p),
                    Func::Cosh => c.div(&two, p),
                    Func::Tanh => s.div(&c, p),
                    Func::Coth => c.div(&s, p),
                    Func::Sech => two.div(&c, p),
                    _ => two.div(&s, p),
                })
            }
            Func::Asinh | Func::Acosh => {
                let square = some(x.mul(&x, p))?;
                let inner = if f == Func::Asinh { square.add(&one, p) } else { square.sub(&one, p) };
                some(x.add(&some(inner.sqrt(p))?, p).ln(p))
            }
            Func::Atanh => {
                let ratio = some(one.add(&x, p).div(&one.sub(&x, p), p))?;
                some(some(ratio.ln(p))?.div(&Complex::int(2), p))
            }
            Func::Exp => x.exp(p).ok_or(NoValue::Budget),
            Func::Ln => some(x.ln(p)),
            Func::Log => {
                let value = values.get(1).ok_or(NoValue::Unsupported)?;
                some(some(value.ln(p))?.div(&some(x.ln(p))?, p))
            }
            Func::Sqrt => some(x.sqrt(p)),
            Func::Root => {
                let value = values.get(1).ok_or(NoValue::Unsupported)?;
                match exact_paid(&arguments[0], self.budget)
                    .as_ref()
                    .and_then(rational::to_i64)
                    .and_then(|n| u32::try_from(n).ok())
                {
                    Some(n) if (1..=64).contains(&n) => some(value.root(n, p)),
                    _ => some(value.pow(&some(one.div(&x, p))?, p)),
                }
            }
            Func::Abs => Ok(Complex::real(some(x.abs(p))?)),
            Func::Floor => Ok(whole(some(real(&x)?.floor())?, p)),
            Func::Ceil => Ok(whole(-some(real(&x)?.neg().floor())?, p)),
            Func::Sign => Ok(Complex::int(some(real(&x)?.sign())?.into())),
            Func::Re => Ok(Complex::real(x.re)),
            Func::Im => Ok(Complex::real(x.im)),
            Func::Arg => Ok(Complex::real(some(x.arg(p))?)),
            Func::Min | Func::Max => {
                let mut best = real(&x)?;
                for v in &values[1..] {
                    let v = real(v)?;
                    best = match v.sub(&best, p).sign() {
                        Some(sign) if (sign > 0) == (f == Func::Max) => v,
                        Some(_) => best,
                        // Either of them can be the result.
                        None => best.hull(&v, p),
                    };
                }
                Ok(Complex::real(best))
            }
            Func::Factorial | Func::DoubleFactorial | Func::Binomial | Func::Gcd | Func::Lcm | Func::Mod => {
                self.integer_function(f, arguments, &values)
            }
            Func::Det | Func::Transpose | Func::Atan | Func::Acot => Err(NoValue::Unsupported),
        }
    }

    /// Functions of integers. If the arguments are not exact, the function is opaque.
    fn integer_function(&mut self, f: Func, arguments: &[Expr], values: &[Complex]) -> Value {
        if let Some(value) = exact_paid(&Expr::Func(f, arguments.to_vec()), self.budget) {
            return Ok(Complex::real(Ball::rational(&value, self.precision)));
        }
        // Otherwise an unknown function of the values of the arguments: identities such as n! = n (n-1)! are not known.
        let mut key = format!("{f:?}(");
        let mut parts: Vec<String> = Vec::new();
        for v in values {
            parts.push(format!("{}|{};", rounded(&v.re)?, rounded(&v.im)?));
        }
        if matches!(f, Func::Gcd | Func::Lcm) {
            parts.sort();
        }
        key.push_str(&parts.concat());
        Ok(self.opaque_value(&key))
    }

    fn big(&mut self, e: &Expr, kind: Big, var: &str, low: Option<&Expr>, high: Option<&Expr>, body: &Expr) -> Value {
        let p = self.precision;
        match kind {
            Big::Sum | Big::Product => {
                let end = |e: Option<&Expr>| rational::to_i64(&exact_paid(e?, self.budget)?);
                let range = end(low).zip(end(high));
                let Some((from, to)) = range else { return self.unknown_form(e) };
                if to.saturating_sub(from) > 2_000 {
                    return Err(NoValue::Budget);
                }
                let mut total = Complex::int(i64::from(kind == Big::Product));
                for n in from..=to {
                    // The substitution of the index copies the body.
                    if !self.budget.take(10) {
                        return Err(NoValue::Budget);
                    }
                    let index = Expr::int(n);
                    let term = self.eval(&body.substitute(var, &index))?;
                    total = if kind == Big::Sum {
                        total.add(&term, p)
                    } else {
                        total.mul(&term, p).ok_or(NoValue::Budget)?
                    };
                }
                Ok(total)
            }
            Big::Limit => {
                let point = low.ok_or(NoValue::Unsupported)?;
                // The terms of a sequence depend on the variable through their index: a_n.
                let indexed = |e: &Expr| matches!(e, Expr::Sym(s) if s.split_once('_').is_some_and(|(_, index)| index.contains(var)));
                if body.any(&indexed) {
                    return self.unknown_form(e);
                }
                match self.eval(&body.substitute(var, point)) {
                    // The limit of a continuous function is its value, and an elementary function is continuous
                    // wherever it has a value.
                    Ok(v) if !body.any(&|e| matches!(e, Expr::Func(Func::Floor | Func::Ceil | Func::Sign, _))) => Ok(v),
                    Err(NoValue::Budget) => Err(NoValue::Budget),
                    _ => self.unknown_form(e),
                }
            }
            Big::Derivative => match (super::calculus::derivative(body, var), low) {
                (Some(d), None) => self.eval(&d),
                (Some(d), Some(point)) => self.eval(&d.substitute(var, point)),
                (None, _) => self.unknown_form(e),
            },
            Big::Integral => {
                let ends = low.zip(high);
                match (super::calculus::antiderivative(body, var), ends) {
                    (Some(f), Some((low, high))) => {
                        // An integral over a pole diverges, although its antiderivative has values at both ends.
                        if super::calculus::has_pole(&f, var) {
                            let (low, high) = (self.eval(low)?, self.eval(high)?);
                            let side = |end: &Complex| if end.is_real() { end.re.sign() } else { None };
                            if side(&low).is_none_or(|s| s == 0 || side(&high) != Some(s)) {
                                return Err(NoValue::Undefined);
                            }
                        }
                        let upper = self.eval(&f.substitute(var, high))?;
                        let lower = self.eval(&f.substitute(var, low))?;
                        Ok(upper.sub(&lower, p))
                    }
                    _ => self.unknown_form(e),
                }
            }
        }
    }

    /// A sum, limit, derivative or integral that cannot be evaluated gets an opaque value. The key consists of the
    /// values of its limits, and of its body as a function of the bound variable.
    fn unknown_form(&mut self, e: &Expr) -> Value {
        let Expr::Big { kind, var, low, high, body } = e else { return Err(NoValue::Unsupported) };
        let mut key = format!("{kind:?}");
        // The variable of an integral without limits, or of a derivative, is not bound.
        if matches!(kind, Big::Integral | Big::Derivative) && low.is_none() {
            key.push_str(var);
        }
        for end in [low, high] {
            key.push('|');
            match end.as_deref() {
                None => {}
                Some(Expr::Const(Constant::Infinity)) => key.push('∞'),
                Some(Expr::Neg(x)) if **x == Expr::Const(Constant::Infinity) => key.push_str("-∞"),
                Some(end) => {
                    let v = self.eval(end)?;
                    key.push_str(&format!("{},{}", rounded(&v.re)?, rounded(&v.im)?));
                }
            }
        }
        // The body is represented by its values at two fixed points.
        for n in 0..2 {
            let at = self.variable(&format!("bound {n}"));
            self.bound.push((var.clone(), at));
            let v = self.eval(body);
            self.bound.pop();
            let v = v?;
            key.push_str(&format!("|{},{}", rounded(&v.re)?, rounded(&v.im)?));
        }
        Ok(self.opaque_value(&key))
    }
}

fn whole(n: BigInt, p: u32) -> Complex {
    Complex::real(Ball::round(Float { m: n, e: 0 }, EXACT, p))
}

/// A value rounded to 60 bits after the point, as a key. Two computations of one value get different keys only if a
/// rounding boundary is within their error: with probability about 2^-60 at [`super::QUICK`] precision.
fn rounded(b: &Ball) -> Result<String, NoValue> {
    if b.rad > -70.0 || b.mid.top() > 20_000 {
        return Err(NoValue::Undefined);
    }
    let shift = b.mid.e + 60;
    let m: BigInt = if shift >= 0 {
        &b.mid.m << usize::try_from(shift).unwrap_or(0)
    } else {
        // Round to nearest, so that no integer is at a rounding boundary.
        let cut = usize::try_from(-shift).unwrap_or(usize::MAX / 2).min(1_000_000);
        (&b.mid.m + (BigInt::one() << (cut - 1))) >> cut
    };
    Ok(m.to_string())
}

/// The estimated cost of the exact value of an expression, in units of the budget: large numbers, powers, roots,
/// factorials and binomials. Other nodes count as zero.
pub(crate) fn cost(e: &Expr) -> u32 {
    let words = |bits: u64| u32::try_from(bits.min(rational::MAX_BITS) / 64).unwrap_or(u32::MAX);
    let own = match e {
        Expr::Num { value, .. } => words(rational::bits(value)) / 8,
        Expr::Pow(base, exponent) => match (&**base, &**exponent) {
            (Expr::Num { value, .. }, Expr::Num { value: n, .. }) => {
                let n = n.abs().to_integer().to_u64().unwrap_or(u64::MAX);
                let words = words(rational::bits(value).saturating_mul(n));
                words.saturating_mul(words) / 2_000
            }
            _ => 50,
        },
        Expr::Func(Func::Factorial | Func::DoubleFactorial | Func::Binomial, _) => 120,
        Expr::Func(Func::Sqrt | Func::Root, a) => match a.last() {
            Some(Expr::Num { value, .. }) => {
                words(rational::bits(value)).saturating_mul(words(rational::bits(value))) / 200
            }
            _ => 0,
        },
        _ => 0,
    };
    e.children().into_iter().map(cost).fold(own, u32::saturating_add)
}
