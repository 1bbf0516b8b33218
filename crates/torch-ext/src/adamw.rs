//! Fused AdamW over many tensors in one call.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_fused_adamw(
        params: *const *const C_tensor,
        grads: *const *const C_tensor,
        exp_avgs: *const *const C_tensor,
        exp_avg_sqs: *const *const C_tensor,
        count: usize,
        step: f64,
        lr: f64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        weight_decay: f64,
    ) -> *mut c_char;
}

/// Parameters of an AdamW step (Loshchilov and Hutter 2019, algorithm 2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub lr: f64,
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Coefficient of the decoupled weight decay: each step subtracts `lr · weight_decay · weight` from a weight.
    pub weight_decay: f64,
}

/// Takes one AdamW step: updates `params` and both moments in place from `grads`. `step` counts from 1. All slices have the
/// same length, and the tensors at the same index have the same shape, type and device.
///
/// # Errors
/// [`OpError`] when the lengths or the tensors do not match.
pub fn fused_adamw(
    params: &[&Tensor],
    grads: &[&Tensor],
    exp_avgs: &[&Tensor],
    exp_avg_sqs: &[&Tensor],
    step: u64,
    options: &AdamW,
) -> Result<(), OpError> {
    let count = params.len();
    if [grads.len(), exp_avgs.len(), exp_avg_sqs.len()].iter().any(|&len| len != count) {
        return Err(OpError::new(format!(
            "fused_adamw got {count} parameters, {} gradients, {} first and {} second moments",
            grads.len(),
            exp_avgs.len(),
            exp_avg_sqs.len()
        )));
    }
    let pointers = |tensors: &[&Tensor]| tensors.iter().map(|tensor| tensor.as_ptr()).collect::<Vec<_>>();
    let (p, g, m, v) = (pointers(params), pointers(grads), pointers(exp_avgs), pointers(exp_avg_sqs));
    let AdamW { lr, beta1, beta2, eps, weight_decay } = *options;
    // SAFETY: four arrays of `count` pointers to live tensors; the moments and parameters are written in place.
    check(unsafe {
        tx_fused_adamw(
            p.as_ptr().cast(),
            g.as_ptr().cast(),
            m.as_ptr().cast(),
            v.as_ptr().cast(),
            count,
            step as f64,
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
        )
    })
}
