//! Attention of rows that hold several texts back to back, for training on a processor.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_segment_attention(
        out: *mut C_tensor,
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        segments: *const i64,
        count: usize,
    ) -> *mut c_char;
}

/// A text in a row, or the rest of one: `length` tokens from `start` on, which see themselves causally and all of the
/// `before` tokens from `shared` on. A segment that shares tokens follows the one that they belong to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The first token.
    pub start: i64,
    /// Tokens.
    pub length: i64,
    /// The first token of what stands before it elsewhere.
    pub shared: i64,
    /// Tokens of that; 0 for a text of its own.
    pub before: i64,
}

/// `softmax(q kᵀ / sqrt(width)) v` within each segment: `q` is `[tokens, heads, width]`, `k` and `v` `[tokens, kv_heads,
/// width]`, the result is like `q` and 0 where no segment is. float32 and bfloat16 on a processor, arithmetic in float32.
/// Differentiable; the result does not depend on the number of threads.
///
/// # Errors
/// [`OpError`] when shapes or devices do not fit, or a segment ends behind the last token.
pub fn segment_attention(q: &Tensor, k: &Tensor, v: &Tensor, segments: &[Segment]) -> Result<Tensor, OpError> {
    let out = Tensor::new();
    let (q, k, v) = (q.as_ptr(), k.as_ptr(), v.as_ptr());
    // SAFETY: pointers to live tensors; `Segment` is four numbers in the order that the C side reads; `out` is assigned.
    check(unsafe { tx_segment_attention(out.as_ptr().cast_mut(), q, k, v, segments.as_ptr().cast(), segments.len()) })?;
    Ok(out)
}
