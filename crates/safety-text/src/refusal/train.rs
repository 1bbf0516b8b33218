//! Training of the linear head: logistic regression with an L2 penalty on features weighted by inverse document frequency.
//!
//! Minimises C * sum of ln(1 + exp(-s(w . x + b))) + |w|^2 / 2 over w and b, where s = 1 for a refusal and -1 otherwise, and x
//! has length 1 (scikit-learn's `TfidfTransformer` and `LogisticRegression`). Uses L-BFGS ([`crate::lbfgs`]) without
//! randomness: the same labels give the same bytes.

use super::features::{BITS, buckets};
use crate::lbfgs::minimise;

/// A labelled answer.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Labelled {
    /// Text of the answer.
    pub answer: String,
    /// Whether a person judged that it refuses, fully or in part.
    pub refusal: bool,
    /// Rows of one group stay on the same side of a split; usually the id of the prompt.
    #[serde(default)]
    pub group: Option<String>,
    /// Source of the answer; figures are given for each source.
    #[serde(default)]
    pub source: Option<String>,
}

/// Weights before quantisation.
#[derive(Debug)]
pub(super) struct Trained {
    /// Inverse document frequencies by bucket; 0 if the bucket is not used.
    pub idf: Vec<f32>,
    /// Weights by bucket.
    pub weights: Vec<f32>,
    /// The constant term b.
    pub intercept: f64,
}

/// Minimal number of answers that contain a bucket for it to be used, so that no n-gram of a single answer has its own weight.
const MIN_ANSWERS: u32 = 2;

/// Trains on labelled answers; `c` is the inverse strength of the penalty.
pub(super) fn train(rows: &[&Labelled], c: f64) -> Trained {
    let size = 1 << BITS;
    let counts: Vec<Vec<(u16, f32)>> = rows.iter().map(|row| buckets(&row.answer)).collect();
    let mut documents = vec![0u32; size];
    counts.iter().flatten().for_each(|&(bucket, _)| documents[bucket as usize] += 1);
    // Smoothed: as if one more answer contained every n-gram.
    let idf: Vec<f32> = documents
        .iter()
        .map(|&n| if n < MIN_ANSWERS { 0.0 } else { ((1.0 + rows.len() as f32) / (1.0 + n as f32)).ln() + 1.0 })
        .collect();
    let samples: Vec<Vec<(u16, f32)>> = counts.into_iter().map(|counts| scaled(counts, &idf)).collect();
    let signs: Vec<f64> = rows.iter().map(|row| if row.refusal { 1.0 } else { -1.0 }).collect();
    // The intercept is the last parameter and has no penalty.
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
    let parameters = minimise(vec![0.0; size + 1], objective);
    Trained { idf, weights: parameters[..size].iter().map(|&w| w as f32).collect(), intercept: parameters[size] }
}

/// Multiplies counts by inverse document frequencies and scales the result to length 1.
pub(super) fn scaled(mut counts: Vec<(u16, f32)>, idf: &[f32]) -> Vec<(u16, f32)> {
    counts.iter_mut().for_each(|(bucket, x)| *x *= idf[*bucket as usize]);
    counts.retain(|(_, x)| *x > 0.0);
    let length = counts.iter().map(|(_, x)| x * x).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    counts.iter_mut().for_each(|(_, x)| *x /= length);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_vanishes_at_the_weights() {
        // Two answers of each kind that share one word. By symmetry the intercept is 0 and the weights are opposite.
        let row = |answer: &str, refusal| Labelled { answer: answer.into(), refusal, group: None, source: None };
        let rows = [row("never", true), row("never", true), row("gladly", false), row("gladly", false)];
        let trained = train(&rows.iter().collect::<Vec<_>>(), 1.0);
        let sum = |word: &str| {
            let x = scaled(buckets(word), &trained.idf);
            x.iter().map(|&(bucket, x)| f64::from(trained.weights[bucket as usize] * x)).sum::<f64>()
        };
        let margin = sum("never");
        assert!((margin + sum("gladly")).abs() < 1e-3 && trained.intercept.abs() < 1e-3);
        // w = t * x with t = C * 2 / (1 + exp(t)), where t is the margin: |x| = 1, and the two answers of a kind are equal.
        assert!((margin - 2.0 / (1.0 + margin.exp())).abs() < 1e-2, "{margin}");
        // A word that occurs in a single answer has no weight.
        let rare = [row("never rare", true), row("never", true), row("gladly", false), row("gladly", false)];
        let trained = train(&rare.iter().collect::<Vec<_>>(), 1.0);
        assert!(buckets("rare").iter().all(|(bucket, _)| trained.weights[*bucket as usize] == 0.0));
    }
}
