//! Linear layers that share one input, fused with the operation before them, for training on a CPU.

use std::ffi::c_char;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_projections(
        out: *const *const C_tensor,
        before: i64,
        x: *const C_tensor,
        second: *const C_tensor,
        parts: *const *const C_tensor,
        scales: *const f64,
        count: usize,
        eps: f64,
    ) -> *mut c_char;
}

unsafe extern "C" {
    fn tx_multiplies_transposed() -> bool;
}

/// Whether float32 products of training on a CPU read transposed factors without copies of them. This is so where the CPU has the
/// instructions of the own tiles (`cpp/products.cpp`).
#[must_use]
pub fn multiplies_transposed() -> bool {
    // SAFETY: reads the level of the kernels, which is chosen once.
    unsafe { tx_multiplies_transposed() }
}

/// The operation on the input that is fused into the projections.
#[derive(Debug, Clone, Copy)]
pub enum InputOp<'a> {
    /// No operation.
    Nothing,
    /// RMSNorm with this gain (`[in]`) and epsilon.
    Norm(&'a Tensor, f64),
    /// `silu(x) · up`, where `up` has the shape of `x`.
    Gate(&'a Tensor),
}

/// A linear layer with an optional low-rank update: `f(x) Wᵀ + scale · (f(x) Aᵀ) Bᵀ`, where `f` is the [`InputOp`].
#[derive(Debug, Clone, Copy)]
pub struct Projection<'a> {
    /// `W`, `[out, in]`
    pub weight: &'a Tensor,
    /// The low-rank update, if there is one: `A` (`[rank, in]`), `B` (`[out, rank]`) and its scale. With a scale of 0 the update
    /// is skipped, and `A` and `B` get no gradient.
    pub update: Option<(&'a Tensor, &'a Tensor, f64)>,
}

/// Whether [`projections`] and [`crate::range_attention`] support the device and type of this tensor. Always false inside of
/// [`crate::emulated`], which runs the GPU code path.
#[must_use]
pub fn trains_fused(x: &Tensor) -> bool {
    x.device() == Device::Cpu
        && !crate::gpu::is_emulated()
        && matches!(x.kind(), Kind::Float | Kind::BFloat16)
        && x.numel() > 0
}

/// Computes the projections of one input `[..., in]`, float32 or bfloat16 on a CPU; each result is `[..., out]`. Differentiable.
/// Of the activations, only `x` (and `up`) is kept for the backward pass, which recomputes the input operation. The backward
/// pass adds the input's gradients up inside the matrix products, and computes no gradients of frozen weights.
///
/// # Errors
/// [`OpError`] when shapes, types or devices do not match.
pub fn projections(before: InputOp, x: &Tensor, list: &[Projection]) -> Result<Vec<Tensor>, OpError> {
    let null = std::ptr::null();
    let (code, second, eps) = match before {
        InputOp::Nothing => (0, null, 0.0),
        InputOp::Norm(gain, eps) => (1, gain.as_ptr(), eps),
        InputOp::Gate(up) => (2, up.as_ptr(), 0.0),
    };
    let outputs: Vec<Tensor> = list.iter().map(|_| Tensor::new()).collect();
    let out: Vec<*const C_tensor> = outputs.iter().map(Tensor::as_ptr).collect();
    let parts = |p: &Projection| match p.update {
        Some((a, b, _)) => [p.weight.as_ptr(), a.as_ptr(), b.as_ptr()],
        None => [p.weight.as_ptr(), null, null],
    };
    let parts: Vec<*const C_tensor> = list.iter().flat_map(parts).collect();
    let scales: Vec<f64> = list.iter().map(|p| p.update.map_or(0.0, |(_, _, scale)| scale)).collect();
    // SAFETY: pointers to live tensors or null; the `count` outputs are written by assignment.
    check(unsafe {
        tx_projections(out.as_ptr(), code, x.as_ptr(), second, parts.as_ptr(), scales.as_ptr(), list.len(), eps)
    })?;
    Ok(outputs)
}
