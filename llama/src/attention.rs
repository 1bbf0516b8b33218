//! Who sees whom. The model projects and rotates; an [`Attend`] decides over which keys a query looks. Queries are
//! `[rows, seq, heads, head_dim]`, keys and values `[rows, seq, kv_heads, head_dim]`, results like the queries.

use tch::{Kind, Tensor};

/// One way to attend, called once a layer in order.
pub trait Attend {
    /// The attention output of layer `layer`; `window` is the layer's sliding window, if it has one.
    fn attend(&mut self, layer: usize, window: Option<i64>, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor;
}

/// Each row is one document: a token sees itself and what stands before it in its row. Rows may be padded on the right;
/// what stands at padding is of no meaning and touches nothing else.
pub struct Causal;

impl Attend for Causal {
    fn attend(&mut self, _: usize, window: Option<i64>, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        causal(q, k, v, window)
    }
}

/// Each row holds several documents back to back that do not see each other. `documents[row]` has their lengths in
/// tokens; a rest of the row that they do not cover is padding.
pub struct Packed<'a> {
    /// Lengths of the documents of each row.
    pub documents: &'a [Vec<i64>],
}

impl Attend for Packed<'_> {
    fn attend(&mut self, _: usize, window: Option<i64>, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let seq = q.size()[1];
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
        Tensor::cat(&rows.collect::<Vec<_>>(), 0)
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
