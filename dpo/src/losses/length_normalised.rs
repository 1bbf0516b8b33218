//! Length-normalised DPO.

use tch::Tensor;

/// `-log σ(β (Δ⁺/|y⁺| - Δ⁻/|y⁻|))` (Lambert et al. 2024, Tülu 3, equation 6). A long response does not count more
/// than a short one. A good β is larger than DPO's, such as 5. It equals TRL's `sigmoid_norm`.
pub fn length_normalised(chosen: &Tensor, rejected: &Tensor, tokens: (&Tensor, &Tensor), beta: f64) -> Tensor {
    -((chosen / tokens.0 - rejected / tokens.1) * beta).log_sigmoid()
}
