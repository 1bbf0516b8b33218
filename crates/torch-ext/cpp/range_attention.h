// Attention of segments over ranges of keys, without a mask, on a processor; no libtorch.
//
// A segment's queries see earlier ranges of keys, then their own block causally, as if all these keys stood in one row:
// position t of that row sees positions (t - window, t]. Scores of a tile of queries over a block of keys stay in the nearest
// caches; blocks are joined by their highest scores and sums (Dao et al. 2022, FlashAttention; Milakov and Gimelshein 2018).
//
// Work is cut by the segments alone and every sum has one order, so that results do not depend on the number of threads.
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
  int64_t window; // positions that a query sees, itself included; 0: all
};

// Keys [key, key + length) stand at positions [position, position + length) of a segment's row.
struct Span {
  int64_t key, length, position;
};

// Queries [query, query + length) stand at positions [position, position + length). Spans ascend in keys and positions; the
// last is the segment's own block if `own`.
struct RangeSegment {
  int64_t query, length, position;
  std::vector<Span> spans;
};

// A tile of queries of a segment.
struct QueryTile {
  int64_t segment, first, count;
};

// Keys that are worked on together: [key, key + count).
struct KeyBlock {
  int64_t key, count;
  int64_t packed; // where it begins in packed keys and values, in tokens
};

// How attention is cut into work.
class AttentionPlan {
public:
  // Throws std::invalid_argument where segments do not fit the shape.
  AttentionPlan(const AttentionShape &shape, std::vector<RangeSegment> segments);

  // A part of a block that a tile sees some of.
  struct Part {
    int64_t block;
    int64_t position;    // that the block's first key would have in the segment's row
    int64_t first, last; // which keys of the block are the span's
  };
  // Parts that a tile sees, in order.
  template <typename F> void over_parts(const QueryTile &tile, F &&body) const;
  // How many parts of a tile stand behind block `block` of span `span`.
  int64_t parts_behind(const QueryTile &tile, size_t span, int64_t block) const;
  // Tiles [first, last) that see some of a part.
  std::pair<int64_t, int64_t> tiles_of(int64_t segment, const Part &part) const;
  Part part(int64_t segment, size_t span, int64_t block) const;

  AttentionShape shape;
  int64_t group, tile_queries, block_keys, width, packed_tokens = 0;
  std::vector<RangeSegment> segments;
  std::vector<QueryTile> tiles;
  std::vector<int64_t> first_tile; // of each segment
  std::vector<KeyBlock> blocks;
  // Segments and spans that have keys in a block, in order.
  std::vector<std::vector<std::pair<int64_t, size_t>>> viewers;

private:
  int64_t block_of(int64_t key) const;
  // The blocks [first, last] of a span that a tile sees some of; first > last for none.
  std::pair<int64_t, int64_t> seen(const QueryTile &tile, const Span &span) const;
};

// out [queries][heads][head_dim] and normaliser [queries][heads] of q, k, v [tokens][heads][head_dim], contiguous. The normaliser
// is log2 of the sum of e^(score / sqrt(head_dim)), and 1e30 where a query sees nothing; what no segment covers is left as it is.
template <typename T>
void attention_forward(const AttentionKernels &kernels, const AttentionPlan &plan, const T *q, const T *k, const T *v, T *out,
                       float *normaliser, int threads);

// Gradients of q (float32, added), k and v (written where a segment sees them) for the gradient g of out.
template <typename T>
void attention_backward(const AttentionKernels &kernels, const AttentionPlan &plan, const T *q, const T *k, const T *v,
                        const T *out, const float *normaliser, const T *g, float *gq, T *gk, T *gv, int threads);

} // namespace herd
