//! Who sees whom. The model projects and rotates; an [`Attend`] decides over which keys a query looks. Queries are
//! `[rows, seq, heads, head_dim]`, keys and values `[rows, seq, kv_heads, head_dim]`, results like the queries.

use tch::{Device, Kind, Tensor};
use torch_ext::{OpError, Segment, catch, segment_attention};

use crate::kernels;
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
        catch(|| Ok(causal(q, k, v, context.window)))
    }
}

/// Each row holds several documents back to back that do not see each other. `documents[row]` has their lengths in
/// tokens; a rest of the row that they do not cover is padding.
pub struct Packed<'a> {
    /// Lengths of the documents of each row.
    pub documents: &'a [Vec<i64>],
}

impl Attend for Packed<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        catch(|| self.seen(context, q, k, v))
    }
}

impl Packed<'_> {
    fn seen(&self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let (window, (_, seq, ..)) = (context.window, q.size4()?);
        let segments = || {
            self.documents.iter().enumerate().flat_map(move |(row, lengths)| {
                lengths.iter().scan(row as i64 * seq, |start, &length| {
                    *start += length;
                    Some(Segment { start: *start - length, length, shared: 0, before: 0 })
                })
            })
        };
        if let Some(out) = in_one(segments, context, q, k, v)? {
            return Ok(out);
        }
        let rows = self.documents.iter().enumerate().map(|(row, lengths)| {
            let row = row as i64;
            let (q, k, v) = (q.narrow(0, row, 1), k.narrow(0, row, 1), v.narrow(0, row, 1));
            let mut start = 0;
            let mut parts = Vec::with_capacity(lengths.len() + 1);
            for &length in lengths {
                let part = |x: &Tensor| x.narrow(1, start, length);
                parts.push(causal(&part(&q), &part(&k), &part(&v), window));
                start += length;
            }
            if start < seq {
                parts.push(q.narrow(1, start, seq - start).zeros_like());
            }
            Tensor::cat(&parts, 1)
        });
        Ok(Tensor::cat(&rows.collect::<Vec<_>>(), 0))
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
    fn segments(&self, seq: i64) -> Vec<Segment> {
        let mut all = Vec::new();
        for (row, groups) in self.groups.iter().enumerate() {
            let mut start = row as i64 * seq;
            for PromptGroup { prompt, responses } in groups {
                let shared = start;
                all.push(Segment { start, length: *prompt, shared: 0, before: 0 });
                start += prompt;
                for &length in responses.iter().filter(|&&length| length > 0) {
                    all.push(Segment { start, length, shared, before: *prompt });
                    start += length;
                }
            }
        }
        all
    }
}

impl Attend for SharedPrompt<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        catch(|| self.seen(context, q, k, v))
    }
}

impl SharedPrompt<'_> {
    fn seen(&self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let (window, (_, seq, ..)) = (context.window, q.size4()?);
        if let Some(out) = in_one(|| self.segments(seq).into_iter(), context, q, k, v)? {
            return Ok(out);
        }
        let rows = self.groups.iter().enumerate().map(|(row, groups)| {
            let row = row as i64;
            let (q, k, v) = (q.narrow(0, row, 1), k.narrow(0, row, 1), v.narrow(0, row, 1));
            let part = |x: &Tensor, start: i64, length: i64| x.narrow(1, start, length);
            let mut parts = Vec::new();
            let mut start = 0;
            for PromptGroup { prompt, responses } in groups {
                let (prompt_k, prompt_v) = (part(&k, start, *prompt), part(&v, start, *prompt));
                parts.push(causal(&part(&q, start, *prompt), &prompt_k, &prompt_v, window));
                start += prompt;
                for &length in responses.iter().filter(|&&length| length > 0) {
                    let behind = |shared: &Tensor, x: &Tensor| Tensor::cat(&[shared, &part(x, start, length)], 1);
                    let mask = continuation_mask(*prompt, length, window, q.device());
                    let (all_k, all_v) = (behind(&prompt_k, &k), behind(&prompt_v, &v));
                    parts.push(scaled_dot_product(&part(&q, start, length), &all_k, &all_v, Some(&mask), false));
                    start += length;
                }
            }
            if start < seq {
                parts.push(q.narrow(1, start, seq - start).zeros_like());
            }
            Tensor::cat(&parts, 1)
        });
        Ok(Tensor::cat(&rows.collect::<Vec<_>>(), 0))
    }
}

/// All rows by the one operator of training on a processor; `None` where that is not at hand or a window cuts.
fn in_one<I: Iterator<Item = Segment>>(
    segments: impl Fn() -> I,
    context: LayerContext,
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
) -> Result<Option<Tensor>, OpError> {
    let cut = |window: i64| segments().any(|segment| segment.before + segment.length > window);
    if !kernels::trains_fused(context.operators, q) || context.window.is_some_and(cut) {
        return Ok(None);
    }
    let flat = |x: &Tensor| x.flatten(0, 1);
    let segments: Vec<Segment> = segments().filter(|segment| segment.length > 0).collect();
    let out = segment_attention(&flat(q), &flat(k), &flat(v), &segments)
        .map_err(|error| error.context(format!("attention of {:?} {:?} over {:?}", q.size(), q.kind(), k.size())))?;
    Ok(Some(out.view_as(q)))
}

/// Which of `before + length` keys each of the last `length` tokens sees: `[length, before + length]`.
fn continuation_mask(before: i64, length: i64, window: Option<i64>, device: Device) -> Tensor {
    let ones = Tensor::ones([length, before + length], (Kind::Bool, device));
    match window.filter(|&window| window < before + length) {
        None => ones.tril(before),
        Some(window) => ones.tril(before).logical_and(&ones.triu(before + 1 - window)),
    }
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
}

impl Layout<'_> {
    /// Position ids `[rows, seq]`, int64, on the processor.
    pub fn positions(self, seq: i64) -> Tensor {
        match self {
            Self::Packed(documents) => packed_positions(documents, seq),
            Self::SharedPrompt(groups) => shared_positions(groups, seq),
        }
    }

    /// Tokens that are not padding, and how many pairs of a token and one that it sees they make (windows apart).
    #[must_use]
    pub fn tokens_and_pairs(self) -> (i64, i64) {
        let triangle = |length: i64| length * (length + 1) / 2;
        match self {
            Self::Packed(documents) => documents
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
            Self::Packed(documents) => Packed { documents }.attend(context, q, k, v),
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

/// Causal attention within each row, over at most `window` positions back.
fn causal(q: &Tensor, k: &Tensor, v: &Tensor, window: Option<i64>) -> Tensor {
    let seq = q.size()[1];
    match window.filter(|&window| window < seq) {
        None => scaled_dot_product(q, k, v, None, true),
        Some(window) => {
            let ones = Tensor::ones([seq, seq], (Kind::Bool, q.device()));
            let mask = ones.tril(0).logical_and(&ones.triu(1 - window));
            scaled_dot_product(q, k, v, Some(&mask), false)
        }
    }
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
