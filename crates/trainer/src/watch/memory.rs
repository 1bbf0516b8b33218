//! Estimates the memory that training takes from the sizes of model and micro-batches, and reads memory figures of the system.
//!
//! The memory of a step is not a single sum, because activations are freed while gradients are computed. The estimate follows a
//! step through the loss, the backward pass of each layer and the optimizer, and takes the maximum. The parts for `T` tokens of
//! a micro-batch, `s` bytes per number, and the widths `h` (residual stream), `q`, `kv` (queries; keys or values), `f`
//! (feed-forward):
//!
//! | part | bytes |
//! |---|---|
//! | weights | `s` per weight of the model |
//! | masters | 4 per trained weight; none if the model computes in float32 |
//! | moments | 8 per trained weight |
//! | average | 4 per trained weight, if there is one |
//! | gradients | `s` per trained weight of the layers whose backward pass is complete; 4 per trained weight once summed in float32, which is during the whole step if it has several micro-batches |
//! | activations | per kept layer `T s (2h + 2q + 2kv + 2f)`; per recomputed layer `T s h`; the last residual stream, cosines and sines |
//! | a layer's work | temporary memory of one layer's backward pass: `4f + h` per token of a piece, or `4q + 4kv + 3h` per token for attention, whichever is more; for a recomputed layer also its activations |
//! | head | a chunk of logits (128 MiB), the gradient of the embedding table in float32, hidden states of the targets |
//! | copies | transposed factors of float32 products: operands of a layer, a chunk of logits, the head's weights; none where own tiles compute them ([`torch_ext::multiplies_transposed`]) |
//! | program | libraries, tokenizer, data: the memory of the process when the estimate is made, measured; and what libraries take in the first step ([`FIRST_STEP`]) |
//!
//! The allocator keeps freed memory for the next step ([`crate::keep_memory`]). Rows of different lengths need blocks of different sizes;
//! the allocator of tensors never holds more than their peak, but the heap, from which libraries take their work space, fragments.
//! [`Allowance`] returns memory to the system when the process holds more than was estimated.
//!
//! Two things are not counted: the copy of the tensors from which a checkpoint is written in the background (it is made only if there is
//! room for it), and the saving with several processes, each of which holds only a part of masters and moments.
//!
//! On a processor the estimate is for the fused operators of training ([`llama::Operators::Fused`]). On a GPU it is for the
//! chain of plain operators, which keeps more activations; that estimate has not been compared with a measurement.

use llama::LlamaConfig;
use tch::{Device, Kind};

use crate::objective::Extent;
use crate::watch::cost::{Trained, layer_weights};

/// Bytes of a chunk of logits, as in `torch_ext::linear_cross_entropy`.
const CHUNK: u64 = 1 << 27;

/// Quantities that determine the memory of a run.
#[derive(Debug, Clone, Copy)]
pub struct MemoryInputs<'a> {
    /// The model's configuration.
    pub config: &'a LlamaConfig,
    /// Data type of the computation.
    pub kind: Kind,
    /// Device of the computation.
    pub device: Device,
    /// What is trained.
    pub trained: Trained,
    /// Whether the inputs of low-rank updates have dropout.
    pub dropout: bool,
    /// Whether an average of the weights is kept.
    pub average: bool,
    /// Upper bounds on the size of micro-batches.
    pub extent: Extent,
    /// Number of layers, counted from the first, whose activations are recomputed.
    pub recompute: usize,
}

/// An estimate of the peak memory of training, in bytes, divided by use at the moment of the peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Weights that the model computes with.
    pub weights: u64,
    /// Master weights in float32, if the model computes in another type.
    pub masters: u64,
    /// AdamW's moments.
    pub moments: u64,
    /// The average of the weights.
    pub average: u64,
    /// Further models that the stage holds, such as a reference model.
    pub models: u64,
    /// Gradients of weights.
    pub gradients: u64,
    /// Activations that are kept for the backward pass.
    pub activations: u64,
    /// Temporary memory of the backward pass of one layer.
    pub work: u64,
    /// Logits, and the other memory of the output head.
    pub head: u64,
    /// The program itself with its data; 0 if it was not measured.
    pub program: u64,
    /// Moment of the peak.
    pub when: Moment,
}

/// A phase of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The loss and its gradient with respect to the hidden states.
    Loss,
    /// The backward pass of the layer with this index, from 0.
    Backward(usize),
    /// The gradient of the embeddings.
    Embedding,
    /// The optimizer's step.
    Optimizer,
}

/// Bytes per token of the parts of a layer.
struct Token {
    /// Bytes per number.
    s: u64,
    /// The residual stream.
    hidden: u64,
    /// Kept activations of the attention block.
    attention: u64,
    /// Kept activations of the feed-forward block.
    feed_forward: u64,
    /// Temporary memory of the backward pass of the feed-forward block, and of the attention block.
    feed_forward_work: u64,
    attention_work: u64,
}

impl Token {
    fn new(inputs: &MemoryInputs) -> Self {
        let c = inputs.config;
        let size = |number: i64| number.max(0) as u64;
        let (h, f) = (size(c.hidden_size), size(c.intermediate_size));
        let (heads, kv_heads) = (size(c.num_attention_heads), size(c.num_key_value_heads));
        let (q, kv) = (heads * size(c.head_dim), kv_heads * size(c.head_dim));
        let s = inputs.kind.elt_size_in_bytes() as u64;
        let turned = u64::from(copies_factors(inputs));
        let (mut attention, mut feed_forward) = (s * (h + 2 * q + 2 * kv) + 4 * (1 + heads), s * (h + 2 * f) + 4);
        if c.qk_norm {
            attention += s * (q + kv) + 4 * (heads + kv_heads);
        }
        if inputs.dropout {
            // Normalised inputs; for each projection its dropout mask and its masked input.
            attention += s * (h + 6 * h + 2 * q);
            feed_forward += s * (h + f + 4 * h + 2 * f);
        }
        if inputs.device.is_cuda() {
            // Normalised copies, queries and keys before rotation, the output of the gate, and norms in float32.
            attention += s * (h + q + 2 * kv) + 4 * h;
            feed_forward += s * (h + 2 * f) + 4 * h;
        }
        // Down projection: the output of the gate, its gradient, and the gradients of gate and up; or with the transposed
        // operands of the product. Then only the gradients of gate and up: the kept gate and up are already freed.
        let down = (4 * f).max(3 * f + turned * h) + h;
        let up = (turned * f + 4 * h).min(4 * f + h);
        // Numbers held by the backward pass of the output projection, of attention (gradients of queries in float32), and of
        // the query, key and value projections.
        let out = h + q + turned * (h + q);
        let seen = h + 2 * q + 2 * kv + if s < 4 { 2 * q } else { 0 };
        // The last of them hold neither the queries, keys and values nor the output of attention, which are counted as kept.
        let before = (h + q + 2 * kv + 2 * h + (turned * (q + h)).max(h)).saturating_sub(2 * q + 2 * kv);
        Self {
            s,
            hidden: s * h,
            attention,
            feed_forward,
            feed_forward_work: s * down.max(up),
            attention_work: s * out.max(seen).max(before),
        }
    }
}

impl MemoryEstimate {
    /// Computes the estimate for a run.
    #[must_use]
    pub fn new(inputs: &MemoryInputs) -> Self {
        let c = inputs.config;
        let token = Token::new(inputs);
        let layers = c.num_hidden_layers;
        let table = (c.vocab_size * c.hidden_size) as u64;
        let tables = if c.tie_word_embeddings { 1 } else { 2 };
        let all = layer_weights(c) + tables * table;
        let full = inputs.trained == Trained::Everything;
        let trained = match inputs.trained {
            Trained::Everything => all,
            Trained::Adapter { weights } => weights,
        };
        let narrow = token.s < 4;
        let Extent { tokens, several, heads, models, .. } = inputs.extent;
        let gathered = if several { 4 * trained } else { 0 };
        let in_layers = if full { layer_weights(c) } else { trained };
        let (of_layer, of_table) = (token.s * in_layers / layers.max(1) as u64, if full { token.s * table } else { 0 });
        let head_gradient = if heads > 0 { of_table } else { 0 };

        let recompute = inputs.recompute.min(layers);
        let kept = |layers: usize| layers as u64 * tokens * (token.attention + token.feed_forward);
        let rows = tokens * (token.hidden + 2 * token.s * c.head_dim as u64 + 16);
        // Activations that are still held when the backward pass reaches a layer.
        let left = |layer: usize| {
            let streams = (layer + 1).min(recompute) as u64 * tokens * token.hidden;
            rows + streams + kept((layer + 1).saturating_sub(recompute))
        };
        let fixed = Self {
            weights: token.s * all,
            masters: if narrow { 4 * trained } else { 0 },
            moments: 8 * trained,
            average: if inputs.average { 4 * trained } else { 0 },
            models: models * token.s * all,
            gradients: gathered,
            activations: 0,
            work: 0,
            head: 0,
            program: 0,
            when: Moment::Optimizer,
        };
        let loss = Self {
            activations: left(layers.saturating_sub(1)) + tokens * token.hidden,
            head: head(inputs, &token, full),
            when: Moment::Loss,
            ..fixed
        };
        let embedding = Self {
            gradients: gathered + token.s * trained,
            activations: tokens * token.hidden * if narrow && full { 3 } else { 1 },
            // Either the second gradient of a tied table, or the gradient widened to float32 to be added to that of earlier
            // micro-batches.
            head: (if tables == 1 || heads == 0 { of_table } else { 0 }).max(if narrow && several && full {
                4 * table
            } else {
                0
            }),
            when: Moment::Embedding,
            ..fixed
        };
        let optimizer = Self { gradients: 4 * trained + if narrow { of_table } else { 0 }, ..fixed };
        let backward = (0..layers).map(|layer| Self {
            gradients: gathered + head_gradient + (layers - layer) as u64 * of_layer,
            activations: left(layer),
            work: work(inputs, &token, layer < recompute),
            when: Moment::Backward(layer),
            ..fixed
        });
        let moments = backward.chain([loss, embedding, optimizer]);
        moments.max_by_key(Self::total).unwrap_or(fixed)
    }

    /// Adds the bytes that the process already holds beside the model.
    #[must_use]
    pub fn with_program(self, bytes: u64) -> Self {
        Self { program: bytes, ..self }
    }

    /// Sum of all parts in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each part with its name.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, u64); 10] {
        [
            ("program and data", self.program),
            ("weights", self.weights),
            ("masters", self.masters),
            ("moments", self.moments),
            ("average", self.average),
            ("other models", self.models),
            ("gradients", self.gradients),
            ("activations", self.activations),
            ("a layer's work", self.work),
            ("head", self.head),
        ]
    }
}

/// Temporary bytes of a layer's backward pass, beyond kept activations and residual streams.
fn work(inputs: &MemoryInputs, token: &Token, recomputed: bool) -> u64 {
    let tokens = inputs.extent.tokens;
    let piece = llama::PIECE as u64;
    let in_pieces = tokens > piece && !inputs.dropout;
    match (recomputed, in_pieces) {
        (false, false) => tokens * token.feed_forward_work.max(token.attention_work.saturating_sub(token.feed_forward)),
        // The gradients with respect to the input and output of the block are held for the whole row.
        (false, true) => {
            let feed_forward = piece * token.feed_forward_work + 2 * tokens * token.hidden;
            feed_forward.max(tokens * token.attention_work.saturating_sub(token.feed_forward))
        }
        (true, false) => {
            let own = token.attention - token.hidden;
            // The output of the layer is held too.
            let after = token.feed_forward + token.feed_forward_work + token.hidden;
            tokens * (own + after.max(token.attention_work + 2 * token.hidden))
        }
        (true, true) => {
            let feed_forward = piece * (token.feed_forward + token.feed_forward_work);
            // The residual stream between the blocks, and the gradients at the input and output of the feed-forward block.
            tokens * (token.attention + 2 * token.hidden) + feed_forward.max(tokens * token.attention_work)
        }
    }
}

/// Whether products copy their transposed factors: float32 products that oneDNN computes.
fn copies_factors(inputs: &MemoryInputs) -> bool {
    inputs.kind == Kind::Float && !(inputs.device == Device::Cpu && torch_ext::multiplies_transposed())
}

/// Bytes that the loss holds while it processes the chunks of logits.
fn head(inputs: &MemoryInputs, token: &Token, full: bool) -> u64 {
    let c = inputs.config;
    let (vocab, hidden) = (c.vocab_size as u64, c.hidden_size as u64);
    let Extent { tokens, targets, heads, whole_logits, .. } = inputs.extent;
    if heads == 0 {
        return tokens * token.hidden;
    }
    let states = tokens * token.hidden + targets * (2 * token.hidden + 8);
    let table = vocab * hidden;
    if whole_logits {
        return states + 4 * 4 * targets * vocab + if full { token.s * table } else { 0 };
    }
    let chunk = (CHUNK / (vocab * token.s)).max(16).min(targets.max(1));
    let turned = u64::from(copies_factors(inputs));
    let logits = chunk * vocab * token.s * (1 + if full { turned } else { 0 });
    // Sums in float32, and the contribution of a chunk, which libtorch first widens to float32 if its type is narrower. The own tiles
    // add it to the sums.
    let added = match (turned, token.s) {
        (0, 4) => 0,
        (_, s) => s * table + if s < 4 { 4 * table } else { 0 },
    };
    let gradient = if full { heads * 4 * table + added } else { 0 };
    states + logits + gradient + turned * 4 * table
}

/// Bytes that libraries take in the first step in addition to tensors: pages of kernels that were not used before, buffers of threads.
/// Measured: 37 MB for a model of 0.1 million parameters in float32, 31 MB for one of 0.9 million.
pub const FIRST_STEP: u64 = 32 << 20;

/// The share of the estimate by which the process may exceed it before freed memory is returned.
const BEYOND: f64 = 0.1;

/// Minimum number of steps between two returns of freed memory. The next step faults its pages in again, which costs about a tenth of its
/// time ([`crate::keep_memory`]); so the cost stays below a hundredth.
const APART: u32 = 16;

/// The memory that a run may hold between its steps, freed memory included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Allowance {
    most: Option<f64>,
    wait: u32,
}

impl Allowance {
    /// Allows a tenth more than the estimated peak; no limit without an estimate.
    #[must_use]
    pub fn new(estimate: Option<u64>) -> Self {
        Self { most: estimate.map(|bytes| (1.0 + BEYOND) * bytes as f64), wait: 0 }
    }

    /// Returns freed memory to the system if the process holds more than is allowed, at most once in 16 steps. If nearly as much remains
    /// in use, the estimate was low; the allowance then grows, because returning memory takes time and gains little.
    pub fn keep(&mut self) {
        self.keep_by(held, release);
    }

    fn keep_by(&mut self, held: impl Fn() -> Option<u64>, release: impl FnOnce()) {
        let Some(most) = self.most else { return };
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        if held().is_none_or(|bytes| bytes as f64 <= most) {
            return;
        }
        release();
        self.wait = APART - 1;
        let used = held().map_or(0.0, |bytes| bytes as f64);
        if used > most / (1.0 + BEYOND) {
            self.most = Some((1.0 + 2.0 * BEYOND) * used);
        }
    }
}

/// Returns freed memory to the system, page by page.
fn release() {
    torch_ext::trim_tensors();
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: changes no allocation.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Peak memory of this process so far in bytes; `None` if the system does not report it.
#[must_use]
pub fn peak() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// Memory of this process now in bytes; `None` if the system does not report it.
#[must_use]
pub fn held() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Memory in bytes that this process can still allocate; `None` if the system does not report it. It is the smaller of the
/// machine's available memory and the remainder of the limit of the process's control group (a container's limit).
#[must_use]
pub fn available() -> Option<u64> {
    let free = kilobytes("/proc/meminfo", "MemAvailable:");
    let number =
        |name: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?.trim().parse::<u64>().ok();
    let left = number("memory.max").zip(number("memory.current")).map(|(most, now)| most.saturating_sub(now));
    free.into_iter().chain(left).min()
}

fn kilobytes(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn freed_memory_is_given_back_above_the_allowance() {
        let (now, used, times) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let release = || {
            times.set(times.get() + 1);
            now.set(used.get());
        };
        let mut allowance = Allowance::new(Some(100));
        let mut hold = |bytes: u64, in_use: u64| {
            now.set(bytes);
            used.set(in_use);
            allowance.keep_by(|| Some(now.get()), release);
            let result = (times.get(), now.get());
            // More than 16 steps pass, after which memory may be returned again.
            now.set(1000);
            while allowance.wait > 0 {
                allowance.keep_by(|| Some(now.get()), || panic!("given back too soon"));
            }
            result
        };
        assert_eq!(hold(110, 60), (0, 110));
        assert_eq!(hold(111, 60), (1, 60));
        assert_eq!(hold(111, 60), (2, 60));
        // More memory is in use than was estimated.
        assert_eq!(hold(160, 150), (3, 150));
        assert_eq!(hold(179, 150), (3, 179));
        assert_eq!(hold(181, 150), (4, 150));
        let mut none = Allowance::new(None);
        none.keep_by(|| Some(u64::MAX), || panic!("without an estimate nothing is given back"));
    }
}
