//! Conservative DPO.

use tch::Tensor;

/// `-(1 - ε) log σ(β (Δ⁺ - Δ⁻)) - ε log σ(-β (Δ⁺ - Δ⁻))`: DPO that expects a share ε of wrong labels (Mitchell 2023,
/// "A note on DPO with noisy preferences", equation 3). It equals TRL's smoothed `sigmoid` of `cpo_loss`, on
/// log-ratios.
pub fn cdpo(chosen: &Tensor, rejected: &Tensor, beta: f64, label_smoothing: f64) -> Tensor {
    let margin = (chosen - rejected) * beta;
    margin.log_sigmoid() * (label_smoothing - 1.0) - (-margin).log_sigmoid() * label_smoothing
}
