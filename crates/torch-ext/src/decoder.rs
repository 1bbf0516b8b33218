//! Forward pass of a whole decoder on a CPU, with packed weights and a paged KV cache (`cpp/decoder.cpp`).

use std::ffi::{CStr, c_char, c_void};
use std::ptr::{NonNull, null, null_mut};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::ops::{OpError, check};

/// Number of tokens in a page of the KV cache.
pub const PAGE: usize = 16;

#[repr(C)]
struct RawShape {
    sizes: [i64; 9],
    eps: f64,
}

#[repr(C)]
struct RawLayer {
    tensors: [*const C_tensor; 18],
    window: i64,
}

#[repr(C)]
struct RawSegment {
    first_row: i64,
    rows: i64,
    start: i64,
    first_page: i64,
}

unsafe extern "C" {
    fn tx_decoder_new(
        out: *mut *mut c_void,
        shape: *const RawShape,
        layers: *const RawLayer,
        embedding: *const C_tensor,
        norm: *const C_tensor,
        head: *const C_tensor,
        cosine: *const C_tensor,
        sine: *const C_tensor,
    ) -> *mut c_char;
    fn tx_decoder_free(decoder: *mut c_void);
    fn tx_decoder_forward(
        decoder: *mut c_void,
        ids: *const i64,
        rows: i64,
        segments: *const RawSegment,
        count: i64,
        pages: *const i32,
        wanted: *const i64,
        wanted_count: i64,
        logits: *mut f32,
        hidden: *mut f32,
    ) -> *mut c_char;
    fn tx_decoder_copy_page(decoder: *mut c_void, from: i64, to: i64);
    fn tx_decoder_level() -> *const c_char;
}

/// Sizes of a decoder, named as in a model's configuration.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub struct DecoderShape {
    pub hidden: i64,
    pub heads: i64,
    pub kv_heads: i64,
    pub head_dim: i64,
    pub feed_forward: i64,
    pub vocab: i64,
    /// Number of rows of the rotary tables.
    pub positions: i64,
    pub eps: f64,
}

impl DecoderShape {
    /// Whether the packed layout supports these sizes: widths must be multiples of 16, and the width of a head even.
    #[must_use]
    pub fn fits(&self) -> bool {
        let widths = [self.hidden, self.heads * self.head_dim, self.kv_heads * self.head_dim, self.feed_forward];
        widths.iter().all(|width| *width > 0 && width % 16 == 0) && self.head_dim % 2 == 0
    }
}

/// A weight `[out, in]` and its bias `[out]`.
#[derive(Clone, Copy)]
#[allow(missing_docs)]
pub struct Projection<'a> {
    pub weight: &'a Tensor,
    pub bias: Option<&'a Tensor>,
}

/// The parameters of one layer.
#[allow(missing_docs)]
pub struct DecoderLayer<'a> {
    pub input_norm: &'a Tensor,
    pub q: Projection<'a>,
    pub k: Projection<'a>,
    pub v: Projection<'a>,
    pub q_norm: Option<&'a Tensor>,
    pub k_norm: Option<&'a Tensor>,
    pub o: Projection<'a>,
    pub post_attention_norm: &'a Tensor,
    pub gate: Projection<'a>,
    pub up: Projection<'a>,
    pub down: Projection<'a>,
    /// Width of the attention window in tokens, including the token itself; `None` for no window.
    pub window: Option<i64>,
}

/// The parameters outside of the layers: embedding `[vocab, hidden]`, last norm `[hidden]`, output head `[vocab, hidden]` and
/// rotary tables.
#[allow(missing_docs)]
pub struct DecoderEnds<'a> {
    pub embedding: &'a Tensor,
    pub norm: &'a Tensor,
    pub head: &'a Tensor,
    /// `[positions, head_dim]`, float32.
    pub cosine: &'a Tensor,
    pub sine: &'a Tensor,
}

/// Consecutive tokens of one sequence: a prompt, a part of a prompt, or the next token to decode.
#[derive(Debug, Clone, Copy)]
pub struct Segment<'a> {
    /// Token ids.
    pub ids: &'a [i64],
    /// Position of the first token.
    pub start: usize,
    /// The pages of the sequence, from position 0 on. They hold the keys and values of earlier positions.
    pub pages: &'a [u32],
    /// Logits are returned for this many tokens at the end of `ids`.
    pub logits: usize,
}

/// A decoder with weights packed for the CPU and a KV cache of `pages` pages of [`PAGE`] tokens.
///
/// The results of a token depend only on its sequence: their bits depend neither on the other segments of a call, nor on how
/// the sequence is split into calls.
pub struct Decoder {
    raw: NonNull<c_void>,
    shape: DecoderShape,
    pages: usize,
}

// SAFETY: the C++ object owns its memory and tensors and is not bound to a thread.
unsafe impl Send for Decoder {}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the pointer is from tx_decoder_new and is freed once.
        unsafe { tx_decoder_free(self.raw.as_ptr()) }
    }
}

impl Decoder {
    /// Makes a packed copy of the weights (float32 or bfloat16, all of one type, on a CPU). The operating system provides the
    /// memory of a page when the page is first written.
    ///
    /// # Errors
    /// [`OpError`] when types or shapes do not match or there is not enough memory.
    pub fn new(
        shape: DecoderShape,
        layers: &[DecoderLayer],
        ends: &DecoderEnds,
        pages: usize,
    ) -> Result<Self, OpError> {
        if !shape.fits() {
            return Err(OpError::new(format!("{shape:?}: widths must be multiples of 16")));
        }
        check_parameters(&shape, layers, ends)?;
        let layers: Vec<RawLayer> = layers.iter().map(raw_layer).collect();
        let raw_shape = RawShape {
            sizes: [
                layers.len() as i64,
                shape.hidden,
                shape.heads,
                shape.kv_heads,
                shape.head_dim,
                shape.feed_forward,
                shape.vocab,
                shape.positions,
                pages as i64,
            ],
            eps: shape.eps,
        };
        let mut raw = null_mut();
        let DecoderEnds { embedding, norm, head, cosine, sine } = ends;
        // SAFETY: pointers to live tensors and structures; their shapes and types were checked.
        check(unsafe {
            tx_decoder_new(
                &raw mut raw,
                &raw const raw_shape,
                layers.as_ptr(),
                embedding.as_ptr(),
                norm.as_ptr(),
                head.as_ptr(),
                cosine.as_ptr(),
                sine.as_ptr(),
            )
        })?;
        let raw = NonNull::new(raw).ok_or_else(|| OpError::new("no decoder was made".into()))?;
        Ok(Self { raw, shape, pages })
    }

    /// Computes the tokens of all segments, each of a different sequence. Stores their keys and values in the cache, and writes
    /// the requested logits to `logits`: `[rows, vocab]`, in the order of the segments and their tokens.
    ///
    /// # Errors
    /// [`OpError`] when a token id, a position or a page does not exist, or there is not enough memory.
    pub fn forward(&mut self, segments: &[Segment], logits: &mut Vec<f32>) -> Result<(), OpError> {
        self.pass(segments, logits, false)
    }

    /// Like [`Decoder::forward`], but writes the hidden states after the last norm, `[rows, hidden]` in float32, instead of the
    /// logits.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn forward_hidden(&mut self, segments: &[Segment], hidden: &mut Vec<f32>) -> Result<(), OpError> {
        self.pass(segments, hidden, true)
    }

    fn pass(&mut self, segments: &[Segment], out: &mut Vec<f32>, is_hidden: bool) -> Result<(), OpError> {
        let (mut ids, mut pages, mut wanted, mut raw) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for segment in segments {
            self.check(segment)?;
            let first_row = ids.len() as i64;
            raw.push(RawSegment {
                first_row,
                rows: segment.ids.len() as i64,
                start: segment.start as i64,
                first_page: pages.len() as i64,
            });
            ids.extend_from_slice(segment.ids);
            pages.extend(segment.pages.iter().map(|&page| page as i32));
            let rows = ids.len() as i64;
            wanted.extend(rows - segment.logits as i64..rows);
        }
        let width = if is_hidden { self.shape.hidden } else { self.shape.vocab };
        out.resize(wanted.len() * width as usize, 0.0);
        let (logits, hidden) = if is_hidden { (null_mut(), out.as_mut_ptr()) } else { (out.as_mut_ptr(), null_mut()) };
        // SAFETY: the arrays have the stated lengths, and every index in them was checked.
        check(unsafe {
            tx_decoder_forward(
                self.raw.as_ptr(),
                ids.as_ptr(),
                ids.len() as i64,
                raw.as_ptr(),
                raw.len() as i64,
                pages.as_ptr(),
                wanted.as_ptr(),
                wanted.len() as i64,
                logits,
                hidden,
            )
        })
    }

    /// Copies the keys and values of all layers from one page to another.
    ///
    /// # Panics
    /// When a page does not exist.
    pub fn copy_page(&mut self, from: u32, to: u32) {
        assert!((from as usize) < self.pages && (to as usize) < self.pages, "pages {from} and {to} of {}", self.pages);
        // SAFETY: both pages exist.
        unsafe { tx_decoder_copy_page(self.raw.as_ptr(), i64::from(from), i64::from(to)) }
    }

    /// Instruction-set level of the kernels: `base`, `v3` (AVX2), `v4` (AVX-512), `v4_bf16` or `v4_amx`. It is the best level of the CPU,
    /// or the level that the variable `HERD_KERNELS` names. It is `none` if the variable names no level that the CPU supports;
    /// [`Decoder::new`] then returns an error.
    #[must_use]
    pub fn level() -> &'static str {
        // SAFETY: a static string of ASCII letters.
        unsafe { CStr::from_ptr(tx_decoder_level()) }.to_str().unwrap_or("base")
    }

    fn check(&self, segment: &Segment) -> Result<(), OpError> {
        let Segment { ids, start, pages, logits } = *segment;
        let end = start + ids.len();
        let what = if ids.is_empty() || logits > ids.len() {
            format!("{} tokens with {logits} logits", ids.len())
        } else if let Some(id) = ids.iter().find(|id| !(0..self.shape.vocab).contains(*id)) {
            format!("token id {id} of {}", self.shape.vocab)
        } else if end as i64 > self.shape.positions || end > pages.len() * PAGE {
            format!("{end} tokens in {} pages and {} positions", pages.len(), self.shape.positions)
        } else if let Some(page) = pages.iter().find(|page| **page as usize >= self.pages) {
            format!("page {page} of {}", self.pages)
        } else {
            return Ok(());
        };
        Err(OpError::new(format!("a segment of a decoder pass asks for {what}")))
    }
}

fn raw_layer(layer: &DecoderLayer) -> RawLayer {
    let maybe = |tensor: Option<&Tensor>| tensor.map_or(null(), Tensor::as_ptr);
    let l = layer;
    RawLayer {
        tensors: [
            l.input_norm.as_ptr(),
            l.q.weight.as_ptr(),
            l.k.weight.as_ptr(),
            l.v.weight.as_ptr(),
            maybe(l.q.bias),
            maybe(l.k.bias),
            maybe(l.v.bias),
            maybe(l.q_norm),
            maybe(l.k_norm),
            l.o.weight.as_ptr(),
            maybe(l.o.bias),
            l.post_attention_norm.as_ptr(),
            l.gate.weight.as_ptr(),
            l.up.weight.as_ptr(),
            l.down.weight.as_ptr(),
            maybe(l.gate.bias),
            maybe(l.up.bias),
            maybe(l.down.bias),
        ],
        window: l.window.unwrap_or(0),
    }
}

fn check_parameters(shape: &DecoderShape, layers: &[DecoderLayer], ends: &DecoderEnds) -> Result<(), OpError> {
    let kind = ends.embedding.kind();
    let expect = |name: &str, tensor: &Tensor, size: &[i64], kind: Kind| {
        if tensor.size() == size && tensor.kind() == kind && tensor.device() == tch::Device::Cpu {
            return Ok(());
        }
        let found = (tensor.size(), tensor.kind(), tensor.device());
        Err(OpError::new(format!("{name} is {found:?} where a decoder needs {size:?} in {kind:?} on the processor")))
    };
    let DecoderShape { hidden, heads, kv_heads, head_dim, feed_forward, vocab, positions, .. } = *shape;
    expect("the embedding", ends.embedding, &[vocab, hidden], kind)?;
    expect("the last norm", ends.norm, &[hidden], kind)?;
    expect("the head", ends.head, &[vocab, hidden], kind)?;
    for table in [ends.cosine, ends.sine] {
        expect("the rotation's table", table, &[positions, head_dim], Kind::Float)?;
    }
    for layer in layers {
        let projections = [
            ("q", layer.q, heads * head_dim, hidden),
            ("k", layer.k, kv_heads * head_dim, hidden),
            ("v", layer.v, kv_heads * head_dim, hidden),
            ("o", layer.o, hidden, heads * head_dim),
            ("gate", layer.gate, feed_forward, hidden),
            ("up", layer.up, feed_forward, hidden),
            ("down", layer.down, hidden, feed_forward),
        ];
        for (name, Projection { weight, bias }, out, input) in projections {
            expect(name, weight, &[out, input], kind)?;
            bias.map_or(Ok(()), |bias| expect(name, bias, &[out], kind))?;
        }
        expect("a norm", layer.input_norm, &[hidden], kind)?;
        expect("a norm", layer.post_attention_norm, &[hidden], kind)?;
        for norm in [layer.q_norm, layer.k_norm].into_iter().flatten() {
            expect("a head's norm", norm, &[head_dim], kind)?;
        }
    }
    Ok(())
}
