//! Float64 reference of the operations, from their formulas. Where a kernel rounds an intermediate value to the element type, the
//! reference rounds it too.

/// Rounds a number to the element type.
pub(crate) type Round = fn(f64) -> f64;

/// `1 / sqrt(mean(x²) + eps)` of each row.
pub(crate) fn norm_scales(x: &[f64], width: usize, eps: f64) -> Vec<f64> {
    let scale = |row: &[f64]| 1.0 / (row.iter().map(|x| x * x).sum::<f64>() / width as f64 + eps).sqrt();
    x.chunks(width).map(scale).collect()
}

/// RMSNorm, `round(x · scale) · gain`.
pub(crate) fn norm(x: &[f64], gain: &[f64], eps: f64, round: Round) -> Vec<f64> {
    let scales = norm_scales(x, gain.len(), eps);
    let row = |(row, s): (&[f64], &f64)| row.iter().zip(gain).map(|(x, w)| round(x * s) * w).collect::<Vec<_>>();
    x.chunks(gain.len()).zip(&scales).flat_map(row).collect()
}

/// The gradients of RMSNorm with respect to `x` and to the gain `w`, for the gradient `g` of the result. With `n = x · s`,
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

/// SwiGLU's gate, `round(silu(a)) · b`.
pub(crate) fn gate(a: &[f64], b: &[f64], round: Round) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| round(a * sigmoid(*a)) * b).collect()
}

/// The gradients of the gate with respect to `a` and `b`, for the gradient `g` of the result.
pub(crate) fn gate_gradients(g: &[f64], a: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let slope = |a: f64| sigmoid(a) + a * sigmoid(a) * (1.0 - sigmoid(a));
    let ga = g.iter().zip(a).zip(b).map(|((g, a), b)| g * b * slope(*a)).collect();
    let gb = g.iter().zip(a).map(|(g, a)| g * a * sigmoid(*a)).collect();
    (ga, gb)
}

/// Rotary embedding of `x` `[tokens, heads, 2 half]` by `cosine` and `sine` `[tokens, 2 half]`; its transpose (the gradient) if
/// `back`.
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

/// `logsumexp(z) - z[label]` of each row, and its gradient `factor (softmax(z) - onehot(label))`; both are 0 for a negative label.
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

/// `softmax(scale q kᵀ) v` of one query over the keys and values of one head, `[keys, width]`; 0 without keys.
pub(crate) fn attention(q: &[f64], keys: &[f64], values: &[f64], scale: f64) -> Vec<f64> {
    let width = q.len().max(1);
    let score = |key: &[f64]| scale * key.iter().zip(q).map(|(a, b)| a * b).sum::<f64>();
    let scores: Vec<f64> = keys.chunks(width).map(score).collect();
    let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score - high).exp()).sum();
    let mut out = vec![0.0; q.len()];
    for (score, value) in scores.iter().zip(values.chunks(width)) {
        out.iter_mut().zip(value).for_each(|(out, v)| *out += (score - high).exp() / total * v);
    }
    out
}

/// Sampling parameters of a row (temperature, top-k, top-p, min-p, point): see [`crate::decoding::Sample`].
pub(crate) type Drawing = [f64; 5];

/// The distance between the point and the chosen token's interval of the cumulative distribution: 0 for the right token, 1 for a
/// dropped token. By rounding, a point near the border between two tokens may fall on either side; the distance is then small.
pub(crate) fn off_choice(z: &[f64], [temperature, top_k, top_p, min_p, point]: Drawing, token: usize) -> f64 {
    let high = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if temperature == 0.0 {
        return if z.iter().position(|z| *z == high) == Some(token) { 0.0 } else { 1.0 };
    }
    let weight = |&id: &usize| ((z[id] - high) / temperature).exp();
    let mut order: Vec<usize> = (0..z.len()).collect();
    if top_k > 0.0 || top_p < 1.0 || min_p > 0.0 {
        order.sort_by(|&a, &b| z[b].total_cmp(&z[a]).then(a.cmp(&b)));
    }
    if top_k > 0.0 {
        order.truncate(top_k as usize);
    }
    let total: f64 = order.iter().map(weight).sum();
    let mut before = 0.0;
    let kept = order.iter().take_while(|id| {
        let now = before;
        before += weight(id);
        top_p >= 1.0 || now < top_p * total
    });
    let kept: Vec<usize> = kept.copied().filter(|id| weight(id) >= min_p).collect();
    let total: f64 = kept.iter().map(weight).sum();
    let Some(place) = kept.iter().position(|&id| id == token) else {
        return 1.0;
    };
    let before: f64 = kept[..place].iter().map(weight).sum();
    let after = before + weight(&token);
    ((before - point * total).max(point * total - after) / total).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Round = |x| x;

    /// The gradient of `f` at `at`, by central differences.
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
    fn a_choice_is_right_where_the_point_falls() {
        // Logits of the probabilities 0.1, 0.5, 0.15, 0.25.
        let z = [0.1_f64, 0.5, 0.15, 0.25].map(f64::ln);
        let right = |drawing, token| off_choice(&z, drawing, token) == 0.0;
        assert!(right([1.0, 0.0, 1.0, 0.0, 0.05], 0) && right([1.0, 0.0, 1.0, 0.0, 0.7], 2));
        assert!((off_choice(&z, [1.0, 0.0, 1.0, 0.0, 0.7], 3) - 0.05).abs() < 1e-12);
        // Each of these filters keeps the tokens with 0.5 and 0.25, in this order.
        for kept in [[1.0, 2.0, 1.0, 0.0], [1.0, 0.0, 0.7, 0.0], [1.0, 0.0, 1.0, 0.4], [1.0, 3.0, 0.8, 0.0]] {
            let [t, k, p, m] = kept;
            assert!(right([t, k, p, m, 0.66], 1) && right([t, k, p, m, 0.67], 3), "{kept:?}");
            assert!(!right([t, k, p, m, 0.99], 2) && !right([t, k, p, m, 0.01], 3), "{kept:?}");
        }
        assert!(right([0.0, 0.0, 1.0, 0.0, 0.9], 1) && !right([0.0, 0.0, 1.0, 0.0, 0.9], 3));
        let ties = [1.0, 2.0, 2.0, 2.0];
        assert!(
            [1, 2, 3].iter().all(|&id| off_choice(&ties, [1.0, 0.0, 0.9, 0.0, (id as f64 - 0.5) / 3.0], id) == 0.0)
        );
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
