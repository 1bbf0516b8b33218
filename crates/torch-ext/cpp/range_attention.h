// Attention of segments over ranges of keys, without a mask, on a CPU. Does not use libtorch.
//
// The queries of a segment attend to earlier ranges of keys, then causally to their own keys, as if all these keys formed one row:
// position t of that row attends to positions (t - window, t]. The scores of a tile of queries over a block of keys stay in the
// L1 and L2 caches. An online softmax joins the blocks by their maximum scores and sums (Dao et al. 2022, FlashAttention;
// Milakov and Gimelshein 2018).
//
// Only the segments decide how the work is split, and every sum has one fixed order, so that the bits of the results do not depend
// on the number of threads.
#pragma once

#include "attention_kernels.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace herd {

struct AttentionShape {
  int64_t queries, keys; // tokens
  int64_t heads, kv_heads, head_dim;
  int64_t window; // number of positions that a query attends to, itself included; 0: all
};

// Keys [key, key + length) have the positions [position, position + length) in a segment's row.
struct Span {
  int64_t key, length, position;
};

// Queries [query, query + length) have the positions [position, position + length). Spans ascend in keys and positions.
struct RangeSegment {
  int64_t query, length, position;
  std::vector<Span> spans;
};

// Queries [first, first + count) of a segment, which are computed together.
struct QueryTile {
  int64_t segment, first, count;
};

// Keys [key, key + count), which are computed together.
struct KeyBlock {
  int64_t key, count;
  int64_t packed; // offset of the block in the packed keys and values, in tokens
};

// How the work of attention is split into tiles of queries and blocks of keys.
class AttentionPlan {
public:
  // Throws std::invalid_argument if the segments do not fit the shape.
  AttentionPlan(const AttentionShape &shape, std::vector<RangeSegment> segments);

  // The keys of a block that belong to one span of a segment.
  struct Part {
    int64_t block;
    int64_t position;    // position in the segment's row that the block's first key has (or would have)
    int64_t first, last; // the span has keys [first, last) of the block
  };
  // Calls body for each part to which a tile attends, in ascending order.
  template <typename F> void over_parts(const QueryTile &tile, F &&body) const;
  // Number of a tile's parts after block `block` of span `span`.
  int64_t parts_behind(const QueryTile &tile, size_t span, int64_t block) const;
  // Tiles [first, last) that attend to some key of a part.
  std::pair<int64_t, int64_t> tiles_of(int64_t segment, const Part &part) const;
  Part part(int64_t segment, size_t span, int64_t block) const;

  AttentionShape shape;
  int64_t group, tile_queries, block_keys, width, packed_tokens = 0;
  std::vector<RangeSegment> segments;
  std::vector<QueryTile> tiles;
  std::vector<int64_t> first_tile; // index of the first tile of each segment
  std::vector<KeyBlock> blocks;
  // For each block, the (segment, span) pairs that have keys in it, in ascending order.
  std::vector<std::vector<std::pair<int64_t, size_t>>> viewers;

private:
  int64_t block_of(int64_t key) const;
  // Blocks [first, last] of a span to which a tile attends; first > last if there are none.
  std::pair<int64_t, int64_t> seen(const QueryTile &tile, const Span &span) const;
};

template <typename F> void AttentionPlan::over_parts(const QueryTile &tile, F &&body) const {
  const auto &spans = segments[tile.segment].spans;
  for (size_t span = 0; span < spans.size(); ++span) {
    const auto [first, last] = seen(tile, spans[span]);
    for (int64_t block = first; block <= last; ++block)
      body(part(tile.segment, span, block));
  }
}

// Computes out [queries][heads][head_dim] and normaliser [queries][heads] from q, k, v [tokens][heads][head_dim], all contiguous.
// The normaliser is the log-sum-exp in base 2: log2 of the sum of e^(score / sqrt(head_dim)), or 1e30 if a query attends to no
// key. Queries that no segment covers are not written.
template <typename T>
void attention_forward(const AttentionKernels &kernels, const AttentionPlan &plan, const T *q, const T *k, const T *v, T *out,
                       float *normaliser, int threads);

// Computes the gradients for the gradient g of out. gq (float32) is added to; gk and gv are written for the keys that are in a
// span of some segment.
template <typename T>
void attention_backward(const AttentionKernels &kernels, const AttentionPlan &plan, const T *q, const T *k, const T *v,
                        const T *out, const float *normaliser, const T *g, float *gq, T *gk, T *gv, int threads);

} // namespace herd
