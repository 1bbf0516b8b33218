//! Attention over packed rows (several texts in one row), for training.

use std::ffi::c_char;

use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

/// C signature of an attention operator. Arguments: result, queries, keys, values, segments and their number, ranges of keys and
/// their number, window in tokens (0: none).
type Operator = unsafe extern "C" fn(
    *mut C_tensor,
    *const C_tensor,
    *const C_tensor,
    *const C_tensor,
    *const i64,
    usize,
    *const i64,
    usize,
    i64,
) -> *mut c_char;

unsafe extern "C" {
    fn tx_range_attention(
        out: *mut C_tensor,
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        segments: *const i64,
        count: usize,
        spans: *const i64,
        span_count: usize,
        window: i64,
    ) -> *mut c_char;
    fn tx_varlen_attention(
        out: *mut C_tensor,
        q: *const C_tensor,
        k: *const C_tensor,
        v: *const C_tensor,
        segments: *const i64,
        count: usize,
        spans: *const i64,
        span_count: usize,
        window: i64,
    ) -> *mut c_char;
    fn tx_varlen_fits(
        segments: *const i64,
        count: usize,
        spans: *const i64,
        span_count: usize,
        tokens: i64,
        window: i64,
    ) -> bool;
}

/// A range of keys that a segment attends to: `length` keys from index `start`, at positions from `position`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    /// Index of the first key.
    pub start: i64,
    /// Number of keys.
    pub length: i64,
    /// Position of the first key.
    pub position: i64,
}

/// A run of consecutive queries and the ranges of keys that they attend to. A query at position `p` attends to the keys of the
/// ranges at positions up to `p`; with a window, only to those less than `window` positions before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySegment {
    /// Index of the first query.
    pub start: i64,
    /// Number of queries.
    pub length: i64,
    /// Position of the first query.
    pub position: i64,
    /// Ranges of keys, ascending by key index and by position, without overlap.
    pub ranges: Vec<KeyRange>,
}

impl QuerySegment {
    /// An independent text: tokens `[start, start + length)` with causal attention to themselves.
    #[must_use]
    pub fn text(start: i64, length: i64) -> Self {
        Self { start, length, position: 0, ranges: vec![KeyRange { start, length, position: 0 }] }
    }

    /// Tokens `[start, start + length)` that continue a shared prefix: the `before` tokens from index `shared`. They attend to
    /// the whole prefix, and causally to themselves.
    #[must_use]
    pub fn behind(start: i64, length: i64, (shared, before): (i64, i64)) -> Self {
        let earlier = KeyRange { start: shared, length: before, position: 0 };
        Self { start, length, position: before, ranges: vec![earlier, KeyRange { start, length, position: before }] }
    }
}

/// Computes `softmax(q kᵀ / sqrt(width)) v` over the keys that each query attends to. `q` is `[queries, heads, width]`, `k` and
/// `v` are `[keys, kv_heads, width]`, float32 or bfloat16 on a CPU; the arithmetic is float32. The result has the shape of `q`,
/// and is 0 for queries outside of all segments. Differentiable. The bits of the result do not depend on the number of threads.
/// No tensor of size queries times keys is stored.
///
/// # Errors
/// [`OpError`] when shapes or devices do not match, or a segment ends after the last token.
pub fn range_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[QuerySegment],
    window: Option<i64>,
) -> Result<Tensor, OpError> {
    // SAFETY: the declaration above is that of the C function.
    unsafe { apply(tx_range_attention, [q, k, v], segments, window) }
}

/// Flattens the segments and calls an operator.
///
/// # Safety
/// `operator` reads four numbers per segment and three per range, and assigns its result to the first argument.
unsafe fn apply(
    operator: Operator,
    [q, k, v]: [&Tensor; 3],
    segments: &[QuerySegment],
    window: Option<i64>,
) -> Result<Tensor, OpError> {
    let (numbers, spans) = flattened(segments);
    let (count, span_count) = (numbers.len() / 4, spans.len() / 3);
    let out = Tensor::new();
    // SAFETY: all pointers are to live tensors and lists, whose lengths are given.
    check(unsafe {
        operator(
            out.as_ptr().cast_mut(),
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            numbers.as_ptr(),
            count,
            spans.as_ptr(),
            span_count,
            window.unwrap_or(0),
        )
    })?;
    Ok(out)
}

/// Flattens segments into four numbers per segment and three per range.
fn flattened(segments: &[QuerySegment]) -> (Vec<i64>, Vec<i64>) {
    let numbers = segments.iter().flat_map(|s| [s.start, s.length, s.position, s.ranges.len() as i64]).collect();
    let ranges = segments.iter().flat_map(|segment| &segment.ranges);
    (numbers, ranges.flat_map(|range| [range.start, range.length, range.position]).collect())
}

/// Whether [`varlen_attention`] supports these segments of this tensor: bfloat16 on a GPU, a head width that is a multiple of 8
/// up to 256, and segments that are independent texts or (without a window) responses that attend to the whole of one prompt.
/// Inside of [`crate::emulated`] also bfloat16 and float32 on a CPU.
#[must_use]
pub fn varlen_fits(q: &Tensor, segments: &[QuerySegment], window: Option<i64>) -> bool {
    let shape = q.size();
    let width = shape.last().copied().unwrap_or(0);
    texts_fit(q.device(), q.kind(), width) && q.numel() > 0 && segments_fit(segments, shape[0], window)
}

/// Whether [`varlen_attention`] computes independent texts with heads of this width: the part of [`varlen_fits`] that does not
/// depend on the segments.
#[must_use]
pub fn texts_fit(device: Device, kind: Kind, width: i64) -> bool {
    let here = match kind {
        Kind::BFloat16 => device.is_cuda() || crate::gpu::is_emulated(),
        // Only the plain formulas of the CPU path support float32; libtorch's flash attention does not.
        Kind::Float => crate::gpu::is_emulated(),
        _ => false,
    };
    here && width <= 256 && width % 8 == 0
}

fn segments_fit(segments: &[QuerySegment], tokens: i64, window: Option<i64>) -> bool {
    let (numbers, spans) = flattened(segments);
    // SAFETY: four numbers per segment and three per range.
    unsafe {
        let (segments, ranges) = (numbers.len() / 4, spans.len() / 3);
        tx_varlen_fits(numbers.as_ptr(), segments, spans.as_ptr(), ranges, tokens, window.unwrap_or(0))
    }
}

/// [`range_attention`] on a GPU, by libtorch's variable-length flash attention: without a mask, without a copy of the prompt for
/// each response, with memory linear in the tokens. `q`, `k` and `v` have the same number of tokens. On a CPU it computes the
/// plain formula in float32, one sequence at a time; only tests use this. Differentiable.
///
/// # Errors
/// [`OpError`] when shapes do not match, or when segments are not of the form that [`varlen_fits`] describes.
pub fn varlen_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[QuerySegment],
    window: Option<i64>,
) -> Result<Tensor, OpError> {
    // SAFETY: the declaration above is that of the C function.
    unsafe { apply(tx_varlen_attention, [q, k, v], segments, window) }
}
