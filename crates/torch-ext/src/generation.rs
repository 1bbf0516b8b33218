//! Own GPU kernels for generation: paged attention and token sampling. Both need a GPU for which the kernels compile, or the
//! emulation on a CPU ([`crate::emulated`]).

use std::ffi::{c_char, c_int};
use std::ptr::null;

use cuda_kernels::decoding;
use tch::{Device, Kind, Tensor};
use torch_sys::C_tensor;

use crate::decoder::PAGE;
use crate::gpu::GpuKernels;
use crate::ops::{OpError, check};

unsafe extern "C" {
    fn tx_gpu_takes(x: *const C_tensor) -> bool;
    fn tx_gpu_launch(
        op: c_int,
        on: *const C_tensor,
        tensors: *const *const C_tensor,
        count: usize,
        numbers: *const i64,
        number_count: usize,
        eps: f64,
    ) -> *mut c_char;
}

/// Operation numbers: `Op::Attention` and `Op::Sample` in `cpp/gpu.h`.
const ATTENTION: c_int = 7;
const SAMPLE: c_int = 8;

fn is_taken(x: &Tensor) -> bool {
    // SAFETY: a live tensor.
    matches!(x.kind(), Kind::Float | Kind::BFloat16) && unsafe { tx_gpu_takes(x.as_ptr()) }
}

fn launch(op: c_int, on: &Tensor, tensors: &[Option<&Tensor>], numbers: &[i64], eps: f64) -> Result<(), OpError> {
    let tensors: Vec<*const C_tensor> = tensors.iter().map(|tensor| tensor.map_or(null(), Tensor::as_ptr)).collect();
    // SAFETY: pointers to live tensors and to lists of the given lengths.
    check(unsafe {
        tx_gpu_launch(op, on.as_ptr(), tensors.as_ptr(), tensors.len(), numbers.as_ptr(), numbers.len(), eps)
    })
}

/// Page table of a batch: the KV-cache pages and the number of keys of each sequence, on the device of the cache.
#[derive(Debug)]
pub struct PageTable {
    /// Page numbers, `[sequences, pages of the longest sequence]` int32; 0 after a sequence's last page.
    table: Tensor,
    /// Number of keys of each sequence, `[sequences]` int32.
    lengths: Tensor,
    /// Upper bound of the lengths, in keys.
    longest: usize,
    /// Upper bound of the page numbers.
    highest: u32,
}

impl PageTable {
    /// Builds the table from the pages and the number of keys of each sequence.
    ///
    /// # Errors
    /// When a sequence has more keys than fit into its pages, or there is not enough memory.
    pub fn new(sequences: &[(&[u32], usize)], device: Device) -> Result<Self, OpError> {
        let longest = sequences.iter().map(|(_, keys)| *keys).max().unwrap_or(0);
        let pages_each = longest.div_ceil(PAGE).max(1);
        // Lengths come first: both tensors are then contiguous slices of one tensor, which one copy brings to the device.
        let mut numbers: Vec<i32> = sequences.iter().map(|(_, keys)| *keys as i32).collect();
        let mut highest = 0;
        for (pages, keys) in sequences {
            let used = keys.div_ceil(PAGE);
            if pages.len() < used {
                return Err(OpError::new(format!("{keys} keys in {} pages of {PAGE}", pages.len())));
            }
            highest = pages[..used].iter().copied().fold(highest, u32::max);
            numbers.extend(pages[..used].iter().map(|&page| page as i32));
            numbers.extend(std::iter::repeat_n(0, pages_each - used));
        }
        let rows = sequences.len() as i64;
        let both = Tensor::f_from_slice(&numbers)?.f_to_device(device)?;
        let table = both.f_narrow(0, rows, rows * pages_each as i64)?.f_reshape([rows, pages_each as i64])?;
        Ok(Self { table, lengths: both.f_narrow(0, 0, rows)?, longest, highest })
    }

    /// Wraps tensors that the caller fills: `table`, `[sequences, pages]` int32, with page numbers up to `highest`, and
    /// `lengths`, `[sequences]` int32, the number of keys of each sequence, at most as many as fit into the pages.
    ///
    /// # Errors
    /// When the shapes or types are others.
    pub fn over(table: Tensor, lengths: Tensor, highest: u32) -> Result<Self, OpError> {
        let (shape, rows) = (table.size(), lengths.size());
        if shape.len() != 2 || rows != shape[..1] || [table.kind(), lengths.kind()] != [Kind::Int; 2] {
            let text = format!("a table {shape:?} {:?} of {rows:?} {:?} lengths", table.kind(), lengths.kind());
            return Err(OpError::new(text));
        }
        let longest = shape[1] as usize * PAGE;
        Ok(Self { table, lengths, longest, highest })
    }
}

/// Whether [`page_attention`] supports `heads` query heads over this cache, `[pages, PAGE, kv_heads, width]`: `on_gpu` allows
/// own kernels, the cache's device and type have them, and they support these heads.
#[must_use]
pub fn page_attention_fits(cache: &Tensor, heads: i64, on_gpu: GpuKernels) -> bool {
    let shape = cache.size();
    on_gpu.own() && shape.len() == 4 && decoding::PagedAttention::fits(heads, shape[2], shape[3]) && is_taken(cache)
}

/// Paged attention for decoding, with one query per sequence: `softmax(q kᵀ / sqrt(width)) v` in float32, over the last `window`
/// keys (`None`: all keys). `q` is `[sequences, heads, width]`, `keys` and `values` are `[pages, PAGE, kv_heads, width]`. The
/// result has the shape of `q`, and is 0 for a sequence without keys. The result of a sequence has the same bits in any batch.
/// No gradient.
///
/// # Errors
/// When shapes or types do not match, or a page number is outside of the cache.
pub fn page_attention(
    q: &Tensor,
    (keys, values): (&Tensor, &Tensor),
    pages: &PageTable,
    window: Option<i64>,
) -> Result<Tensor, OpError> {
    let (shape, cache) = (q.size(), keys.size());
    let fits = shape.len() == 3
        && cache.len() == 4
        && values.size() == cache
        && cache[1] == PAGE as i64
        && cache[3] == shape[2]
        && pages.table.size()[0] == shape[0]
        && [keys.kind(), values.kind()] == [q.kind(); 2]
        && decoding::PagedAttention::fits(shape[1], cache[2], shape[2]);
    if !fits || i64::from(pages.highest) >= cache[0] {
        let text = format!(
            "attention of queries {shape:?} over pages {cache:?} with {} sequences and pages up to {}",
            pages.table.size()[0],
            pages.highest
        );
        return Err(OpError::new(text));
    }
    let _no_grad = tch::no_grad_guard();
    let (rows, heads, width, longest) = (shape[0], shape[1], shape[2], pages.longest as i64);
    let split = decoding::PagedAttention::SPLIT;
    let parts = decoding::PagedAttention::parts(longest, split);
    let q = q.f_contiguous()?;
    let out = q.f_empty_like()?;
    let working = |last: i64| Tensor::f_empty([rows, heads, parts, last], (Kind::Float, q.device()));
    let (sums, softs) = if parts > 1 { (Some(working(width)?), Some(working(2)?)) } else { (None, None) };
    let tensors = [
        Some(&q),
        Some(keys),
        Some(values),
        Some(&pages.table),
        Some(&pages.lengths),
        Some(&out),
        sums.as_ref(),
        softs.as_ref(),
    ];
    let pages_each = pages.table.size()[1];
    let numbers = [rows, heads, cache[2], width, pages_each, PAGE as i64, window.unwrap_or(0), split, longest];
    launch(ATTENTION, &q, &tensors, &numbers, 1.0 / (width as f64).sqrt())?;
    Ok(out)
}

/// Sampling parameters of one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drawing {
    /// Temperature; 0 chooses the most likely token.
    pub temperature: f64,
    /// Keeps this many of the most likely tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most likely tokens whose probabilities add up to this; 1 keeps all.
    pub top_p: f64,
    /// Drops tokens less likely than this times the most likely one; 0 keeps all.
    pub min_p: f64,
    /// Uniform random number from `[0, 1)`, for inverse-CDF sampling.
    pub point: f64,
}

/// A token and its log-probability under the model itself (temperature 1, no tokens dropped); `None` if a logit of the row is
/// not finite.
pub type Sampled = Option<(i64, f32)>;

/// Whether [`sample_tokens`] supports rows of `vocab` logits with the type and on the device of `like`, and `on_gpu` allows it.
#[must_use]
pub fn sample_tokens_fits(like: &Tensor, vocab: i64, on_gpu: GpuKernels) -> bool {
    on_gpu.own() && (1..=decoding::Sample::MOST).contains(&vocab) && is_taken(like)
}

/// Samples one token from each row of logits `[rows, vocab]`, on their device: only tokens and log-probabilities are copied to
/// the host. With the same `point`, the CPU sampler chooses the same token, up to the rounding differences that
/// `cuda/sample.cu` states.
///
/// # Errors
/// When there are not as many drawings as rows, or [`sample_tokens_fits`] is false.
pub fn sample_tokens(logits: &Tensor, drawings: &[Drawing]) -> Result<Vec<Sampled>, OpError> {
    let shape = logits.size();
    if shape.len() != 2 || shape[0] != drawings.len() as i64 || !sample_tokens_fits(logits, shape[1], GpuKernels::Own) {
        return Err(OpError::new(format!("{} choices from logits {shape:?} {:?}", drawings.len(), logits.kind())));
    }
    if drawings.is_empty() {
        return Ok(Vec::new());
    }
    let _no_grad = tch::no_grad_guard();
    let numbers = |d: &Drawing| [d.temperature, d.top_k as f64, d.top_p, d.min_p, d.point];
    let numbers: Vec<f64> = drawings.iter().flat_map(numbers).collect();
    let device = logits.device();
    let logits = logits.f_contiguous()?;
    let parameters = Tensor::f_from_slice(&numbers)?.f_to_device(device)?;
    let sums = Tensor::f_empty([shape[0], decoding::Sample::sums(shape[1])], (Kind::Double, device))?;
    let chosen = Tensor::f_empty([shape[0] * 2], (Kind::Int64, device))?;
    let tensors = [Some(&logits), Some(&parameters), Some(&sums), Some(&chosen)];
    launch(SAMPLE, &logits, &tensors, &shape, 0.0)?;
    let words = Vec::<i64>::try_from(chosen).map_err(OpError::from)?;
    let choice = |pair: &[i64]| (pair[0] >= 0).then(|| (pair[0], f32::from_bits(pair[1] as u32)));
    Ok(words.chunks(2).map(choice).collect())
}
