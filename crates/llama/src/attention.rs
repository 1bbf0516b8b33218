//! Attention over rows with different masks. The model computes projections and rotary embeddings; an [`Attend`] decides which
//! keys a query attends to. Queries are `[rows, seq, heads, head_dim]`, keys and values `[rows, seq, kv_heads, head_dim]`,
//! results have the shape of the queries.

use tch::{Kind, Tensor};
use torch_ext::{OpError, QuerySegment, catch, range_attention, varlen_attention, varlen_fits};

use crate::pass::Operators;

/// An attention mask and its implementation. The forward pass calls it once per layer, in order. [`crate::Recompute`] calls it
/// again in the backward pass, from the last layer to the first.
pub trait Attend {
    /// Computes the attention output of a layer.
    ///
    /// # Errors
    /// When shapes do not match, or there is not enough memory.
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError>;
}

/// The layer that calls attention, and the settings of the pass.
#[derive(Debug, Clone, Copy)]
pub struct LayerContext {
    /// Index of the layer, from 0.
    pub layer: usize,
    /// Sliding window of the layer in tokens, including the token itself; `None` for no window.
    pub window: Option<i64>,
    /// Implementation of the operators.
    pub operators: Operators,
}

/// Each row is one document with causal attention: a token attends to itself and to the tokens before it in its row. Rows may
/// be padded on the right. The output at padding is meaningless; no other output depends on it.
pub struct Causal;

impl Attend for Causal {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let (rows, seq, ..) = q.size4()?;
        if context.operators == Operators::Plain && context.window.is_none_or(|window| window >= seq) {
            return catch(|| Ok(scaled_dot_product(q, k, v, None, true)));
        }
        over_segments(|| (0..rows).map(|row| QuerySegment::text(row * seq, seq)).collect(), context, q, k, v)
    }
}

/// Each row holds several documents, one after another, that do not attend to each other. `documents[row]` has their lengths in
/// tokens. The part of a row that they do not cover is padding.
pub struct Packed<'a> {
    /// Lengths of the documents of each row.
    pub documents: &'a [Vec<i64>],
}

impl Packed<'_> {
    fn segments(&self, seq: i64) -> Vec<QuerySegment> {
        let row = |(row, lengths): (usize, &Vec<i64>)| {
            let mut start = row as i64 * seq;
            let text = |&length: &i64| {
                start += length;
                QuerySegment::text(start - length, length)
            };
            lengths.iter().map(text).collect::<Vec<_>>()
        };
        self.documents.iter().enumerate().flat_map(row).collect()
    }
}

impl Attend for Packed<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let (_, seq, ..) = q.size4()?;
        over_segments(|| self.segments(seq), context, q, k, v)
    }
}

/// A prompt with several responses in one row: the tokens of the prompt once, then the tokens of each response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptGroup {
    /// Number of tokens of the prompt; at least 1.
    pub prompt: i64,
    /// Number of tokens of each response.
    pub responses: Vec<i64>,
}

impl PromptGroup {
    /// Number of tokens of the prompt and of all responses.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.prompt + self.responses.iter().sum::<i64>()
    }
}

/// Each row holds several groups, one after another, that do not attend to each other. A prompt attends to itself. A response
/// attends to its prompt and to itself, as if it followed the prompt directly, but to no other response. The part of a row that
/// no group covers is padding.
pub struct SharedPrompt<'a> {
    /// The groups of each row.
    pub groups: &'a [Vec<PromptGroup>],
}

impl SharedPrompt<'_> {
    fn segments(&self, seq: i64) -> Vec<QuerySegment> {
        let mut all = Vec::new();
        for (row, groups) in self.groups.iter().enumerate() {
            let mut start = row as i64 * seq;
            for PromptGroup { prompt, responses } in groups {
                let shared = start;
                all.push(QuerySegment::text(start, *prompt));
                start += prompt;
                for &length in responses {
                    all.push(QuerySegment::behind(start, length, (shared, *prompt)));
                    start += length;
                }
            }
        }
        all
    }
}

impl Attend for SharedPrompt<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let (_, seq, ..) = q.size4()?;
        over_segments(|| self.segments(seq), context, q, k, v)
    }
}

/// Attention over rows `[rows, seq, ...]`. The segments index the tokens of all rows in ascending order; the output is 0
/// outside of segments. There are three implementations:
/// - [`varlen_attention`]: fused operators in bfloat16 on a GPU (flash attention over sequences of different lengths).
/// - [`range_attention`]: float32 and bfloat16 on a CPU, for fused operators and for plain operators that need a mask. It stores
///   no mask.
/// - [`piece_by_piece`]: everything else, with libtorch's operators, one segment at a time. Plain causal attention is computed
///   here, because libtorch rounds as transformers does.
fn over_segments(
    segments: impl FnOnce() -> Vec<QuerySegment>,
    context: LayerContext,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Result<Tensor, OpError> {
    let LayerContext { window, operators, .. } = context;
    let mut segments = segments();
    segments.retain(|segment| segment.length > 0);
    let plain = operators == Operators::Plain && segments.iter().all(|segment| is_causal(segment, window));
    let flat = |x: &Tensor| x.flatten(0, 1);
    let (flat_q, flat_k, flat_v) = (flat(q), flat(k), flat(v));
    let out = if operators == Operators::Fused && varlen_fits(&flat_q, &segments, window) {
        varlen_attention(&flat_q, &flat_k, &flat_v, &segments, window)
    } else if plain || !torch_ext::trains_fused(q) {
        catch(|| Ok(piece_by_piece(&segments, window, &flat_q, &flat_k, &flat_v)))
    } else {
        range_attention(&flat_q, &flat_k, &flat_v, &segments, window)
    };
    let out = out.map_err(|e| e.context(format!("attention of {:?} {:?} over {:?}", q.size(), q.kind(), k.size())))?;
    Ok(out.view_as(q))
}

/// Whether a segment is an independent text that fits into the window.
fn is_causal(segment: &QuerySegment, window: Option<i64>) -> bool {
    *segment == QuerySegment::text(segment.start, segment.length)
        && window.is_none_or(|window| window >= segment.length)
}

/// Maximal number of queries that are computed at once with a mask.
const MASKED_QUERIES: i64 = 512;

/// Attention with libtorch's operators, one segment at a time. `q` is `[tokens, heads, width]`, `k` and `v` are
/// `[tokens, kv_heads, width]`. A mask covers at most [`MASKED_QUERIES`] queries and the keys that they attend to.
fn piece_by_piece(segments: &[QuerySegment], window: Option<i64>, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    let part = |x: &Tensor, start: i64, length: i64| x.narrow(0, start, length).unsqueeze(0);
    let tokens = q.size()[0];
    let mut end = 0;
    let mut parts = Vec::with_capacity(segments.len() + 1);
    let gap = |from: i64, to: i64| q.narrow(0, from, to - from).zeros_like();
    for segment in segments {
        if segment.start > end {
            parts.push(gap(end, segment.start));
        }
        end = segment.start + segment.length;
        if is_causal(segment, window) {
            let [q, k, v] = [q, k, v].map(|x| part(x, segment.start, segment.length));
            parts.push(scaled_dot_product(&q, &k, &v, None, true).squeeze_dim(0));
            continue;
        }
        for first in (0..segment.length).step_by(MASKED_QUERIES as usize) {
            let count = MASKED_QUERIES.min(segment.length - first);
            let position = segment.position + first;
            let lowest = window.map_or(0, |window| position + 1 - window);
            let (mut keys, mut values, mut positions) = (Vec::new(), Vec::new(), Vec::new());
            for range in &segment.ranges {
                let from = range.position.max(lowest);
                let to = (range.position + range.length).min(position + count);
                if from < to {
                    let start = range.start + from - range.position;
                    keys.push(part(k, start, to - from));
                    values.push(part(v, start, to - from));
                    positions.extend(from..to);
                }
            }
            let key_positions = Tensor::from_slice(&positions).to_device(q.device());
            let query_positions = Tensor::arange_start(position, position + count, (Kind::Int64, q.device()));
            let distance = query_positions.unsqueeze(1) - key_positions.unsqueeze(0);
            let seen = distance.ge(0);
            let seen = window.map_or_else(|| seen.shallow_clone(), |window| seen.logical_and(&distance.lt(window)));
            let queries = part(q, segment.start + first, count);
            let (keys, values) = (Tensor::cat(&keys, 1), Tensor::cat(&values, 1));
            parts.push(scaled_dot_product(&queries, &keys, &values, Some(&seen), false).squeeze_dim(0));
        }
    }
    if end < tokens {
        parts.push(gap(end, tokens));
    }
    Tensor::cat(&parts, 0)
}

/// Position ids `[rows, seq]` of rows of groups: a prompt starts at 0, and each response continues after the end of its prompt.
pub fn shared_positions(groups: &[Vec<PromptGroup>], seq: i64) -> Tensor {
    let mut positions = Vec::with_capacity(groups.len() * seq as usize);
    for row in groups {
        let covered: i64 = row.iter().map(PromptGroup::tokens).sum();
        for PromptGroup { prompt, responses } in row {
            positions.extend(0..*prompt);
            positions.extend(responses.iter().flat_map(|&length| *prompt..prompt + length));
        }
        positions.extend(std::iter::repeat_n(0, (seq - covered) as usize));
    }
    Tensor::from_slice(&positions).reshape([groups.len() as i64, seq])
}

/// Boundaries of the sequences in rows. They determine the position ids and the attention mask.
#[derive(Debug, Clone, Copy)]
pub enum Layout<'a> {
    /// The lengths in tokens of the documents of each row: see [`Packed`].
    Packed(&'a [Vec<i64>]),
    /// The groups of each row: see [`SharedPrompt`].
    SharedPrompt(&'a [Vec<PromptGroup>]),
    /// Documents with given positions instead of consecutive positions from 0, so that a short row trains the distances of a
    /// long one (position-skipping training, Zhu et al. 2023). The attention mask and a sliding window follow the order in the
    /// row.
    PackedAt {
        /// The lengths in tokens of the documents of each row.
        documents: &'a [Vec<i64>],
        /// The position of each token of each row.
        positions: &'a [Vec<i64>],
    },
}

impl Layout<'_> {
    /// Position ids `[rows, seq]`, int64, on the CPU. Padding has position 0.
    pub fn positions(self, seq: i64) -> Tensor {
        match self {
            Self::Packed(documents) => packed_positions(documents, seq),
            Self::SharedPrompt(groups) => shared_positions(groups, seq),
            Self::PackedAt { positions, .. } => {
                let row = |row: &Vec<i64>| row.iter().copied().chain(std::iter::repeat(0)).take(seq as usize).collect();
                let all = positions.iter().map(row).collect::<Vec<Vec<i64>>>();
                Tensor::from_slice(&all.concat()).reshape([positions.len() as i64, seq])
            }
        }
    }

    /// The number of tokens without padding, and the number of (query, key) pairs that attention computes without a sliding
    /// window.
    #[must_use]
    pub fn tokens_and_pairs(self) -> (i64, i64) {
        let triangle = |length: i64| length * (length + 1) / 2;
        match self {
            Self::Packed(documents) | Self::PackedAt { documents, .. } => documents
                .iter()
                .flatten()
                .fold((0, 0), |(tokens, pairs), &length| (tokens + length, pairs + triangle(length))),
            Self::SharedPrompt(groups) => groups.iter().flatten().fold((0, 0), |(tokens, pairs), group| {
                let behind = |&length: &i64| group.prompt * length + triangle(length);
                let responses: i64 = group.responses.iter().map(behind).sum();
                (tokens + group.tokens(), pairs + triangle(group.prompt) + responses)
            }),
        }
    }
}

impl Attend for Layout<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        match *self {
            Self::Packed(documents) | Self::PackedAt { documents, .. } => Packed { documents }.attend(context, q, k, v),
            Self::SharedPrompt(groups) => SharedPrompt { groups }.attend(context, q, k, v),
        }
    }
}

/// Position ids `[rows, seq]` of rows of packed documents: each document starts at 0.
pub fn packed_positions(documents: &[Vec<i64>], seq: i64) -> Tensor {
    let mut positions = Vec::with_capacity(documents.len() * seq as usize);
    for lengths in documents {
        let covered: i64 = lengths.iter().sum();
        positions.extend(lengths.iter().flat_map(|&length| 0..length));
        positions.extend(std::iter::repeat_n(0, (seq - covered) as usize));
    }
    Tensor::from_slice(&positions).reshape([documents.len() as i64, seq])
}

/// `softmax(q kᵀ / sqrt(head_dim) + mask) v`, with grouped queries; tensors are `[rows, seq, heads, head_dim]`.
pub(crate) fn scaled_dot_product(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, causal: bool) -> Tensor {
    let heads_first = |x: &Tensor| x.transpose(1, 2);
    let grouped = q.size()[2] != k.size()[2];
    Tensor::scaled_dot_product_attention(
        &heads_first(q),
        &heads_first(k),
        &heads_first(v),
        mask,
        0.0,
        causal,
        None::<f64>,
        grouped,
    )
    .transpose(1, 2)
}
