//! The loss of a reward model: `-log σ(r⁺ - r⁻)` over pairs (Bradley and Terry 1952; the Llama 3 paper, section 4.1.2,
//! which drops Llama 2's margin).

use tch::{Kind, Tensor};

/// `Σ -log σ(scores[better] - scores[worse])` in float32. `scores` is `[responses]`; `better` and `worse` are
/// `[pairs]` int64 indices into it.
#[must_use = "the loss is computed for its value"]
pub fn ranking_loss_sum(scores: &Tensor, better: &Tensor, worse: &Tensor) -> Tensor {
    -margins(scores, better, worse).log_sigmoid().sum(Kind::Float)
}

/// `scores[better] - scores[worse]`, float32.
#[must_use = "the margins are computed for their value"]
pub fn margins(scores: &Tensor, better: &Tensor, worse: &Tensor) -> Tensor {
    let scores = scores.to_kind(Kind::Float);
    scores.index_select(0, better) - scores.index_select(0, worse)
}

/// All pairs of a ranking of `count` responses, best first: indices of the better and of the worse response.
#[must_use]
pub fn ranked_pairs(count: usize) -> Vec<(usize, usize)> {
    (0..count).flat_map(|better| (better + 1..count).map(move |worse| (better, worse))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edited_over_chosen_over_rejected_makes_three_pairs() {
        assert_eq!(ranked_pairs(3), [(0, 1), (0, 2), (1, 2)]);
        assert_eq!(ranked_pairs(2), [(0, 1)]);
        assert!(ranked_pairs(1).is_empty());
    }

    #[test]
    fn loss_and_gradient_are_the_closed_form() {
        torch_ext::init();
        let values = [0.3_f64, -1.2, 2.0, 0.7];
        let pairs = [(0_usize, 1_usize), (0, 2), (1, 2), (3, 0)];
        let places = |of: fn(&(usize, usize)) -> usize| {
            Tensor::from_slice(&pairs.iter().map(|pair| of(pair) as i64).collect::<Vec<_>>())
        };
        let scores = Tensor::from_slice(&values).to_kind(Kind::Float).set_requires_grad(true);
        let loss = ranking_loss_sum(&scores, &places(|pair| pair.0), &places(|pair| pair.1));
        loss.backward();
        // ln(1 + exp(-(a - b))), and its derivative with respect to a: -σ(b - a).
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let expected: f64 = pairs.iter().map(|&(a, b)| (1.0 + (values[b] - values[a]).exp()).ln()).sum();
        assert!((f64::try_from(&loss).unwrap() - expected).abs() < 1e-5);
        let mut gradient = [0.0; 4];
        for (a, b) in pairs {
            let slope = sigmoid(values[b] - values[a]);
            gradient[a] -= slope;
            gradient[b] += slope;
        }
        let found = Vec::<f32>::try_from(scores.grad()).unwrap();
        for (found, expected) in found.iter().zip(gradient) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} {expected}");
        }
        // For a margin that would overflow exp, the loss is the margin itself.
        let far = Tensor::from_slice(&[0.0_f32, 200.0]);
        let loss = ranking_loss_sum(&far, &Tensor::from_slice(&[0_i64]), &Tensor::from_slice(&[1_i64]));
        assert!((f64::try_from(loss).unwrap() - 200.0).abs() < 1e-3);
    }
}
