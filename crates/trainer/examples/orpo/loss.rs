//! Odds-ratio preference optimisation (Hong et al. 2024, equation 6):
//!
//! ```text
//! L = -log P(chosen) + lambda · -log sigmoid(log odds(chosen) - log odds(rejected)),   odds(y) = P(y) / (1 - P(y))
//! ```
//!
//! where `log P(y)` is the mean log-probability of the tokens of an answer. There is no reference model.

use tch::Tensor;

/// The loss, summed over pairs. `chosen` and `rejected` are `[pairs]`: the mean log-probability of each answer.
pub fn orpo_sum(chosen: &Tensor, rejected: &Tensor, lambda: f64) -> Tensor {
    let log_odds = |log_p: &Tensor| log_p - (-log_p.exp()).log1p();
    let preference = -(log_odds(chosen) - log_odds(rejected)).log_sigmoid();
    (preference * lambda - chosen).sum(chosen.kind())
}
