//! exp, ln, sin, cos and atan of balls, by power series in fixed-point arithmetic. `p` is the precision of the result
//! in bits, `w` the number of bits after the point.

use std::sync::OnceLock;

use num_bigint::BigInt;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::float::{Ball, EXACT, Float, add_bounds};

/// Number of bits of π and ln 2 after the point.
const CONSTANT_BITS: u32 = 6_000;

/// A float as a fixed-point number with `w` bits after the point.
fn fixed(f: &Float, w: u32) -> BigInt {
    let shift = f.e + i64::from(w);
    if shift >= 0 {
        &f.m << usize::try_from(shift).unwrap_or(0)
    } else {
        &f.m >> usize::try_from(-shift).unwrap_or(usize::MAX / 2)
    }
}

/// The fixed-point number `m` with an error of at most `ulps` units in its last place, rounded to `p` bits.
fn ball(m: BigInt, w: u32, ulps: f64, p: u32) -> Ball {
    Ball::round(Float { m, e: -i64::from(w) }, ulps.log2() - f64::from(w), p)
}

/// `atan(1/n)` or, with `hyperbolic`, `atanh(1/n)` in fixed point.
fn arc_of_inverse(n: u32, w: u32, hyperbolic: bool) -> BigInt {
    let square = BigInt::from(u64::from(n) * u64::from(n));
    let mut power = (BigInt::one() << w) / n;
    let (mut sum, mut k) = (power.clone(), 1_u32);
    while !power.is_zero() {
        power /= &square;
        let term = &power / (2 * k + 1);
        if k % 2 == 1 && !hyperbolic {
            sum -= term;
        } else {
            sum += term;
        }
        k += 1;
    }
    sum
}

/// π with [`CONSTANT_BITS`] bits after the point, by Machin's formula.
fn pi_digits() -> &'static BigInt {
    static PI: OnceLock<BigInt> = OnceLock::new();
    PI.get_or_init(|| {
        let w = CONSTANT_BITS + 32;
        ((arc_of_inverse(5, w, false) * 16 - arc_of_inverse(239, w, false) * 4) >> 32_u32) as BigInt
    })
}

/// ln 2 with [`CONSTANT_BITS`] bits after the point: 2 atanh(1/3).
fn ln2_digits() -> &'static BigInt {
    static LN2: OnceLock<BigInt> = OnceLock::new();
    LN2.get_or_init(|| (arc_of_inverse(3, CONSTANT_BITS + 32, true) * 2) >> 32_u32)
}

/// A constant with `w` bits after the point.
fn constant(digits: &BigInt, w: u32) -> BigInt {
    digits >> (CONSTANT_BITS - w.min(CONSTANT_BITS))
}

/// π to `p` bits.
pub(crate) fn pi(p: u32) -> Ball {
    let w = (p + 8).min(CONSTANT_BITS);
    ball(constant(pi_digits(), w), w, 2.0, p)
}

/// `e^x`; `None` if `|x|` is at least 2^21 (about two million), or if the radius of `x` exceeds 1/2.
pub(crate) fn exp(x: &Ball, p: u32) -> Option<Ball> {
    if x.is_exact_zero() {
        return Some(Ball::int(1));
    }
    if x.mid.top() > 21 || x.rad > -1.0 {
        return None;
    }
    let w = p + 48;
    let t = fixed(&x.mid, w);
    let ln2 = constant(ln2_digits(), w);
    let k = &t / &ln2;
    let mut r = &t - &k * &ln2;
    // Divide r by 2^8, sum the series, then square eight times.
    let halvings = 8_u32;
    r >>= halvings;
    let one = BigInt::one() << w;
    let (mut sum, mut term, mut n) = (one.clone(), one, 0_u32);
    while !term.is_zero() && n < 2_000 {
        n += 1;
        term = ((term * &r) >> w) / n;
        if term == BigInt::from(-1) {
            break;
        }
        sum += &term;
    }
    for _ in 0..halvings {
        sum = (&sum * &sum) >> w;
    }
    // Error in units of the last place: one per term, amplified 2^8 times by the squarings (the bound has a margin of
    // 8), and `k` from ln 2.
    let ulps = 2048.0 * f64::from(n) + 4.0 * k.abs().to_f64().unwrap_or(0.0) + 4.0;
    let mut result = ball(sum, w, ulps, p);
    let k = k.to_i64()?;
    result.mid.e += k;
    #[allow(clippy::cast_precision_loss)]
    let shift = k as f64;
    result.rad += shift;
    if x.rad != EXACT {
        result.rad = add_bounds(result.rad, result.high() + x.rad + 1.0);
    }
    Some(result)
}

/// `ln x` for a positive `x`.
pub(crate) fn ln(x: &Ball, p: u32) -> Option<Ball> {
    if x.sign()? <= 0 {
        return None;
    }
    if x.rad == EXACT && x.mid.m.is_one() && x.mid.e == 0 {
        return Some(Ball::zero());
    }
    // x = f * 2^k with f in [1/2, 1).
    let k = x.mid.top();
    let f = Float { m: x.mid.m.clone(), e: x.mid.e - k };
    let w = p + 32;
    let f_ball = Ball { mid: f.clone(), rad: EXACT };
    // Halley's method, from the `f64` logarithm: y + 2 (f - e^y) / (f + e^y) triples the number of correct bits.
    let start = f.to_f64().ln();
    let m = BigInt::from((start * 2f64.powi(60)) as i128);
    let mut y = Ball { mid: Float { m, e: -60 }, rad: EXACT };
    let mut known = 48_u32;
    let mut last = f64::INFINITY;
    while known < w + 8 || last == f64::INFINITY {
        let mut e_y = exp(&y, w)?;
        let error = e_y.rad;
        e_y.rad = EXACT;
        let step = f_ball.sub(&e_y, w).div(&f_ball.add(&e_y, w), w)?;
        let mut step = step.mul(&Ball::int(2), w)?;
        step.rad = EXACT;
        y = y.add(&step, w);
        y.rad = EXACT;
        last = error;
        known = known.saturating_mul(3);
    }
    // Since f >= 1/2, an error of e^y is amplified at most four times in y.
    let mut result = y;
    result.rad = add_bounds(last + 4.0, -f64::from(w) + 4.0);
    let ln2 = ball(constant(ln2_digits(), w), w, 2.0, w);
    let mut result = result.add(&ln2.mul(&Ball::int(k), w)?, w);
    if x.rad != EXACT {
        result.rad = add_bounds(result.rad, x.rad - x.low()? + 1.0);
    }
    Some(Ball::round(result.mid, result.rad, p))
}

/// Sine and cosine.
pub(crate) fn sin_cos(x: &Ball, p: u32) -> Option<(Ball, Ball)> {
    if x.is_exact_zero() {
        return Some((Ball::zero(), Ball::int(1)));
    }
    let top = x.mid.top().max(0);
    if top > 2_000 || x.rad > 0.0 {
        return None;
    }
    let w = p + 40;
    let wide = w + u32::try_from(top).ok()?;
    if wide > CONSTANT_BITS {
        return None;
    }
    let t = fixed(&x.mid, wide);
    let half_pi = constant(pi_digits(), wide) >> 1_u32;
    // Subtract the nearest multiple of π/2.
    let quadrant = {
        let twice: BigInt = &t * 2 + &half_pi;
        num_integer::Integer::div_floor(&twice, &(&half_pi * 2))
    };
    let r: BigInt = (&t - &quadrant * &half_pi) >> (wide - w);
    let square: BigInt = (&r * &r) >> w;
    let one = BigInt::one() << w;
    let series = |first: BigInt, start: u32| {
        let (mut sum, mut term, mut n) = (first.clone(), first, start);
        while !term.is_zero() && n < 4_000 {
            term = -((term * &square) >> w) / ((n + 1) * (n + 2));
            if term == BigInt::from(-1) {
                break;
            }
            sum += &term;
            n += 2;
        }
        (sum, n)
    };
    let (cos, n) = series(one, 0);
    let (sin, _) = series(r, 1);
    let ulps = f64::from(n) * 4.0 + 16.0;
    let mut both = [ball(sin, w, ulps, p), ball(cos, w, ulps, p)];
    for b in &mut both {
        b.rad = add_bounds(b.rad, x.rad);
    }
    let [sin, cos] = both;
    let turns = num_integer::Integer::mod_floor(&quadrant, &BigInt::from(4)).to_i32()?;
    Some(match turns {
        0 => (sin, cos),
        1 => (cos, sin.neg()),
        2 => (sin.neg(), cos.neg()),
        _ => (cos.neg(), sin),
    })
}

/// The arctangent.
pub(crate) fn atan(x: &Ball, p: u32) -> Option<Ball> {
    if x.is_exact_zero() {
        return Some(Ball::zero());
    }
    let w = p + 48;
    let exact = Ball { mid: x.mid.clone(), rad: EXACT };
    // For |x| >= 1: atan(x) = ±π/2 - atan(1/x).
    let inverted = exact.mid.top() > 0;
    let mut y = if inverted { Ball::int(1).div(&exact, w)? } else { exact };
    // Halve the angle four times: atan(y) = 2 atan(y / (1 + sqrt(1 + y²))).
    for _ in 0..4 {
        let root = y.mul(&y, w)?.add(&Ball::int(1), w).sqrt(w)?;
        y = y.div(&root.add(&Ball::int(1), w), w)?;
    }
    let t = fixed(&y.mid, w);
    let square: BigInt = (&t * &t) >> w;
    let (mut sum, mut power, mut n) = (t.clone(), t, 1_u32);
    while !power.is_zero() && n < 8_000 {
        power = -((power * &square) >> w);
        if power == BigInt::from(-1) {
            break;
        }
        sum += &power / (n + 2);
        n += 2;
    }
    let mut result = ball(sum * 16, w, f64::from(n) * 64.0 + 64.0, w);
    if y.rad != EXACT {
        result.rad = add_bounds(result.rad, y.rad + 5.0);
    }
    if inverted {
        let mut half_pi = pi(w);
        half_pi.mid.e -= 1;
        half_pi.rad -= 1.0;
        if x.mid.m.is_negative() {
            half_pi = half_pi.neg();
        }
        result = half_pi.sub(&result, w);
    }
    Some(Ball::round(result.mid, add_bounds(result.rad, x.rad), p))
}

/// The angle of the point `(x, y)`, in (-π, π]; `None` if it depends on a sign that is not certain.
pub(crate) fn atan2(y: &Ball, x: &Ball, p: u32) -> Option<Ball> {
    match (x.sign(), y.sign()) {
        (Some(1), _) => atan(&y.div(x, p)?, p),
        (Some(0), Some(s)) if s != 0 => {
            let mut half = pi(p);
            half.mid.e -= 1;
            half.rad -= 1.0;
            Some(if s > 0 { half } else { half.neg() })
        }
        (Some(-1), Some(s)) => {
            let base = atan(&y.div(x, p)?, p)?;
            Some(if s >= 0 { base.add(&pi(p), p) } else { base.sub(&pi(p), p) })
        }
        (_, Some(s)) if s != 0 => {
            let mut half = pi(p);
            half.mid.e -= 1;
            half.rad -= 1.0;
            let rest = atan(&x.div(y, p)?, p)?;
            let half = if s > 0 { half } else { half.neg() };
            Some(half.sub(&rest, p))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(b: &Ball) -> f64 {
        b.mid.to_f64()
    }

    fn of(x: f64) -> Ball {
        Ball { mid: Float { m: BigInt::from((x * 2f64.powi(40)) as i64), e: -40 }, rad: EXACT }
    }

    #[test]
    fn close_to_the_machine_functions() {
        for x in [0.001, 0.3, 0.5, 1.0, 1.7, 2.5, 10.25, 100.5] {
            // Truncate to the 40 bits after the point that `of` keeps.
            let x = (x * 2f64.powi(40)).trunc() / 2f64.powi(40);
            let b = of(x);
            for (name, ours, theirs) in [
                ("exp", exp(&b, 128), x.exp()),
                ("exp-", exp(&b.neg(), 128), (-x).exp()),
                ("ln", ln(&b, 128), x.ln()),
                ("sin", sin_cos(&b, 128).map(|p| p.0), x.sin()),
                ("cos", sin_cos(&b.neg(), 128).map(|p| p.1), x.cos()),
                ("atan", atan(&b, 128), x.atan()),
                ("atan-", atan(&b.neg(), 128), (-x).atan()),
            ] {
                let ours = ours.unwrap();
                assert!(
                    (number(&ours) - theirs).abs() <= 1e-11 * (1.0 + theirs.abs()),
                    "{name} {x}: {} {theirs}",
                    number(&ours)
                );
                assert!(ours.rad < ours.high().max(-20.0) - 90.0, "{name} {x}: radius 2^{}", ours.rad);
            }
        }
    }

    #[test]
    fn identities_hold_at_high_precision() {
        for p in [128, 384, 1000] {
            let x = of(0.7);
            let back = ln(&exp(&x, p).unwrap(), p).unwrap();
            assert!(!back.apart(&x, p) && back.rad < -f64::from(p) + 60.0, "{p}: {}", back.rad);
            let (s, c) = sin_cos(&x, p).unwrap();
            let one = s.mul(&s, p).unwrap().add(&c.mul(&c, p).unwrap(), p);
            assert!(!one.apart(&Ball::int(1), p) && one.rad < -f64::from(p) + 60.0);
            let quarter = atan(&Ball::int(1), p).unwrap().mul(&Ball::int(4), p).unwrap();
            assert!(!quarter.apart(&pi(p), p) && quarter.rad < -f64::from(p) + 60.0);
            assert!(quarter.apart(&Ball::rational(&crate::rational::ratio(355, 113), p), p));
        }
    }
}
