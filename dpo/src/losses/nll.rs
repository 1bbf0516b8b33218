//! The NLL of the chosen response.

use tch::Tensor;

/// `-log π(y⁺|x) / |y⁺|` over *all* tokens of the chosen response, including formatting tokens. It preserves the
/// format and the log-prob of the chosen response against the preference loss (the Llama 3 paper, section 4.1.4, with
/// the factor 0.2; Pang et al. 2024, equation 1). `log_prob` and `tokens` are `[pairs]`.
pub fn chosen_nll(log_prob: &Tensor, tokens: &Tensor) -> Tensor {
    -(log_prob / tokens)
}
