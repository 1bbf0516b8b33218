//! Attention of rows that hold several texts back to back, for training on a processor.

use std::ffi::c_char;

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

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

/// Keys that a segment sees: `length` of them from `start` on, which stand from `position` on in the segment's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: i64,
    /// Keys.
    pub length: i64,
    /// The first key's position.
    pub position: i64,
}

/// Queries back to back and the ranges of keys that they look over. A query at position `p` sees the keys of its ranges at
/// positions up to `p`, and not those `window` or more before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuerySegment {
    /// The first query.
    pub start: i64,
    /// Queries.
    pub length: i64,
    /// The first query's position.
    pub position: i64,
    /// Ranges of keys, ascending in keys and in positions, none in another.
    pub ranges: Vec<KeyRange>,
}

impl QuerySegment {
    /// A text of its own: tokens `[start, start + length)`, which see themselves causally.
    #[must_use]
    pub fn text(start: i64, length: i64) -> Self {
        Self { start, length, position: 0, ranges: vec![KeyRange { start, length, position: 0 }] }
    }

    /// Tokens `[start, start + length)` that go on where the `before` tokens from `shared` on end: they see all of these, and
    /// themselves causally.
    #[must_use]
    pub fn behind(start: i64, length: i64, (shared, before): (i64, i64)) -> Self {
        let earlier = KeyRange { start: shared, length: before, position: 0 };
        Self { start, length, position: before, ranges: vec![earlier, KeyRange { start, length, position: before }] }
    }
}

/// `softmax(q kᵀ / sqrt(width)) v` over the keys that each query sees: `q` is `[queries, heads, width]`, `k` and `v`
/// `[keys, kv_heads, width]`, the result is like `q` and 0 where no segment is. float32 and bfloat16 on a processor,
/// arithmetic in float32. Differentiable; the result does not depend on the number of threads, and nothing of the size of
/// queries times keys is held.
///
/// # Errors
/// [`OpError`] when shapes or devices do not fit, or a segment ends behind the last token.
pub fn range_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[QuerySegment],
    window: Option<i64>,
) -> Result<Tensor, OpError> {
    let (numbers, spans) = flattened(segments);
    let out = Tensor::new();
    // SAFETY: pointers to live tensors and to four numbers a segment and three a range; `out` is assigned.
    check(unsafe {
        tx_range_attention(
            out.as_ptr().cast_mut(),
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            numbers.as_ptr(),
            segments.len(),
            spans.as_ptr(),
            spans.len() / 3,
            window.unwrap_or(0),
        )
    })?;
    Ok(out)
}

/// Four numbers a segment and three a range.
fn flattened(segments: &[QuerySegment]) -> (Vec<i64>, Vec<i64>) {
    let numbers = segments.iter().flat_map(|s| [s.start, s.length, s.position, s.ranges.len() as i64]).collect();
    let ranges = segments.iter().flat_map(|segment| &segment.ranges);
    (numbers, ranges.flat_map(|range| [range.start, range.length, range.position]).collect())
}

/// Whether [`varlen_attention`] computes these segments of a tensor: bfloat16 on a GPU, heads of up to 256 numbers, and
/// segments that are texts of their own, or responses that see the whole of a prompt (those without a window).
#[must_use]
pub fn varlen_fits(q: &Tensor, segments: &[QuerySegment], window: Option<i64>) -> bool {
    let shape = q.size();
    let width = shape.last().copied().unwrap_or(0);
    q.device().is_cuda()
        && q.kind() == Kind::BFloat16
        && q.numel() > 0
        && width <= 256
        && width % 8 == 0
        && segments_fit(segments, shape[0], window)
}

fn segments_fit(segments: &[QuerySegment], tokens: i64, window: Option<i64>) -> bool {
    let (numbers, spans) = flattened(segments);
    // SAFETY: four numbers a segment and three a range.
    unsafe {
        let (segments, ranges) = (numbers.len() / 4, spans.len() / 3);
        tx_varlen_fits(numbers.as_ptr(), segments, spans.as_ptr(), ranges, tokens, window.unwrap_or(0))
    }
}

/// [`range_attention`] on a GPU, by libtorch's flash attention for sequences of various lengths: no mask, no copies of prompts
/// for each response, memory linear in the tokens. Every query has its key: `q`, `k` and `v` have the same tokens. On a
/// processor it computes plain formulas in float32, sequence by sequence, against which tests hold it. Differentiable.
///
/// # Errors
/// [`OpError`] when shapes do not fit, or segments are others than [`varlen_fits`] says.
pub fn varlen_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    segments: &[QuerySegment],
    window: Option<i64>,
) -> Result<Tensor, OpError> {
    let (numbers, spans) = flattened(segments);
    let out = Tensor::new();
    // SAFETY: pointers to live tensors and to four numbers a segment and three a range; `out` is assigned.
    check(unsafe {
        tx_varlen_attention(
            out.as_ptr().cast_mut(),
            q.as_ptr(),
            k.as_ptr(),
            v.as_ptr(),
            numbers.as_ptr(),
            numbers.len() / 4,
            spans.as_ptr(),
            spans.len() / 3,
            window.unwrap_or(0),
        )
    })?;
    Ok(out)
}
