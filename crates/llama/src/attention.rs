//! Who sees whom. The model projects and rotates; an [`Attend`] decides over which keys a query looks. Queries are
//! `[rows, seq, heads, head_dim]`, keys and values `[rows, seq, kv_heads, head_dim]`, results like the queries.

use tch::{Kind, Tensor};
use torch_ext::{OpError, QuerySegment, catch, range_attention, varlen_attention, varlen_fits};

use crate::pass::Operators;

/// One way to attend, called once a layer in order.
pub trait Attend {
    /// The attention output of a layer.
    ///
    /// # Errors
    /// When shapes do not fit, or there is no memory.
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError>;
}

/// The layer that asks for attention, and how the pass is computed.
#[derive(Debug, Clone, Copy)]
pub struct LayerContext {
    /// The layer's number, from 0.
    pub layer: usize,
    /// Its sliding window, if it has one: how many positions back a token sees, itself included.
    pub window: Option<i64>,
    /// Which operators compute the pass.
    pub operators: Operators,
}

/// Each row is one document: a token sees itself and what stands before it in its row. Rows may be padded on the right;
/// what stands at padding is of no meaning and touches nothing else.
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

/// Each row holds several documents back to back that do not see each other. `documents[row]` has their lengths in
/// tokens; a rest of the row that they do not cover is padding.
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

/// A prompt with the responses that share it, back to back in a row: the prompt's tokens once, then those of each
/// response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptGroup {
    /// Tokens of the prompt; at least 1.
    pub prompt: i64,
    /// Tokens of each response.
    pub responses: Vec<i64>,
}

impl PromptGroup {
    /// Tokens of the prompt and of all responses.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.prompt + self.responses.iter().sum::<i64>()
    }
}

/// Each row holds groups back to back that do not see each other. A prompt sees itself; a response sees its prompt and
/// itself, as if it stood alone behind it, and no other response. A rest of the row that no group covers is padding.
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

/// Attention of rows `[rows, seq, ...]` whose tokens, counted through all rows, lie in segments in ascending order; 0 where
/// none is. On a processor one operator without masks computes all of training, and whatever would need a mask; what
/// needs none and has to round as transformers does goes through libtorch, text by text. On a GPU training in bfloat16 is
/// flash attention of sequences of various lengths; the rest goes text by text.
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

/// Whether a segment is a text of its own that no window cuts.
fn is_causal(segment: &QuerySegment, window: Option<i64>) -> bool {
    *segment == QuerySegment::text(segment.start, segment.length)
        && window.is_none_or(|window| window >= segment.length)
}

/// Queries that are computed together where there has to be a mask.
const MASKED_QUERIES: i64 = 512;

/// The same by libtorch's operators: `q` `[tokens, heads, width]`, `k` and `v` `[tokens, kv_heads, width]`. A mask is of
/// [`MASKED_QUERIES`] queries at most and the keys that they see.
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

/// Position ids `[rows, seq]` of rows of groups: a prompt starts at 0, each of its responses goes on where it ends.
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

/// How the tokens of rows belong together.
#[derive(Debug, Clone, Copy)]
pub enum Layout<'a> {
    /// The lengths of the documents of each row: see [`Packed`].
    Packed(&'a [Vec<i64>]),
    /// The groups of each row: see [`SharedPrompt`].
    SharedPrompt(&'a [Vec<PromptGroup>]),
    /// Documents whose tokens stand at given positions instead of one after the other from 0: a short row trains the
    /// distances of a long one (position-skipping training, Zhu et al. 2023). Who sees whom, and what a sliding window cuts,
    /// follows from the order in the row.
    PackedAt {
        /// The lengths of the documents of each row.
        documents: &'a [Vec<i64>],
        /// The position of each token of each row.
        positions: &'a [Vec<i64>],
    },
}

impl Layout<'_> {
    /// Position ids `[rows, seq]`, int64, on the processor.
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

    /// Tokens that are not padding, and how many pairs of a token and one that it sees they make (windows apart).
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

/// Position ids `[rows, seq]` of rows that hold documents back to back: they start at 0 in each document.
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
