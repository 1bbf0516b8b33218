//! The launches of each operation. Each struct holds the addresses of contiguous tensors and the sizes. `plan` returns the
//! launches, none if there is nothing to compute.

use crate::launch::{Argument, Element, Launch, Limits};

use Argument::{Address, Float, Long};

/// Threads per block for element-wise kernels and for short rows.
const THREADS: i64 = 128;

pub(crate) fn launch(
    name: &str,
    element: Element,
    grid: [u32; 2],
    block: [u32; 2],
    arguments: Vec<Argument>,
) -> Launch {
    Launch { kernel: format!("{name}_{}", element.name()), grid, block, arguments }
}

/// `a / b`, rounded up; neither is negative.
pub(crate) fn ceil(a: i64, b: i64) -> i64 {
    (a + b - 1) / b
}

/// Block size for kernels over rows of `width` elements: threads per row (a power of two from 32 to `most`) and rows per block.
fn rows_of_block(element: Element, width: i64, most: i64) -> [u32; 2] {
    let wanted = ceil(width, element.widest()).clamp(1, most);
    let across = (wanted as u64).next_power_of_two().max(32) as i64;
    [across as u32, (THREADS / across).max(1) as u32]
}

/// RMSNorm: `y = x / sqrt(mean(x²) + eps) · gain`.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm {
    /// Element type of `x`, `gain` and `y`.
    pub element: Element,
    /// `[rows, width]`
    pub x: u64,
    /// `[width]`
    pub gain: u64,
    /// `[rows, width]`, written
    pub y: u64,
    /// `[rows]` float32, written: `1 / sqrt(mean(x²) + eps)`
    pub scale: u64,
    /// Number of rows.
    pub rows: i64,
    /// Elements per row.
    pub width: i64,
    /// Added to the mean square.
    pub eps: f32,
}

impl RmsNorm {
    /// The launches of this operation.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        if self.rows == 0 || self.width == 0 {
            return Vec::new();
        }
        let block = rows_of_block(self.element, self.width, 512);
        let grid = [limits.blocks_for(ceil(self.rows, i64::from(block[1]))), 1];
        let arguments = vec![
            Address(self.x),
            Address(self.gain),
            Address(self.y),
            Address(self.scale),
            Long(self.rows),
            Long(self.width),
            Float(self.eps),
        ];
        vec![launch("rms_norm", self.element, grid, block, arguments)]
    }
}

/// The gradients of [`RmsNorm`].
#[derive(Debug, Clone, Copy)]
pub struct RmsNormBackward {
    /// Element type of all tensors but `scale` and `parts`.
    pub element: Element,
    /// `[rows, width]`, the gradient of `y`
    pub g: u64,
    /// `[rows, width]`
    pub x: u64,
    /// `[width]`
    pub gain: u64,
    /// `[rows]` float32, from the forward pass
    pub scale: u64,
    /// `[rows, width]`, written: the gradient of `x`; a null address if it is not needed
    pub gx: u64,
    /// `[width]`, written: the gradient of the gain; a null address if it is not needed
    pub g_gain: u64,
    /// `[strips, width]` float32, working memory for the gradient of the gain
    pub parts: u64,
    /// Number of rows.
    pub rows: i64,
    /// Elements per row.
    pub width: i64,
    /// Number of strips of rows over which the gain's gradient is summed first: see [`RmsNormBackward::strips`].
    pub strips: i64,
}

impl RmsNormBackward {
    /// The recommended number of strips: one for each 64 rows, at most 256.
    #[must_use]
    pub fn strips(rows: i64) -> i64 {
        ceil(rows, 64).min(256)
    }

    /// The launches of this operation.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        let Self { element, rows, width, strips, .. } = *self;
        let mut launches = Vec::new();
        if width == 0 {
            return launches;
        }
        if self.gx != 0 && rows > 0 {
            let block = rows_of_block(element, width, 512);
            let grid = [limits.blocks_for(ceil(rows, i64::from(block[1]))), 1];
            let tensors = [self.g, self.x, self.gain, self.scale, self.gx].map(Address);
            let arguments = [tensors.as_slice(), &[Long(rows), Long(width)]].concat();
            launches.push(launch("rms_norm_backward", element, grid, block, arguments));
        }
        if self.g_gain != 0 {
            if strips > 0 {
                let strip = ceil(rows, strips);
                let grid = [u32::try_from(ceil(width, 32)).unwrap_or(u32::MAX), strips as u32];
                let tensors = [self.g, self.x, self.scale, self.parts].map(Address);
                let arguments = [tensors.as_slice(), &[Long(rows), Long(width), Long(strip)]].concat();
                launches.push(launch("rms_norm_gain", element, grid, [32, 8], arguments));
            }
            let grid = [limits.blocks_for(ceil(width, THREADS)), 1];
            let arguments = vec![Address(self.parts), Address(self.g_gain), Long(strips), Long(width)];
            launches.push(launch("sum_strips", element, grid, [THREADS as u32, 1], arguments));
        }
        launches
    }
}

/// SwiGLU's gate: `y = silu(a) · b`.
#[derive(Debug, Clone, Copy)]
pub struct SiluGate {
    /// Element type of all tensors.
    pub element: Element,
    /// `[count]`
    pub a: u64,
    /// `[count]`
    pub b: u64,
    /// `[count]`, written
    pub y: u64,
    /// Number of elements.
    pub count: i64,
}

impl SiluGate {
    /// The launches of this operation.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        let arguments = [self.a, self.b, self.y].map(Address);
        each("silu_gate", self.element, &arguments, self.count, limits)
    }
}

/// The gradients of [`SiluGate`].
#[derive(Debug, Clone, Copy)]
pub struct SiluGateBackward {
    /// Element type of all tensors.
    pub element: Element,
    /// `[count]`, the gradient of `y`
    pub g: u64,
    /// `[count]`
    pub a: u64,
    /// `[count]`
    pub b: u64,
    /// `[count]`, written: the gradient of `a`
    pub ga: u64,
    /// `[count]`, written: the gradient of `b`
    pub gb: u64,
    /// Number of elements.
    pub count: i64,
}

impl SiluGateBackward {
    /// The launches of this operation.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        let arguments = [self.g, self.a, self.b, self.ga, self.gb].map(Address);
        each("silu_gate_backward", self.element, &arguments, self.count, limits)
    }
}

/// The launch of an element-wise kernel, whose last argument is the number of elements.
fn each(name: &str, element: Element, tensors: &[Argument], count: i64, limits: Limits) -> Vec<Launch> {
    if count == 0 {
        return Vec::new();
    }
    let grid = [limits.blocks_for(ceil(count, element.widest() * THREADS)), 1];
    vec![launch(name, element, grid, [THREADS as u32, 1], [tensors, &[Long(count)]].concat())]
}

/// Rotary embedding: `y = x · cosine + rotate_half(x) · sine`, or its gradient.
#[derive(Debug, Clone, Copy)]
pub struct Rotate {
    /// Element type of all tensors.
    pub element: Element,
    /// Computes the gradient: `x` is then the gradient of the result, and `y` becomes the gradient of the input.
    pub back: bool,
    /// `[tokens, heads, 2 half]`
    pub x: u64,
    /// `[tokens, 2 half]`
    pub cosine: u64,
    /// `[tokens, 2 half]`
    pub sine: u64,
    /// `[tokens, heads, 2 half]`, written
    pub y: u64,
    /// Number of tokens.
    pub tokens: i64,
    /// Heads per token.
    pub heads: i64,
    /// Half of a head's width.
    pub half: i64,
}

impl Rotate {
    /// The launches of this operation.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        let Self { tokens, heads, half, .. } = *self;
        if tokens == 0 || heads == 0 || half == 0 {
            return Vec::new();
        }
        let name = if self.back { "rotate_backward" } else { "rotate" };
        let [across, _] = rows_of_block(self.element, heads * half, 256);
        let tensors = [self.x, self.cosine, self.sine, self.y].map(Address);
        let arguments = [tensors.as_slice(), &[Long(tokens), Long(heads), Long(half)]].concat();
        vec![launch(name, self.element, [limits.blocks_for(tokens), 1], [across, 1], arguments)]
    }
}

/// Softmax cross-entropy: `nll[t] = logsumexp(z[t]) - z[t][label[t]]`. With a factor, the logits `z` are overwritten by the
/// gradient `factor[t] (softmax(z[t]) - onehot(label[t]))`.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy {
    /// Element type of `z`.
    pub element: Element,
    /// Logits, `[rows, vocab]`; overwritten if there is a factor
    pub z: u64,
    /// `[rows]` int64; a negative label excludes the row (nll and gradient 0)
    pub labels: u64,
    /// `[rows]` float32; a null address if no gradient is needed
    pub factor: u64,
    /// `[rows]` float32, written
    pub nll: u64,
    /// Number of rows.
    pub rows: i64,
    /// Logits per row.
    pub vocab: i64,
}

impl CrossEntropy {
    /// The launches of this operation.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        if self.rows == 0 || self.vocab == 0 {
            return Vec::new();
        }
        let [across, _] = rows_of_block(self.element, self.vocab, 512);
        let tensors = [self.z, self.labels, self.factor, self.nll].map(Address);
        let arguments = [tensors.as_slice(), &[Long(self.rows), Long(self.vocab)]].concat();
        vec![launch("cross_entropy", self.element, [limits.blocks_for(self.rows), 1], [across, 1], arguments)]
    }
}
