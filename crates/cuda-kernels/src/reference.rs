//! The operations in float64, from their formulas. Where the kernels round to the type of the tensors inside a formula, so
//! does the reference.

/// Rounds to the type of the tensors.
pub(crate) type Round = fn(f64) -> f64;

/// `1 / sqrt(mean(x²) + eps)` of each row.
pub(crate) fn norm_scales(x: &[f64], width: usize, eps: f64) -> Vec<f64> {
    let scale = |row: &[f64]| 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / width as f64 + eps).sqrt();
    x.chunks(width).map(scale).collect()
}

/// `round(x · scale) · gain`
pub(crate) fn norm(x: &[f64], gain: &[f64], eps: f64, round: Round) -> Vec<f64> {
    let scales = norm_scales(x, gain.len(), eps);
    let row = |(row, s): (&[f64], &f64)| row.iter().zip(gain).map(|(x, w)| round(x * s) * w).collect::<Vec<_>>();
    x.chunks(gain.len()).zip(&scales).flat_map(row).collect()
}

/// The gradients of `x` and of the gain, for the gradient `g` of the result: with `n = x · s`,
/// `gx = s (g w - n mean(g w n))`.
pub(crate) fn norm_gradients(g: &[f64], x: &[f64], gain: &[f64], eps: f64, round: Round) -> (Vec<f64>, Vec<f64>) {
    let width = gain.len();
    let scales = norm_scales(x, width, eps);
    let (mut gx, mut g_gain) = (Vec::with_capacity(x.len()), vec![0.0; width]);
    for ((row, grads), s) in x.chunks(width).zip(g.chunks(width)).zip(&scales) {
        let inner: Vec<f64> = grads.iter().zip(gain).map(|(g, w)| g * w).collect();
        let mean = inner.iter().zip(row).map(|(g, x)| g * x * s).sum::<f64>() / width as f64;
        gx.extend(inner.iter().zip(row).map(|(g, x)| s * (g - x * s * mean)));
        for ((sum, g), x) in g_gain.iter_mut().zip(grads).zip(row) {
            *sum += g * round(x * s);
        }
    }
    (gx, g_gain)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `round(silu(a)) · b`
pub(crate) fn gate(a: &[f64], b: &[f64], round: Round) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| round(a * sigmoid(*a)) * b).collect()
}

/// The gradients of `a` and `b`.
pub(crate) fn gate_gradients(g: &[f64], a: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let slope = |a: f64| sigmoid(a) + a * sigmoid(a) * (1.0 - sigmoid(a));
    let ga = g.iter().zip(a).zip(b).map(|((g, a), b)| g * b * slope(*a)).collect();
    let gb = g.iter().zip(a).map(|(g, a)| g * a * sigmoid(*a)).collect();
    (ga, gb)
}

/// The rotation of `x` `[tokens, heads, 2 half]` by `cosine` and `sine` `[tokens, 2 half]`; its transpose where `back`.
pub(crate) fn rotate(
    x: &[f64],
    (cosine, sine): (&[f64], &[f64]),
    (heads, half): (usize, usize),
    back: bool,
    round: Round,
) -> Vec<f64> {
    let width = 2 * half;
    let mut y = vec![0.0; x.len()];
    for (head, (x, y)) in x.chunks(width).zip(y.chunks_mut(width)).enumerate() {
        let token = head / heads;
        let (c, s) = (&cosine[token * width..][..width], &sine[token * width..][..width]);
        for i in 0..half {
            let (a, b) = (x[i], x[i + half]);
            if back {
                y[i] = a * c[i] + b * s[i + half];
                y[i + half] = b * c[i + half] - a * s[i];
            } else {
                y[i] = round(a * c[i]) - round(b * s[i]);
                y[i + half] = round(b * c[i + half]) + round(a * s[i + half]);
            }
        }
    }
    y
}

/// `logsumexp(z) - z[label]` of each row, and `factor (softmax(z) - onehot(label))`.
pub(crate) fn cross_entropy(z: &[f64], labels: &[i64], factor: &[f64], vocab: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut nll, mut gradient) = (Vec::new(), Vec::new());
    for ((z, &label), factor) in z.chunks(vocab).zip(labels).zip(factor) {
        let high = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = z.iter().map(|z| (z - high).exp()).sum();
        let factor = if label < 0 { 0.0 } else { *factor };
        let target = usize::try_from(label).ok().map(|label| z.get(label).copied().unwrap_or(f64::NAN));
        nll.push(target.map_or(0.0, |target| high + total.ln() - target));
        gradient.extend(z.iter().enumerate().map(|(i, z)| {
            let hit = if i as i64 == label { 1.0 } else { 0.0 };
            factor * ((z - high).exp() / total - hit)
        }));
    }
    (nll, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Round = |x| x;

    /// The derivatives of `f` at `at` by central differences.
    fn slopes(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let step = 1e-5;
        let moved = |i: usize, by: f64| {
            let mut at = at.to_vec();
            at[i] += by;
            f(&at)
        };
        (0..at.len()).map(|i| (moved(i, step) - moved(i, -step)) / (2.0 * step)).collect()
    }

    fn numbers(count: usize, seed: f64) -> Vec<f64> {
        (0..count).map(|i| ((i as f64 + seed) * 12.9898).sin() * 2.0).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 1e-8, "{worst}: {a:?} {b:?}");
    }

    #[test]
    fn gradients_are_the_derivatives() {
        let (x, w, g) = (numbers(15, 1.0), numbers(5, 2.0), numbers(15, 3.0));
        let (gx, gw) = norm_gradients(&g, &x, &w, 1e-3, EXACT);
        close(&gx, &slopes(&x, |x| dot(&g, &norm(x, &w, 1e-3, EXACT))));
        close(&gw, &slopes(&w, |w| dot(&g, &norm(&x, w, 1e-3, EXACT))));
        let b = numbers(15, 4.0);
        let (ga, gb) = gate_gradients(&g, &x, &b);
        close(&ga, &slopes(&x, |x| dot(&g, &gate(x, &b, EXACT))));
        close(&gb, &slopes(&b, |b| dot(&g, &gate(&x, b, EXACT))));
        let (x, g, c, s) = (numbers(24, 5.0), numbers(24, 6.0), numbers(8, 7.0), numbers(8, 8.0));
        let back = rotate(&g, (&c, &s), (3, 2), true, EXACT);
        close(&back, &slopes(&x, |x| dot(&g, &rotate(x, (&c, &s), (3, 2), false, EXACT))));
        let (z, factor) = (numbers(12, 9.0), [0.5, 1.5, 1.0]);
        let (_, gz) = cross_entropy(&z, &[3, -100, 0], &factor, 4);
        close(&gz, &slopes(&z, |z| dot(&factor, &cross_entropy(z, &[3, -100, 0], &factor, 4).0)));
    }
}
