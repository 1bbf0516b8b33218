//! Training of the linear head: logistic regression with an L2 penalty over the features' inverse document frequencies.
//!
//! Minimised over w and b: C * sum of ln(1 + exp(-s(w . x + b))) + |w|^2 / 2, with s = 1 for a refusal and -1 else, x
//! of length 1 (scikit-learn's `TfidfTransformer` and `LogisticRegression`). By L-BFGS (Nocedal 1980) with a
//! backtracking line search: no randomness, the same labels give the same bytes.

use super::features::{BITS, buckets};

/// A labelled answer.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Labelled {
    /// The answer's text.
    pub answer: String,
    /// Whether a person says that it refuses, fully or in part.
    pub refusal: bool,
    /// Rows of one group stay on one side of a split: the prompt's id.
    #[serde(default)]
    pub group: Option<String>,
    /// Where it comes from: figures are given for each.
    #[serde(default)]
    pub source: Option<String>,
}

/// Weights before they are made small.
#[derive(Debug)]
pub(super) struct Trained {
    /// Inverse document frequencies by bucket; 0 where the bucket is not used.
    pub idf: Vec<f32>,
    /// Weights by bucket.
    pub weights: Vec<f32>,
    /// b.
    pub intercept: f64,
}

/// A bucket is used when as many answers hit it: no n-gram of a single answer has a weight of its own.
const MIN_ANSWERS: u32 = 2;
/// Steps of L-BFGS at most.
const STEPS: usize = 200;
/// Pairs of differences that L-BFGS keeps.
const MEMORY: usize = 10;

/// Trains on labelled answers with the inverse strength `c` of the penalty.
pub(super) fn train(rows: &[&Labelled], c: f64) -> Trained {
    let size = 1 << BITS;
    let counts: Vec<Vec<(u16, f32)>> = rows.iter().map(|row| buckets(&row.answer)).collect();
    let mut documents = vec![0u32; size];
    counts.iter().flatten().for_each(|&(bucket, _)| documents[bucket as usize] += 1);
    // Smooth: as if one more answer had every n-gram.
    let idf: Vec<f32> = documents
        .iter()
        .map(|&n| if n < MIN_ANSWERS { 0.0 } else { ((1.0 + rows.len() as f32) / (1.0 + n as f32)).ln() + 1.0 })
        .collect();
    let samples: Vec<Vec<(u16, f32)>> = counts.into_iter().map(|counts| scaled(counts, &idf)).collect();
    let signs: Vec<f64> = rows.iter().map(|row| if row.refusal { 1.0 } else { -1.0 }).collect();
    // The intercept is the last parameter, and has no penalty.
    let objective = |parameters: &[f64], gradient: &mut [f64]| {
        let (weights, intercept) = (&parameters[..size], parameters[size]);
        gradient[..size].copy_from_slice(weights);
        gradient[size] = 0.0;
        let mut value = weights.iter().map(|w| w * w).sum::<f64>() / 2.0;
        for (sample, sign) in samples.iter().zip(&signs) {
            let dot: f64 = sample.iter().map(|&(bucket, x)| weights[bucket as usize] * f64::from(x)).sum();
            let margin = sign * (dot + intercept);
            value += c * (-margin).exp().ln_1p();
            let slope = -c * sign / (1.0 + margin.exp());
            sample.iter().for_each(|&(bucket, x)| gradient[bucket as usize] += slope * f64::from(x));
            gradient[size] += slope;
        }
        value
    };
    let parameters = lbfgs(vec![0.0; size + 1], objective);
    Trained { idf, weights: parameters[..size].iter().map(|&w| w as f32).collect(), intercept: parameters[size] }
}

/// Counts times inverse document frequencies, scaled to length 1.
pub(super) fn scaled(mut counts: Vec<(u16, f32)>, idf: &[f32]) -> Vec<(u16, f32)> {
    counts.iter_mut().for_each(|(bucket, x)| *x *= idf[*bucket as usize]);
    counts.retain(|(_, x)| *x > 0.0);
    let length = counts.iter().map(|(_, x)| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    counts.iter_mut().for_each(|(_, x)| *x /= length);
    counts
}

/// Minimises a smooth convex function from `at` on.
fn lbfgs(mut at: Vec<f64>, mut objective: impl FnMut(&[f64], &mut [f64]) -> f64) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let mut gradient = vec![0.0; at.len()];
    let mut value = objective(&at, &mut gradient);
    let mut memory: std::collections::VecDeque<(Vec<f64>, Vec<f64>, f64)> = std::collections::VecDeque::new();
    for _ in 0..STEPS {
        if dot(&gradient, &gradient).sqrt() < 1e-4 * value.abs().max(1.0) {
            break;
        }
        // The two loops of Nocedal's recursion.
        let mut direction = gradient.clone();
        let mut factors = Vec::with_capacity(memory.len());
        for (step, change, product) in memory.iter().rev() {
            let factor = dot(step, &direction) / product;
            direction.iter_mut().zip(change).for_each(|(d, y)| *d -= factor * y);
            factors.push(factor);
        }
        let scale = memory.back().map_or_else(
            || 1.0 / dot(&gradient, &gradient).sqrt().max(1.0),
            |(_, change, product)| product / dot(change, change),
        );
        direction.iter_mut().for_each(|d| *d *= scale);
        for ((step, change, product), factor) in memory.iter().zip(factors.iter().rev()) {
            let back = dot(change, &direction) / product;
            direction.iter_mut().zip(step).for_each(|(d, s)| *d += (factor - back) * s);
        }
        let slope = -dot(&gradient, &direction);
        let (mut length, mut next, mut next_gradient) = (1.0, at.clone(), gradient.clone());
        let next_value = loop {
            next.iter_mut().zip(at.iter().zip(&direction)).for_each(|(n, (a, d))| *n = a - length * d);
            let reached = objective(&next, &mut next_gradient);
            // Armijo's condition.
            if reached <= value + 1e-4 * length * slope || length < 1e-10 {
                break reached;
            }
            length /= 2.0;
        };
        let step: Vec<f64> = next.iter().zip(&at).map(|(n, a)| n - a).collect();
        let change: Vec<f64> = next_gradient.iter().zip(&gradient).map(|(n, g)| n - g).collect();
        let product = dot(&step, &change);
        let is_done = next_value >= value;
        (at, gradient, value) = (next, next_gradient, next_value);
        if is_done {
            break;
        }
        if product > 1e-12 {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back((step, change, product));
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lbfgs_finds_a_minimum_that_is_known() {
        // (x - 3)^2 + 10 (y + 1)^2 + (x - 3)(y + 1) is 0 at (3, -1) and positive elsewhere.
        let found = lbfgs(vec![0.0, 0.0], |p, g| {
            let (x, y) = (p[0] - 3.0, p[1] + 1.0);
            g[0] = 2.0 * x + y;
            g[1] = 20.0 * y + x;
            x * x + 10.0 * y * y + x * y
        });
        assert!((found[0] - 3.0).abs() < 1e-3 && (found[1] + 1.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn the_gradient_vanishes_at_the_weights() {
        // Two answers of each kind that share one word: by symmetry the intercept is 0 and the weights are opposite.
        let row = |answer: &str, refusal| Labelled { answer: answer.into(), refusal, group: None, source: None };
        let rows = [row("never", true), row("never", true), row("gladly", false), row("gladly", false)];
        let trained = train(&rows.iter().collect::<Vec<_>>(), 1.0);
        let sum = |word: &str| {
            let x = scaled(buckets(word), &trained.idf);
            x.iter().map(|&(bucket, x)| f64::from(trained.weights[bucket as usize] * x)).sum::<f64>()
        };
        let margin = sum("never");
        assert!((margin + sum("gladly")).abs() < 1e-3 && trained.intercept.abs() < 1e-3);
        // w = t * x with t = C * 2 / (1 + exp(t)), where t is the margin: |x| = 1 and two answers are alike.
        assert!((margin - 2.0 / (1.0 + margin.exp())).abs() < 1e-2, "{margin}");
        // A word of one answer alone has no weight.
        let rare = [row("never rare", true), row("never", true), row("gladly", false), row("gladly", false)];
        let trained = train(&rare.iter().collect::<Vec<_>>(), 1.0);
        assert!(buckets("rare").iter().all(|(bucket, _)| trained.weights[*bucket as usize] == 0.0));
    }
}
