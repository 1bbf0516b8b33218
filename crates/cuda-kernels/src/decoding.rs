//! The launches of generation: paged attention and token sampling. As in [`crate::ops`], each struct holds the addresses of
//! contiguous tensors and the sizes; `plan` returns the launches, none if there is nothing to compute.

use crate::launch::{Argument, Element, Launch, Limits};
use crate::ops::{ceil, launch};

use Argument::{Address, Float, Long};

/// Threads per block of attention: 32 times `attention_warps` in `cuda/paged_attention.cu`.
const ATTENTION_THREADS: u32 = 128;
/// Elements of a head that a thread holds: `lane_width` in `cuda/paged_attention.cu`.
const LANE_WIDTH: i64 = 8;
/// Query heads per block, if several query heads share a KV head: the `G` of the kernel `paged_attention`.
const TILE_HEADS: i64 = 4;

/// Paged attention for decoding: one query per sequence over a paged KV cache, with grouped query heads.
#[derive(Debug, Clone, Copy)]
pub struct PagedAttention {
    /// Element type of queries, keys, values and results.
    pub element: Element,
    /// `[rows, heads, width]`
    pub q: u64,
    /// `[pages, page_tokens, kv_heads, width]`
    pub keys: u64,
    /// Same shape as the keys
    pub values: u64,
    /// `[rows, pages_each]` int32: the page numbers of each sequence
    pub table: u64,
    /// `[rows]` int32: number of keys of each sequence; without keys the result is 0
    pub lengths: u64,
    /// `[rows, heads, width]`, written
    pub out: u64,
    /// `[rows, heads, parts, width]` float32, working memory; not used if there is only one part
    pub sums: u64,
    /// `[rows, heads, parts, 2]` float32, working memory; not used if there is only one part
    pub softs: u64,
    /// Number of sequences.
    pub rows: i64,
    /// Number of query heads, a multiple of `kv_heads`.
    pub heads: i64,
    /// Number of KV heads.
    pub kv_heads: i64,
    /// Elements of a head: see [`PagedAttention::fits`].
    pub width: i64,
    /// Pages per row of the table.
    pub pages_each: i64,
    /// Tokens per page, a power of two.
    pub page_tokens: i64,
    /// A query attends to at most this many of the last keys; 0: all.
    pub window: i64,
    /// Keys per part. It decides the order of the sums, so use the same value for all batches to get the same bits.
    pub split: i64,
    /// The largest of the lengths, or an upper bound.
    pub longest: i64,
    /// Factor of the scores.
    pub scale: f32,
}

impl PagedAttention {
    /// Keys per part: few enough that one long sequence keeps a GPU busy, and enough that the parts cost little memory traffic (3%
    /// of that of the keys and values, with four query heads per KV head).
    pub const SPLIT: i64 = 256;

    /// Whether the kernels support these numbers of heads and this width.
    #[must_use]
    pub fn fits(heads: i64, kv_heads: i64, width: i64) -> bool {
        (1..=32 * LANE_WIDTH).contains(&width) && kv_heads > 0 && heads % kv_heads == 0
    }

    /// Number of parts of the longest sequence, at least 1.
    #[must_use]
    pub fn parts(longest: i64, split: i64) -> i64 {
        ceil(longest, split).max(1)
    }

    /// The launches of this operation.
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

/// Token sampling from logits: see `cuda/sample.cu`.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Element type of the logits.
    pub element: Element,
    /// Logits, `[rows, vocab]`
    pub z: u64,
    /// `[rows, 5]` float64: temperature, top-k, top-p, min-p, uniform random number from [0, 1)
    pub parameters: u64,
    /// `[rows, ` [`Sample::sums`] `]` float64, working memory
    pub sums: u64,
    /// `[rows, 2]` int64, written: the token, or -1 if a logit is not finite; the bits of its log-probability (float32)
    pub chosen: u64,
    /// Number of rows.
    pub rows: i64,
    /// Logits per row, at most [`Sample::MOST`].
    pub vocab: i64,
}

impl Sample {
    /// Largest vocabulary: the sum of this many weights, in units of 2^-44, does not overflow 64 bits.
    pub const MOST: i64 = 1 << 19;
    /// Number of parameters per row.
    pub const PARAMETERS: i64 = 5;

    /// Number of float64 values of working memory per row.
    #[must_use]
    pub fn sums(vocab: i64) -> i64 {
        ceil(vocab, 512)
    }

    /// The launches of this operation.
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
        // 16 threads hold a head of 80 elements, 8 each; a page has 2^4 tokens.
        assert_eq!(one[0].arguments[16], Long(16));
        assert_eq!(one[0].arguments[13], Long(4));
        let two = attention(10, 257).plan(LIMITS);
        assert_eq!((two.len(), two[0].grid), (2, [12, 2]));
        assert_eq!((two[1].kernel.as_str(), two[1].grid, two[1].block), ("merge_parts_bf16", [30, 1], [128, 1]));
        assert_eq!(two[1].arguments.last(), Some(&Long(2)));
        assert_eq!(attention(2, 0).plan(LIMITS)[0].kernel, "paged_attention_single_bf16");
        // Elements are read one by one if the width or an address is not a multiple of 16 bytes.
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
