//! Fused operators between a decoder's matrix products: RMSNorm, SwiGLU's gate and rotary embedding. On a CPU each is one pass
//! over memory. All are differentiable, and equal the plain formula in float32 and bfloat16 (they round where the formula
//! rounds). `on_gpu` selects the kernels on a GPU and has no effect on a CPU.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::gpu::GpuKernels;
use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_rms_norm(out: *mut C_tensor, x: *const C_tensor, weight: *const C_tensor, eps: f64, own: bool)
    -> *mut c_char;
    fn tx_silu_gate(out: *mut C_tensor, gate: *const C_tensor, up: *const C_tensor, own: bool) -> *mut c_char;
    fn tx_rotate_half(
        out: *mut C_tensor,
        x: *const C_tensor,
        cosine: *const C_tensor,
        sine: *const C_tensor,
        own: bool,
    ) -> *mut c_char;
}

/// RMSNorm over the last dimension: `x / sqrt(mean(x²) + eps) · weight`, statistics in float32, rounded to the type of `x`
/// before the gain. `x` is `[..., width]`, `weight` `[width]`.
///
/// # Errors
/// [`OpError`] when shapes or devices do not match.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64, on_gpu: GpuKernels) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    // SAFETY: pointers to live tensors; `out` is written by assignment.
    check(unsafe { tx_rms_norm(out.as_ptr().cast_mut(), x.as_ptr(), weight.as_ptr(), eps, on_gpu.own()) })?;
    Ok(out)
}

/// SwiGLU's gate, `silu(gate) · up`. Both inputs have the same shape.
///
/// # Errors
/// [`OpError`] when shapes or devices do not match.
pub fn silu_gate(gate: &Tensor, up: &Tensor, on_gpu: GpuKernels) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    // SAFETY: as above.
    check(unsafe { tx_silu_gate(out.as_ptr().cast_mut(), gate.as_ptr(), up.as_ptr(), on_gpu.own()) })?;
    Ok(out)
}

/// Rotary embedding, `x · cosine + rotate_half(x) · sine`. `x` is `[rows, seq, heads, head_dim]`; `cosine` and `sine` are
/// `[rows, seq, 1, head_dim]`. Only `x` gets a gradient.
///
/// # Errors
/// [`OpError`] when shapes or devices do not match.
pub fn rotate_half(x: &Tensor, cosine: &Tensor, sine: &Tensor, on_gpu: GpuKernels) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    // SAFETY: as above.
    check(unsafe {
        tx_rotate_half(out.as_ptr().cast_mut(), x.as_ptr(), cosine.as_ptr(), sine.as_ptr(), on_gpu.own())
    })?;
    Ok(out)
}
