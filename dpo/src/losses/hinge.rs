//! The hinge loss.

use tch::Tensor;

/// `max(0, 1 - β (Δ⁺ - Δ⁻))` (Zhao et al. 2023, SLiC-HF, with the margin of log-ratios as in Liu et al. 2023, RSO,
/// equation 9). It equals TRL's `hinge`.
pub fn hinge(chosen: &Tensor, rejected: &Tensor, beta: f64) -> Tensor {
    ((chosen - rejected) * -beta + 1.0).relu()
}
