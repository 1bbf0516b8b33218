//! Context-parallel training (the Llama 3 paper, section 3.3.2): the tokens of each row are divided among all processes, so that each
//! holds only its share of the activations. Keys and values are gathered for the attention of each layer; all other operations work on
//! single tokens. Documents may cross the borders between shares. A token's label stays with the token, so that no label is on another
//! process.

use distributed::{Rows, World};
use llama::attention::{Attend, LayerContext};
use tch::Tensor;
use torch_ext::{KeyRange, OpError, QuerySegment, range_attention};

pub use distributed::Chunks;

/// The tokens of a row that belong to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    chunks: Chunks,
    rank: usize,
}

impl Share {
    /// Computes this process's share of a row of `tokens` tokens.
    ///
    /// # Errors
    /// When there are fewer tokens than processes.
    pub fn new(world: &World, tokens: i64) -> Result<Self, distributed::Error> {
        Ok(Self { chunks: Chunks::new(tokens, world.size())?, rank: world.rank() })
    }

    /// The number of tokens of the share.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        self.chunks.count(self.rank)
    }

    /// Selects the share from `[rows, tokens]`.
    pub fn ids(&self, all: &Tensor) -> Tensor {
        self.chunks.pick(all, 1, self.rank)
    }

    /// Selects the share from a list with an entry for each token.
    #[must_use]
    pub fn list<T: Copy>(&self, all: &[T]) -> Vec<T> {
        self.chunks.of(self.rank).into_iter().flatten().map(|place| all[place as usize]).collect()
    }

    /// Selects the positions of a row (int64) that are in the share. Returns their indices in `places`, and their positions within the
    /// share.
    pub fn places(&self, places: &Tensor) -> (Tensor, Tensor) {
        let [first, second] = self.chunks.of(self.rank);
        let within = |chunk: &std::ops::Range<i64>| places.ge(chunk.start).logical_and(&places.lt(chunk.end));
        let shifted = |chunk: std::ops::Range<i64>, before: i64| {
            let numbers = within(&chunk).nonzero().squeeze_dim(1);
            let moved = places.index_select(0, &numbers) + (before - chunk.start);
            (numbers, moved)
        };
        let before = first.end - first.start;
        let (a, b) = (shifted(first, 0), shifted(second, before));
        (Tensor::cat(&[a.0, b.0], 0), Tensor::cat(&[a.1, b.1], 0))
    }
}

/// Attention of a share's tokens over the documents of the whole row.
pub(crate) struct SharedRow<'a> {
    rows: Rows<'a>,
    segments: Vec<QuerySegment>,
}

impl<'a> SharedRow<'a> {
    /// Makes the attention for a row whose documents have these lengths.
    ///
    /// # Errors
    /// When there are fewer tokens than processes.
    pub fn new(world: &'a World, documents: &[i64]) -> Result<Self, distributed::Error> {
        let rows = Rows::new(world, documents.iter().sum())?;
        let segments = segments(rows.chunks(), world.rank(), documents);
        Ok(Self { rows, segments })
    }
}

/// The segments of documents among the tokens of a rank; each token sees its document up to itself.
fn segments(chunks: Chunks, rank: usize, documents: &[i64]) -> Vec<QuerySegment> {
    let mut all = Vec::new();
    let mut own = 0;
    for chunk in chunks.of(rank) {
        let mut start = 0;
        for length in documents {
            let (from, to) = (chunk.start.max(start), chunk.end.min(start + length));
            if from < to {
                let position = from - start;
                let seen = KeyRange { start, length: to - start, position: 0 };
                let begin = own + from - chunk.start;
                all.push(QuerySegment { start: begin, length: to - from, position, ranges: vec![seen] });
            }
            start += length;
        }
        own += chunk.end - chunk.start;
    }
    all
}

impl Attend for SharedRow<'_> {
    fn attend(&mut self, context: LayerContext, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, OpError> {
        let heads = k.size()[2];
        let own = Tensor::f_cat(&[k, v], 2)?.f_squeeze_dim(0)?;
        // SAFETY: the backward pass of the pass that this value belongs to runs before the value is dropped, on this thread: attention
        // over shares does not exist on a GPU.
        let all = unsafe { self.rows.joined(&own) }.map_err(|error| OpError::of(error.to_string()))?;
        let part = |first| all.f_narrow(1, first, heads)?.f_contiguous();
        let (k, v) = (part(0)?, part(heads)?);
        let out = range_attention(&q.f_flatten(0, 1)?, &k, &v, &self.segments, context.window)?;
        Ok(out.f_view_as(q)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_documents_see_their_documents() {
        // 2 ranks and chunks of 3: rank 0 has 0..3 and 9..11, rank 1 has 3..9. The documents have lengths 4, 5 and 2.
        let chunks = Chunks::new(11, 2).unwrap();
        let of = |rank| segments(chunks, rank, &[4, 5, 2]);
        let seen = |start, length| vec![KeyRange { start, length, position: 0 }];
        assert_eq!(
            of(0),
            [
                QuerySegment { start: 0, length: 3, position: 0, ranges: seen(0, 3) },
                QuerySegment { start: 3, length: 2, position: 0, ranges: seen(9, 2) },
            ]
        );
        assert_eq!(
            of(1),
            [
                QuerySegment { start: 0, length: 1, position: 3, ranges: seen(0, 4) },
                // The second document extends from one chunk of this rank to the other.
                QuerySegment { start: 1, length: 2, position: 0, ranges: seen(4, 2) },
                QuerySegment { start: 3, length: 3, position: 2, ranges: seen(4, 5) },
            ]
        );
    }

    #[test]
    fn places_move_with_their_tokens() {
        torch_ext::init();
        let share = |rank| Share { chunks: Chunks::new(11, 2).unwrap(), rank };
        let places = Tensor::from_slice(&[1_i64, 2, 4, 8, 10]);
        let found = |rank| {
            let (numbers, moved) = share(rank).places(&places);
            [numbers, moved].map(|tensor| Vec::<i64>::try_from(tensor).unwrap())
        };
        assert_eq!(found(0), [vec![0, 1, 4], vec![1, 2, 4]]);
        assert_eq!(found(1), [vec![2, 3], vec![1, 5]]);
        let ids = Tensor::arange(11, (tch::Kind::Int64, tch::Device::Cpu)).unsqueeze(0);
        assert_eq!(Vec::<i64>::try_from(share(0).ids(&ids).squeeze_dim(0)).unwrap(), [0, 1, 2, 9, 10]);
        assert_eq!(share(1).list(&[0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]), [30, 40, 50, 60, 70, 80]);
        assert_eq!((share(0).tokens(), share(1).tokens()), (5, 6));
    }
}
