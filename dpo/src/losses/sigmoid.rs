//! DPO.

use tch::Tensor;

/// `-log σ(β (Δ⁺ - Δ⁻))` (Rafailov et al. 2023, equation 7; the Llama 3 paper, section 4.1.4). It equals TRL's
/// `sigmoid`.
pub fn sigmoid(chosen: &Tensor, rejected: &Tensor, beta: f64) -> Tensor {
    -((chosen - rejected) * beta).log_sigmoid()
}
