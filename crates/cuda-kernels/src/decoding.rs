//! The launches of generation: attention over keys and values in pages, and the choice of a token. Addresses are of contiguous
//! tensors; no launch is made where there is nothing to do.

use crate::launch::{Argument, Element, Launch, Limits};
use crate::ops::{ceil, launch};

use Argument::{Address, Float, Long};

/// Threads of a block of attention: `attention_warps` in `cuda/paged_attention.cu`.
const ATTENTION_THREADS: u32 = 128;
/// Elements of a head that a thread holds: `lane_width` there.
const LANE_WIDTH: i64 = 8;
/// Heads that share a block where they share keys: the `G` of `paged_attention`.
const TILE_HEADS: i64 = 4;

/// Attention of one query a sequence over keys and values in pages, with grouped heads.
#[derive(Debug, Clone, Copy)]
pub struct PagedAttention {
    /// Of queries, keys, values and results.
    pub element: Element,
    /// `[rows, heads, width]`
    pub q: u64,
    /// `[pages, page_tokens, kv_heads, width]`
    pub keys: u64,
    /// As the keys
    pub values: u64,
    /// `[rows, pages_each]` int32: the pages of each sequence
    pub table: u64,
    /// `[rows]` int32: keys of each sequence; 0 gives a result of 0
    pub lengths: u64,
    /// `[rows, heads, width]`, written
    pub out: u64,
    /// `[rows, heads, parts, width]` float32, working memory; not used where there is one part
    pub sums: u64,
    /// `[rows, heads, parts, 2]` float32, working memory; not used where there is one part
    pub softs: u64,
    /// Sequences.
    pub rows: i64,
    /// Heads of queries, a multiple of `kv_heads`.
    pub heads: i64,
    /// Heads of keys and values.
    pub kv_heads: i64,
    /// Elements of a head: see [`PagedAttention::fits`].
    pub width: i64,
    /// Pages of a row of the table.
    pub pages_each: i64,
    /// Tokens of a page, a power of two.
    pub page_tokens: i64,
    /// A query sees this many of the last keys; 0: all.
    pub window: i64,
    /// Keys of a part. It decides in which order sums are taken, so that it is the same for all batches.
    pub split: i64,
    /// The largest of the lengths.
    pub longest: i64,
    /// Factor of the scores.
    pub scale: f32,
}

impl PagedAttention {
    /// Keys of a part: few enough that one long sequence keeps a GPU busy, enough that parts cost little memory traffic (3% of
    /// that of the keys and values for four heads a key).
    pub const SPLIT: i64 = 256;

    /// Whether heads of these numbers and this width can be computed.
    #[must_use]
    pub fn fits(heads: i64, kv_heads: i64, width: i64) -> bool {
        (1..=32 * LANE_WIDTH).contains(&width) && kv_heads > 0 && heads % kv_heads == 0
    }

    /// Parts of the longest sequence, at least 1.
    #[must_use]
    pub fn parts(longest: i64, split: i64) -> i64 {
        ceil(longest, split).max(1)
    }

    /// Its launches.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        let Self { element, rows, heads, kv_heads, width, window, split, .. } = *self;
        if rows == 0 || heads == 0 || width == 0 {
            return Vec::new();
        }
        let (group, parts) = (heads / kv_heads, Self::parts(self.longest, split));
        let aligned = width % element.widest() == 0 && [self.q, self.keys, self.values].iter().all(|at| at % 16 == 0);
        let (name, tile) = match group {
            _ if !aligned => ("paged_attention_narrow", 1),
            1 => ("paged_attention_single", 1),
            _ => ("paged_attention", TILE_HEADS),
        };
        let lanes = (ceil(width, LANE_WIDTH) as u64).next_power_of_two() as i64;
        let blocks = rows * kv_heads * ceil(group, tile);
        let grid = [u32::try_from(blocks).unwrap_or(u32::MAX), u32::try_from(parts).unwrap_or(u32::MAX)];
        let tensors =
            [self.q, self.keys, self.values, self.table, self.lengths, self.out, self.sums, self.softs].map(Address);
        let page_bits = i64::from(self.page_tokens.trailing_zeros());
        let numbers = [rows, heads, kv_heads, width, self.pages_each, page_bits, window, split, lanes].map(Long);
        let arguments = [tensors.as_slice(), &numbers, &[Float(self.scale)]].concat();
        let mut launches = vec![launch(name, element, grid, [ATTENTION_THREADS, 1], arguments)];
        if parts > 1 {
            let across = (width as u64).next_power_of_two().clamp(32, 256) as u32;
            let tensors = [self.sums, self.softs, self.lengths, self.out].map(Address);
            let numbers = [rows, heads, width, window, split, parts].map(Long);
            let grid = [limits.blocks_for(rows * heads), 1];
            launches.push(launch("merge_parts", element, grid, [across, 1], [tensors.as_slice(), &numbers].concat()));
        }
        launches
    }
}

/// The choice of a token from logits: see `cuda/sample.cu`.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Of the logits.
    pub element: Element,
    /// `[rows, vocab]`
    pub z: u64,
    /// `[rows, 5]` float64: temperature, top-k, top-p, min-p, point from [0, 1)
    pub parameters: u64,
    /// `[rows, ` [`Sample::sums`] `]` float64, working memory
    pub sums: u64,
    /// `[rows, 2]` int64, written: the token, or -1 where a logit is not finite; the bits of its log-probability (float32)
    pub chosen: u64,
    /// Rows.
    pub rows: i64,
    /// Logits of a row, [`Sample::MOST`] at most.
    pub vocab: i64,
}

impl Sample {
    /// Largest vocabulary: weights of so many tokens add up without overflow.
    pub const MOST: i64 = 1 << 19;
    /// Numbers of a row's parameters.
    pub const PARAMETERS: i64 = 5;

    /// Numbers of working memory of a row.
    #[must_use]
    pub fn sums(vocab: i64) -> i64 {
        ceil(vocab, 512)
    }

    /// Its launches.
    #[must_use]
    pub fn plan(&self, limits: Limits) -> Vec<Launch> {
        let Self { element, rows, vocab, .. } = *self;
        if rows == 0 || vocab == 0 {
            return Vec::new();
        }
        let across = (ceil(vocab, 16) as u64).next_power_of_two().clamp(32, 1024) as u32;
        let tensors = [self.z, self.parameters, self.sums, self.chosen].map(Address);
        let arguments = [tensors.as_slice(), &[Long(rows), Long(vocab)]].concat();
        vec![launch("sample", element, [limits.blocks_for(rows), 1], [across, 1], arguments)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { blocks: 100 };

    fn attention(heads: i64, longest: i64) -> PagedAttention {
        PagedAttention {
            element: Element::Bf16,
            q: 16,
            keys: 32,
            values: 48,
            table: 64,
            lengths: 80,
            out: 96,
            sums: 112,
            softs: 128,
            rows: 3,
            heads,
            kv_heads: 2,
            width: 80,
            pages_each: 9,
            page_tokens: 16,
            window: 0,
            split: PagedAttention::SPLIT,
            longest,
            scale: 0.5,
        }
    }

    #[test]
    fn parts_are_joined_where_there_are_several() {
        let one = attention(10, 256).plan(LIMITS);
        assert_eq!((one.len(), one[0].grid, one[0].block), (1, [3 * 2 * 2, 1], [128, 1]));
        assert_eq!(one[0].kernel, "paged_attention_bf16");
        // 16 threads have 8 elements each; pages are of 2^4 tokens.
        assert_eq!(one[0].arguments[16], Long(16));
        assert_eq!(one[0].arguments[13], Long(4));
        let two = attention(10, 257).plan(LIMITS);
        assert_eq!((two.len(), two[0].grid), (2, [12, 2]));
        assert_eq!((two[1].kernel.as_str(), two[1].grid, two[1].block), ("merge_parts_bf16", [30, 1], [128, 1]));
        assert_eq!(two[1].arguments.last(), Some(&Long(2)));
        assert_eq!(attention(2, 0).plan(LIMITS)[0].kernel, "paged_attention_single_bf16");
        // Elements of 2 bytes are read one by one where 16 bytes would be no multiple of them.
        for narrow in
            [PagedAttention { width: 84, ..attention(10, 0) }, PagedAttention { keys: 34, ..attention(10, 0) }]
        {
            let launches = narrow.plan(LIMITS);
            assert_eq!((launches[0].kernel.as_str(), launches[0].grid), ("paged_attention_narrow_bf16", [30, 1]));
        }
        assert!(PagedAttention { rows: 0, ..attention(2, 0) }.plan(LIMITS).is_empty());
    }

    #[test]
    fn heads_that_do_not_fit_are_known() {
        assert!(PagedAttention::fits(32, 8, 128) && PagedAttention::fits(1, 1, 256));
        assert!(
            !PagedAttention::fits(32, 8, 257) && !PagedAttention::fits(9, 2, 64) && !PagedAttention::fits(9, 0, 64)
        );
    }
}
