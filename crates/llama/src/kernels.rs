//! What stands between the matrix products, in two ways: transformers' own chain of operators, which agrees with it to the
//! last bit in bfloat16, and fused kernels of one pass, several times faster on a processor, which round sums otherwise.
//! Sampling takes the first; training switches to the second, for all of its passes.

use std::sync::atomic::{AtomicBool, Ordering};

use tch::{Kind, Tensor};

static FUSED: AtomicBool = AtomicBool::new(false);

/// Takes the fused kernels from now on, in this process.
pub fn fuse() {
    FUSED.store(true, Ordering::Relaxed);
}

/// Whether operators on `x` are the fused ones of training.
pub(crate) fn trains_fused(x: &Tensor) -> bool {
    fused() && torch_ext::trains_fused(x)
}

fn fused() -> bool {
    FUSED.load(Ordering::Relaxed)
}

/// Shapes and types were checked when the model was built; what libtorch refuses nonetheless is a bug or no memory.
fn must(what: &str, result: Result<Tensor, torch_ext::OpError>) -> Tensor {
    result.unwrap_or_else(|error| panic!("{what}: {error}"))
}

/// RMSNorm over the last dimension: `x / sqrt(mean(x²) + eps) · weight`, statistics in float32, rounded to the type of `x`
/// before the gain.
pub(crate) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    if fused() {
        return must("RMSNorm", torch_ext::rms_norm(x, weight, eps));
    }
    let wide = x.to_kind(Kind::Float);
    let mean_square = (&wide * &wide).mean_dim([-1].as_slice(), true, Kind::Float);
    let normal = wide * (mean_square + eps).rsqrt();
    normal.to_kind(x.kind()) * weight
}

/// SwiGLU's gate: `silu(gate) · up`.
pub(crate) fn silu_gate(gate: &Tensor, up: &Tensor) -> Tensor {
    if fused() {
        return must("SwiGLU", torch_ext::silu_gate(gate, up));
    }
    gate.silu() * up
}

/// `x cos + rotate_half(x) sin` for `x` of `[rows, seq, heads, head_dim]`.
pub(crate) fn rotate_half(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Tensor {
    if fused() {
        return must("rotation", torch_ext::rotate_half(x, cos, sin));
    }
    let halves = x.chunk(2, -1);
    let rotated = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1);
    x * cos + rotated * sin
}
