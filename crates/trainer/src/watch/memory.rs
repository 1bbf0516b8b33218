//! An estimate of the memory that training takes, from the sizes of model and micro-batches; and what the system says.
//!
//! A step's memory is not one sum: activations are freed while gradients are made. The estimate follows a step through the loss,
//! the backward pass layer by layer and the optimizer, and takes the moment at which most is held. What is counted, for `T` tokens
//! of a micro-batch, numbers of `s` bytes, widths `h` (stream), `q`, `kv` (queries; keys or values), `f` (feed-forward):
//!
//! | part | bytes |
//! |---|---|
//! | weights | `s` a weight of the model |
//! | masters | 4 a trained weight, none where the model computes in float32 |
//! | moments | 8 a trained weight |
//! | average | 4 a trained weight, where one is kept |
//! | gradients | `s` a trained weight of the layers that the backward pass is through with; 4 a trained weight once summed in float32, which is all along where a step has several micro-batches |
//! | activations | of a kept layer `T s (2h + 2q + 2kv + 2f)`; of one that is computed again `T s h`; the last stream, cosines and sines |
//! | a layer's work | what its backward pass holds for a moment: `4f + h` a token of a piece, or the attention's `4q + 4kv + 3h` a token, whichever is more, and of a layer that is computed again its activations |
//! | head | a chunk of logits (128 MiB) and its turned copy, the table's gradient in float32, hidden states of the targets |
//! | program | libraries, tokenizer, data: what the process holds when the estimate is made, measured |
//!
//! Not counted: the copy that a checkpoint is written from in the background, which is made only where there is room for it; and with
//! several processes, that each holds a part of masters and moments only.
//!
//! On a processor this is the operators of training ([`llama::Operators::Fused`]); on a GPU the chain of operators, which keeps
//! more, and has not been measured.

use llama::LlamaConfig;
use tch::{Device, Kind};

use crate::objective::Extent;
use crate::watch::cost::{Trained, layer_weights};

/// The logits of a chunk, as `torch_ext::linear_cross_entropy` cuts them.
const CHUNK: u64 = 1 << 27;

/// What a run's memory depends on.
#[derive(Debug, Clone, Copy)]
pub struct MemoryInputs<'a> {
    /// The model's sizes.
    pub config: &'a LlamaConfig,
    /// The type to compute in.
    pub kind: Kind,
    /// Where to compute.
    pub device: Device,
    /// What is trained.
    pub trained: Trained,
    /// Whether inputs of low-rank updates are dropped.
    pub dropout: bool,
    /// Whether an average of the weights is kept.
    pub average: bool,
    /// How large micro-batches get.
    pub extent: Extent,
    /// Layers, from the first, whose activations are computed again.
    pub recompute: usize,
}

/// An estimate of the most memory that training holds, in bytes, by what it is for at that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// The weights that the model computes with.
    pub weights: u64,
    /// Master weights in float32, where the model computes in another type.
    pub masters: u64,
    /// AdamW's moments.
    pub moments: u64,
    /// The average of the weights.
    pub average: u64,
    /// Models that the stage holds beside, such as a reference.
    pub models: u64,
    /// Gradients of weights.
    pub gradients: u64,
    /// Activations that wait for the backward pass.
    pub activations: u64,
    /// What the backward pass of one layer holds for a moment.
    pub work: u64,
    /// Logits, and what the output head adds.
    pub head: u64,
    /// The program itself with its data, where that was measured.
    pub program: u64,
    /// When the most is held.
    pub when: Moment,
}

/// A moment of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The loss and its gradient by the hidden states.
    Loss,
    /// The backward pass of a layer, from 0.
    Backward(usize),
    /// The gradient of the embeddings.
    Embedding,
    /// The optimizer's step.
    Optimizer,
}

/// Bytes of one token.
struct Token {
    /// Bytes of a number.
    s: u64,
    /// Of the residual stream.
    hidden: u64,
    /// Of the attention half of a layer, kept.
    attention: u64,
    /// Of its feed-forward half, kept.
    feed_forward: u64,
    /// Held for a moment by the backward pass of a feed-forward block, and by that of an attention block.
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
        // oneDNN takes turned operands of float32 products as copies.
        let turned = u64::from(s == 4);
        let (mut attention, mut feed_forward) = (s * (h + 2 * q + 2 * kv) + 4 * (1 + heads), s * (h + 2 * f) + 4);
        if c.qk_norm {
            attention += s * (q + kv) + 4 * (heads + kv_heads);
        }
        if inputs.dropout {
            // Normalised inputs, and for each projection its mask and what the mask leaves.
            attention += s * (h + 6 * h + 2 * q);
            feed_forward += s * (h + f + 4 * h + 2 * f);
        }
        if inputs.device.is_cuda() {
            // Normalised copies, queries and keys before their rotation, the gate's result, and norms in float32.
            attention += s * (h + q + 2 * kv) + 4 * h;
            feed_forward += s * (h + 2 * f) + 4 * h;
        }
        // The gate's result, its gradient, and those of the gate's halves; or with turned operands of the product. Then the
        // halves' gradients alone, while gate and up, which were kept, are free again.
        let down = (4 * f).max(3 * f + turned * h) + h;
        let up = (turned * f + 4 * h).min(4 * f + h);
        // Of the output projection, of attention (gradients of queries in float32), and of the three projections before it.
        let out = h + q + turned * (h + q);
        let seen = h + 2 * q + 2 * kv + if turned == 0 { 2 * q } else { 0 };
        let before = h + q + 2 * kv + 2 * h + (turned * (q + h)).max(h);
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
    /// The estimate for a run.
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
        // The activations that are left when the backward pass comes to a layer.
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
            // A second gradient of a tied table; or, widened, the gradient that is added to the earlier micro-batches'.
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

    /// With what the process holds beside the model already.
    #[must_use]
    pub fn with_program(self, bytes: u64) -> Self {
        Self { program: bytes, ..self }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each part under its name.
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

/// What the backward pass of a layer holds for a moment, beyond kept activations and streams.
fn work(inputs: &MemoryInputs, token: &Token, recomputed: bool) -> u64 {
    let tokens = inputs.extent.tokens;
    let piece = llama::PIECE as u64;
    let in_pieces = tokens > piece && !inputs.dropout;
    match (recomputed, in_pieces) {
        (false, false) => tokens * token.feed_forward_work.max(token.attention_work.saturating_sub(token.feed_forward)),
        // Gradients of the pieces' ends and beginnings are held for the whole row.
        (false, true) => {
            let feed_forward = piece * token.feed_forward_work + 2 * tokens * token.hidden;
            feed_forward.max(tokens * token.attention_work.saturating_sub(token.feed_forward))
        }
        (true, false) => {
            let own = token.attention - token.hidden;
            // The layer's output is held too.
            let after = token.feed_forward + token.feed_forward_work + token.hidden;
            tokens * (own + after.max(token.attention_work + 2 * token.hidden))
        }
        (true, true) => {
            let feed_forward = piece * (token.feed_forward + token.feed_forward_work);
            // The stream between the halves and the gradients at both ends of the feed-forward block.
            tokens * (token.attention + 2 * token.hidden) + feed_forward.max(tokens * token.attention_work)
        }
    }
}

/// What the loss holds while the logits' chunks pass.
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
    let turned = u64::from(token.s == 4);
    let logits = chunk * vocab * token.s * (1 + if full { turned } else { 0 });
    // Sums in float32; what a chunk adds, which libtorch widens first where it is narrow.
    let added = token.s * table + if turned == 0 { 4 * table } else { 0 };
    let gradient = if full { heads * 4 * table + added } else { 0 };
    states + logits + gradient + turned * 4 * table
}

/// The most memory that this process has held so far, in bytes, where the system says so.
#[must_use]
pub fn peak() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// The memory that this process holds now, in bytes, where the system says so.
#[must_use]
pub fn held() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// Memory that this process could still get, in bytes, where the system says so: what the machine has free, or what the limit of
/// its control group (a container's) leaves, whichever is less.
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
