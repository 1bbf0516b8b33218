//! The operators between the matrix products, in both implementations of [`Operators`]. `on_gpu` selects the kernels of the
//! fused operators on a GPU.

use tch::{Kind, Tensor};
use torch_ext::{GpuKernels, OpError};

use crate::pass::Operators;

/// Whether the fused CPU operators of training are used for `x`.
pub(crate) fn trains_fused(operators: Operators, x: &Tensor) -> bool {
    operators == Operators::Fused && torch_ext::trains_fused(x)
}

/// RMSNorm over the last dimension: `x / sqrt(mean(x²) + eps) · weight`, statistics in float32, rounded to the type of `x`
/// before the gain.
pub(crate) fn rms_norm(
    (operators, on_gpu): (Operators, GpuKernels),
    x: &Tensor,
    weight: &Tensor,
    eps: f64,
) -> Result<Tensor, OpError> {
    if operators == Operators::Fused {
        return torch_ext::rms_norm(x, weight, eps, on_gpu);
    }
    let wide = x.to_kind(Kind::Float);
    let mean_square = (&wide * &wide).mean_dim([-1].as_slice(), true, Kind::Float);
    let normal = wide * (mean_square + eps).rsqrt();
    Ok(normal.to_kind(x.kind()) * weight)
}

/// SwiGLU's gate: `silu(gate) · up`.
pub(crate) fn silu_gate(
    (operators, on_gpu): (Operators, GpuKernels),
    gate: &Tensor,
    up: &Tensor,
) -> Result<Tensor, OpError> {
    if operators == Operators::Fused {
        return torch_ext::silu_gate(gate, up, on_gpu);
    }
    Ok(gate.silu() * up)
}

/// `x cos + rotate_half(x) sin` for `x` of `[rows, seq, heads, head_dim]`.
pub(crate) fn rotate_half(
    (operators, on_gpu): (Operators, GpuKernels),
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
) -> Result<Tensor, OpError> {
    if operators == Operators::Fused {
        return torch_ext::rotate_half(x, cos, sin, on_gpu);
    }
    let halves = x.chunk(2, -1);
    let rotated = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1);
    Ok(x * cos + rotated * sin)
}
