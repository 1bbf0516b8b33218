// See range_attention.h.

#include "range_attention.h"

#include "attention_work.h"
#include "tile_attention.h"

#include <cmath>
#include <memory>
#include <stdexcept>

namespace herd {
namespace {

template <typename T> const AttentionInputs<T> &inputs(const AttentionKernels &kernels) {
  if constexpr (sizeof(T) == sizeof(float))
    return kernels.f32;
  else
    return kernels.half;
}

// Work space of a thread for a tile of queries. The row strides are not powers of two: the elements of a column would otherwise
// fall into a few sets of the cache.
struct Scratch : Limits {
  explicit Scratch(const AttentionPlan &plan)
      : Limits(plan.tile_queries * plan.group), rows(plan.tile_queries * plan.group), lds(plan.block_keys + BLOCK),
        ldq(plan.width + BLOCK), scores(rows * lds), q(rows * ldq), out(rows * ldq), sums(rows * BLOCK), highest(rows) {}
  const int64_t rows, lds, ldq;
  Floats scores, q, out, sums;
  std::vector<float> highest;
};

struct BackwardScratch : Scratch {
  explicit BackwardScratch(const AttentionPlan &plan)
      : Scratch(plan), gradients(rows * lds), g(rows * ldq), keys_across(plan.block_keys * plan.width),
        keys(plan.block_keys * plan.width), values_across(plan.block_keys * plan.width), gk(plan.block_keys * ldq),
        gv(plan.block_keys * ldq), normaliser(rows), delta(rows) {}
  Floats gradients, g, keys_across, keys, values_across, gk, gv;
  std::vector<float> normaliser, delta;
};

} // namespace

AttentionPlan::AttentionPlan(const AttentionShape &shape, std::vector<RangeSegment> all)
    : shape(shape), group(shape.heads / shape.kv_heads), width(rounded_up(shape.head_dim)), segments(std::move(all)) {
  tile_queries = std::max<int64_t>(1, 96 / group);
  // A short text is one block. Longer texts are split, so that a block's packed keys and values stay in the L2 cache.
  const int64_t large = width <= 64 ? 128 : 64;
  block_keys = 2 * large;
  std::vector<int64_t> borders;
  for (const auto &segment : segments) {
    if (segment.query < 0 || segment.length < 0 || segment.query + segment.length > shape.queries)
      throw std::invalid_argument("a segment ends behind the last token");
    int64_t key = 0, position = 0;
    for (const auto &span : segment.spans) {
      if (span.length < 0 || span.key < key || span.key + span.length > shape.keys)
        throw std::invalid_argument("ranges of keys of a segment must ascend and end by the last key");
      if (span.position < position)
        throw std::invalid_argument("ranges of keys of a segment must ascend in their positions");
      key = span.key + span.length;
      position = span.position + span.length;
      borders.push_back(span.key);
      borders.push_back(key);
    }
    first_tile.push_back(static_cast<int64_t>(tiles.size()));
    for (int64_t first = 0; first < segment.length; first += tile_queries)
      tiles.push_back({static_cast<int64_t>(first_tile.size()) - 1, first, std::min(tile_queries, segment.length - first)});
  }
  std::sort(borders.begin(), borders.end());
  borders.erase(std::unique(borders.begin(), borders.end()), borders.end());
  for (size_t i = 0; i + 1 < borders.size(); ++i)
    for (int64_t key = borders[i], end = borders[i + 1]; key < end; key += blocks.back().count) {
      blocks.push_back({key, end - key <= block_keys ? end - key : large, packed_tokens});
      packed_tokens += rounded_up(blocks.back().count, 2 * BLOCK);
    }
  viewers.resize(blocks.size());
  for (size_t i = 0; i < segments.size(); ++i)
    for (size_t j = 0; j < segments[i].spans.size() && segments[i].length > 0; ++j) {
      const auto &span = segments[i].spans[j];
      if (span.length > 0)
        for (int64_t block = block_of(span.key); block <= block_of(span.key + span.length - 1); ++block)
          viewers[block].emplace_back(static_cast<int64_t>(i), j);
    }
}

int64_t AttentionPlan::block_of(int64_t key) const {
  const auto behind = std::upper_bound(blocks.begin(), blocks.end(), key,
                                       [](int64_t key, const KeyBlock &block) { return key < block.key; });
  return behind - blocks.begin() - 1;
}

std::pair<int64_t, int64_t> AttentionPlan::seen(const QueryTile &tile, const Span &span) const {
  const int64_t first_query = segments[tile.segment].position + tile.first;
  const int64_t low = shape.window > 0 ? first_query + 1 - shape.window : 0;
  const int64_t first = std::max(span.position, low);
  const int64_t last = std::min(span.position + span.length, first_query + tile.count);
  if (first >= last)
    return {0, -1};
  return {block_of(span.key + first - span.position), block_of(span.key + last - 1 - span.position)};
}

AttentionPlan::Part AttentionPlan::part(int64_t segment, size_t span, int64_t block) const {
  const auto &s = segments[segment].spans[span];
  const auto &b = blocks[block];
  return {block, s.position + b.key - s.key, std::max<int64_t>(0, s.key - b.key),
          std::min(b.count, s.key + s.length - b.key)};
}

int64_t AttentionPlan::parts_behind(const QueryTile &tile, size_t span, int64_t block) const {
  const auto &spans = segments[tile.segment].spans;
  int64_t count = seen(tile, spans[span]).second - block;
  for (size_t later = span + 1; later < spans.size(); ++later) {
    const auto [first, last] = seen(tile, spans[later]);
    count += last + 1 - first;
  }
  return count;
}

std::pair<int64_t, int64_t> AttentionPlan::tiles_of(int64_t segment, const Part &part) const {
  const auto &s = segments[segment];
  // A query at position p attends to a key at position k if p - window < k <= p.
  int64_t first = std::max<int64_t>(0, part.position + part.first - s.position), last = s.length;
  if (shape.window > 0)
    last = std::min(last, part.position + part.last - 1 + shape.window - s.position);
  if (first >= last)
    return {0, 0};
  return {first_tile[segment] + first / tile_queries, first_tile[segment] + (last - 1) / tile_queries + 1};
}

template <typename T>
void attention_forward(const AttentionKernels &kernels, const AttentionPlan &plan, const T *q, const T *k, const T *v, T *out,
                       float *normaliser, int threads) {
  if constexpr (sizeof(T) == sizeof(bf16))
    if (kernels.tiles)
      return tile_attention_forward(kernels, plan, q, k, v, out, normaliser, threads);
  const auto &shape = plan.shape;
  const auto &input = inputs<T>(kernels);
  const int64_t group = plan.group, n = shape.head_dim, width = plan.width, kv = shape.kv_heads;
  const int64_t kv_width = kv * n, q_width = shape.heads * n;
  const float factor = static_cast<float>(LOG2_E / std::sqrt(static_cast<double>(n)));
  // Packed for each head, block by block: the keys transposed, the values in panels.
  const Floats keys(plan.packed_tokens * kv * width), values(plan.packed_tokens * kv * width);
  const auto packed = [&](const Floats &all, const KeyBlock &block, int64_t head) {
    return all.get() + (head * plan.packed_tokens + block.packed) * width;
  };
  over_tasks(static_cast<int64_t>(plan.blocks.size()), threads, [&](int64_t task, int) {
    const auto &block = plan.blocks[task];
    const int64_t panel = rounded_up(block.count) * BLOCK;
    for (int64_t head = 0; head < kv; ++head) {
      const int64_t from = block.key * kv_width + head * n;
      input.transposed(k + from, kv_width, block.count, n, packed(keys, block, head));
      input.panels(v + from, kv_width, block.count, n, packed(values, block, head), panel);
    }
  });
  const auto order = by_parts(plan);
  std::vector<std::unique_ptr<Scratch>> scratch;
  for (int i = 0; i < threads; ++i)
    scratch.push_back(std::make_unique<Scratch>(plan));
  over_tasks(static_cast<int64_t>(order.size()) * kv, threads, [&](int64_t task, int thread) {
    const int64_t head = task % kv;
    const auto &tile = plan.tiles[order[task / kv]];
    auto &own = *scratch[thread];
    const int64_t rows = tile.count * group, query = plan.segments[tile.segment].query + tile.first;
    for (int64_t i = 0; i < tile.count; ++i)
      input.widen(q + (query + i) * q_width + head * group * n, n, group, n, factor, own.q.get() + i * group * own.ldq,
                  own.ldq);
    std::fill_n(own.out.get(), rows * own.ldq, 0.0f);
    std::fill_n(own.sums.get(), rows * BLOCK, 0.0f);
    std::fill_n(own.highest.begin(), rows, -1e30f);
    plan.over_parts(tile, [&](const AttentionPlan::Part &part) {
      const auto [lowest, highest] = set_limits(plan, tile, part, own);
      if (lowest >= highest)
        return;
      const auto &block = plan.blocks[part.block];
      const int64_t start = lowest / BLOCK * BLOCK, count = rounded_up(highest) - start;
      count_from(own, rows, start);
      kernels.product(own.q.get(), own.ldq, 1, rows, packed(keys, block, head) + start * n, n * BLOCK, BLOCK,
                      count / BLOCK, n, own.scores.get(), own.lds, false);
      kernels.softmax(own.scores.get(), own.lds, rows, count, own.first.data(), own.last.data(), own.highest.data(),
                      own.sums.get(), own.out.get(), own.ldq, width);
      kernels.product(own.scores.get(), own.lds, 1, rows, packed(values, block, head) + start * BLOCK,
                      rounded_up(block.count) * BLOCK, BLOCK, width / BLOCK, count, own.out.get(), own.ldq, true);
    });
    for (int64_t row = 0; row < rows; ++row) {
      float *result = own.out.get() + row * own.ldq;
      const float sum = kernels.finish(result, own.sums.get() + row * BLOCK, width, result);
      float *to = normaliser + (query + row / group) * shape.heads + head * group + row % group;
      *to = sum == 0 ? 1e30f : own.highest[row] + std::log2(sum);
    }
    for (int64_t i = 0; i < tile.count; ++i)
      input.narrow(own.out.get() + i * group * own.ldq, own.ldq, group, n, 1.0f,
                   out + (query + i) * q_width + head * group * n, n);
  });
}

template <typename T>
void attention_backward(const AttentionKernels &kernels, const AttentionPlan &plan, const T *q, const T *k, const T *v,
                        const T *out, const float *normaliser, const T *g, float *gq, T *gk, T *gv, int threads) {
  if constexpr (sizeof(T) == sizeof(bf16))
    if (kernels.tiles)
      return tile_attention_backward(kernels, plan, q, k, v, out, normaliser, g, gq, gk, gv, threads);
  const auto &shape = plan.shape;
  const auto &input = inputs<T>(kernels);
  const int64_t group = plan.group, n = shape.head_dim, width = plan.width, kv = shape.kv_heads;
  const int64_t kv_width = kv * n, q_width = shape.heads * n, count = static_cast<int64_t>(plan.blocks.size());
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(n)));
  const float factor = static_cast<float>(LOG2_E / std::sqrt(static_cast<double>(n)));
  const Floats deltas(shape.queries * shape.heads);
  set_deltas(input, shape, out, g, deltas.get(), threads);
  Turns turns(static_cast<int64_t>(plan.tiles.size()) * kv);
  std::vector<std::unique_ptr<BackwardScratch>> scratch;
  for (int i = 0; i < threads; ++i)
    scratch.push_back(std::make_unique<BackwardScratch>(plan));
  over_tasks(count * kv, threads, [&](int64_t task, int thread) {
    const int64_t head = task % kv, index = count - 1 - task / kv;
    const auto &block = plan.blocks[index];
    auto &own = *scratch[thread];
    const int64_t all = rounded_up(block.count), from = block.key * kv_width + head * n;
    input.transposed(k + from, kv_width, block.count, n, own.keys_across.get());
    input.panels(k + from, kv_width, block.count, n, own.keys.get(), all * BLOCK);
    input.transposed(v + from, kv_width, block.count, n, own.values_across.get());
    std::fill_n(own.gk.get(), all * own.ldq, 0.0f);
    std::fill_n(own.gv.get(), all * own.ldq, 0.0f);
    const auto &viewers = plan.viewers[index];
    for (auto viewer = viewers.rbegin(); viewer != viewers.rend(); ++viewer) {
      const auto part = plan.part(viewer->first, viewer->second, index);
      const auto [first_tile, last_tile] = plan.tiles_of(viewer->first, part);
      for (int64_t t = first_tile; t < last_tile; ++t) {
        const auto &tile = plan.tiles[t];
        const int64_t rows = tile.count * group, query = plan.segments[tile.segment].query + tile.first;
        const auto [lowest, highest] = set_limits(plan, tile, part, own);
        const int64_t start = lowest / BLOCK * BLOCK, keys = rounded_up(highest) - start;
        count_from(own, rows, start);
        for (int64_t i = 0; i < tile.count; ++i) {
          const int64_t at = (query + i) * q_width + head * group * n;
          const int64_t number = (query + i) * shape.heads + head * group;
          input.widen(q + at, n, group, n, factor, own.q.get() + i * group * own.ldq, own.ldq);
          input.widen(g + at, n, group, n, 1.0f, own.g.get() + i * group * own.ldq, own.ldq);
          std::copy_n(normaliser + number, group, own.normaliser.begin() + i * group);
          std::copy_n(deltas.get() + number, group, own.delta.begin() + i * group);
        }
        float *scores = own.scores.get(), *gradients = own.gradients.get();
        kernels.product(own.q.get(), own.ldq, 1, rows, own.keys_across.get() + start * n, n * BLOCK, BLOCK, keys / BLOCK,
                        n, scores, own.lds, false);
        kernels.product(own.g.get(), own.ldq, 1, rows, own.values_across.get() + start * n, n * BLOCK, BLOCK,
                        keys / BLOCK, n, gradients, own.lds, false);
        kernels.differentiate(scores, gradients, own.lds, rows, keys, own.first.data(), own.last.data(),
                              own.normaliser.data(), own.delta.data());
        kernels.product(scores, 1, own.lds, keys, own.g.get(), BLOCK, own.ldq, width / BLOCK, rows,
                        own.gv.get() + start * own.ldq, own.ldq, true);
        kernels.product(gradients, 1, own.lds, keys, own.q.get(), BLOCK, own.ldq, width / BLOCK, rows,
                        own.gk.get() + start * own.ldq, own.ldq, true);
        kernels.product(gradients, own.lds, 1, rows, own.keys.get() + start * BLOCK, all * BLOCK, BLOCK, width / BLOCK,
                        keys, own.out.get(), own.ldq, false);
        turns.take(t * kv + head, plan.parts_behind(tile, viewer->second, index), [&] {
          for (int64_t row = 0; row < rows; ++row) {
            float *to = gq + (query + row / group) * q_width + (head * group + row % group) * n;
            const float *more = own.out.get() + row * own.ldq;
            for (int64_t i = 0; i < n; ++i)
              to[i] += scale * more[i];
          }
        });
      }
    }
    // gk was computed from queries scaled by log2(e) / sqrt(head_dim), but the gradient has only the factor 1 / sqrt(head_dim).
    input.narrow(own.gk.get(), own.ldq, block.count, n, static_cast<float>(1 / LOG2_E), gk + from, kv_width);
    input.narrow(own.gv.get(), own.ldq, block.count, n, 1.0f, gv + from, kv_width);
  });
}

template void attention_forward(const AttentionKernels &, const AttentionPlan &, const float *, const float *, const float *,
                                float *, float *, int);
template void attention_forward(const AttentionKernels &, const AttentionPlan &, const bf16 *, const bf16 *, const bf16 *,
                                bf16 *, float *, int);
template void attention_backward(const AttentionKernels &, const AttentionPlan &, const float *, const float *, const float *,
                                 const float *, const float *, const float *, float *, float *, float *, int);
template void attention_backward(const AttentionKernels &, const AttentionPlan &, const bf16 *, const bf16 *, const bf16 *,
                                 const bf16 *, const float *, const bf16 *, float *, bf16 *, bf16 *, int);

} // namespace herd
