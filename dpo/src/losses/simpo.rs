//! SimPO.

use tch::Tensor;

/// `-log σ(β log π(y⁺|x)/|y⁺| - β log π(y⁻|x)/|y⁻| - γ)` (Meng et al. 2024, equation 6). There is no reference, so
/// `chosen` and `rejected` are the policy's log-probs. It equals TRL's `simpo` of `cpo_loss`.
pub fn simpo(chosen: &Tensor, rejected: &Tensor, tokens: (&Tensor, &Tensor), beta: f64, gamma: f64) -> Tensor {
    -((chosen / tokens.0 - rejected / tokens.1) * beta - gamma).log_sigmoid()
}
