//! Cross-entropy from hidden states and an output head, without storing the logits of all tokens.
//!
//! `nll[t] = logsumexp(z) - z[label]` with `z = weight · hidden[t]`; the log-sum-exp is float32. The logits of only one chunk of
//! tokens exist at a time, in the forward and in the backward pass, for a frozen head and for a trained head (tied to the
//! embedding or not).

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::gpu::GpuKernels;
use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_linear_cross_entropy(
        out: *mut C_tensor,
        hidden: *const C_tensor,
        weight: *const C_tensor,
        labels: *const C_tensor,
        chunk: i64,
        own: bool,
    ) -> *mut c_char;
    fn tx_linear_cross_entropy_sum(
        out: *mut C_tensor,
        hidden: *const C_tensor,
        weight: *const C_tensor,
        labels: *const C_tensor,
        token_weights: *const C_tensor,
        chunk: i64,
        own: bool,
    ) -> *mut c_char;
}

/// The label of a token that is excluded from the loss.
pub const IGNORED: i64 = -100;

/// Bytes of the logits of a chunk, in the type of the head (128 MiB).
const CHUNK_BYTES: i64 = 1 << 27;

fn chunk_tokens(weight: &Tensor, chunk: Option<i64>) -> i64 {
    let vocab = weight.size().first().copied().unwrap_or(1).max(1);
    let token = vocab * weight.kind().elt_size_in_bytes() as i64;
    chunk.unwrap_or_else(|| (CHUNK_BYTES / token).max(16)).max(1)
}

/// The negative log-probability of each token, `[tokens]` float32; zero where the label is [`IGNORED`]. `hidden` is
/// `[tokens, width]`, `weight` is `[vocab, width]`, `labels` is `[tokens]` int64. The backward pass recomputes the logits.
/// `chunk` is the number of tokens in a chunk; by default the logits of a chunk take 128 MiB. `on_gpu` selects the kernels on a
/// GPU and has no effect on a CPU.
///
/// # Errors
/// [`OpError`] when shapes, types or devices do not match.
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    labels: &Tensor,
    chunk: Option<i64>,
    on_gpu: GpuKernels,
) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    let chunk = chunk_tokens(weight, chunk);
    let (hidden, weight, labels) = (hidden.as_ptr(), weight.as_ptr(), labels.as_ptr());
    // SAFETY: pointers to live tensors; `out` is written by assignment.
    check(unsafe { tx_linear_cross_entropy(out.as_ptr().cast_mut(), hidden, weight, labels, chunk, on_gpu.own()) })?;
    Ok(out)
}

/// `Σ token_weights[t] · nll[t]`, a float32 scalar: the sum of [`linear_cross_entropy`] weighted by `token_weights` (`[tokens]`
/// float32, constants; 1 if absent). The forward pass also computes the gradients, so no logits are computed twice: a quarter
/// less work for the head than summing [`linear_cross_entropy`]. The backward pass can run only once.
///
/// # Errors
/// [`OpError`] when shapes, types or devices do not match.
pub fn linear_cross_entropy_sum(
    hidden: &Tensor,
    weight: &Tensor,
    labels: &Tensor,
    token_weights: Option<&Tensor>,
    chunk: Option<i64>,
    on_gpu: GpuKernels,
) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    let chunk = chunk_tokens(weight, chunk);
    let token_weights = token_weights.map_or(std::ptr::null(), Tensor::as_ptr);
    let (hidden, weight, labels) = (hidden.as_ptr(), weight.as_ptr(), labels.as_ptr());
    // SAFETY: pointers to live tensors, or null for no weights; `out` is written by assignment.
    check(unsafe {
        tx_linear_cross_entropy_sum(out.as_ptr().cast_mut(), hidden, weight, labels, token_weights, chunk, on_gpu.own())
    })?;
    Ok(out)
}
