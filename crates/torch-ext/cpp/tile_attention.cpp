// See tile_attention.h.

#include "tile_attention.h"
#include "attention_work.h"

#include <cmath>
#include <memory>

namespace herd {
namespace {

// Terms that one instruction multiplies: what a product sums over is a multiple of it.
constexpr int64_t TERMS = 32;

int64_t terms(int64_t n) { return rounded_up(n, TERMS); }

// Copies n numbers of `group` rows of each of `tokens` tokens, which are `stride` numbers apart, to [rows][ldt]. What is missing
// is 0.
void copy_rows(const bf16 *from, int64_t stride, int64_t tokens, int64_t group, int64_t n, bf16 *to, int64_t rows, int64_t ldt) {
  for (int64_t token = 0; token < tokens; ++token, from += stride)
    for (int64_t row = 0; row < group; ++row, to += ldt) {
      std::copy_n(from + row * n, n, to);
      std::fill(to + n, to + ldt, bf16{0});
    }
  std::fill_n(to, (rows - tokens * group) * ldt, bf16{0});
}

// Packs the transpose of from [rows][width] in pairs, in panels of 16 rows, with `width` * 16 numbers each: two bfloat16 move as
// one float.
void across_in_pairs(const AttentionKernels &kernels, const bf16 *from, int64_t rows, int64_t width, bf16 *to) {
  kernels.f32.transposed(reinterpret_cast<const float *>(from), width / 2, rows, width / 2, reinterpret_cast<float *>(to));
}

// Work space of a thread for a tile of queries.
struct Scratch : Limits {
  explicit Scratch(const AttentionPlan &plan)
      : Limits(terms(plan.tile_queries * plan.group)), most_rows(terms(plan.tile_queries * plan.group)),
        most_keys(terms(plan.block_keys)), width(terms(plan.shape.head_dim)), lds(most_rows + BLOCK), panel(most_keys * BLOCK),
        q(most_rows * width), q_across(most_rows * width), pairs(most_rows * most_keys), scores(most_keys * lds),
        out(width * lds), turned(most_rows * width) {}

  // Rows of a tile with padding. Padding rows attend to no key.
  int64_t rows_of(const AttentionPlan &plan, const QueryTile &tile) {
    const int64_t some = tile.count * plan.group, rows = terms(some);
    std::fill(first.begin() + some, first.begin() + rows, 0);
    std::fill(last.begin() + some, last.begin() + rows, 0);
    return rows;
  }

  const int64_t most_rows, most_keys, width, lds, panel;
  Numbers<bf16> q, q_across, pairs;
  Floats scores, out, turned;
};

struct ForwardScratch : Scratch {
  explicit ForwardScratch(const AttentionPlan &plan) : Scratch(plan), highest(most_rows), sums(most_rows), v(most_keys * width) {}
  std::vector<float> highest, sums;
  Numbers<bf16> v;
};

struct BackwardScratch : Scratch {
  explicit BackwardScratch(const AttentionPlan &plan)
      : Scratch(plan), ldw(most_rows + TERMS), ldk(most_keys + TERMS), g(most_rows * width), g_across(most_rows * width),
        q_pairs(most_rows * width), g_pairs(most_rows * width), weights(most_keys * ldw), slopes(most_keys * ldw),
        keys(most_keys * width), keys_across(width * ldk), values(most_keys * width), gradients(TERMS * lds),
        gk(most_keys * (width + BLOCK)), gv(most_keys * (width + BLOCK)), normaliser(most_rows), delta(most_rows) {}
  const int64_t ldw, ldk;
  Numbers<bf16> g, g_across, q_pairs, g_pairs, weights, slopes, keys, keys_across, values;
  Floats gradients, gk, gv;
  std::vector<float> normaliser, delta;
};

} // namespace

void tile_attention_forward(const AttentionKernels &kernels, const AttentionPlan &plan, const bf16 *q, const bf16 *k, const bf16 *v,
                            bf16 *out, float *normaliser, int threads) {
  const auto &shape = plan.shape;
  const auto &tiles = *kernels.tiles;
  const int64_t group = plan.group, n = shape.head_dim, width = terms(n), kv = shape.kv_heads;
  const int64_t kv_width = kv * n, q_width = shape.heads * n;
  const float factor = static_cast<float>(LOG2_E / std::sqrt(static_cast<double>(n)));
  std::vector<std::unique_ptr<ForwardScratch>> scratch;
  for (int i = 0; i < threads; ++i)
    scratch.push_back(std::make_unique<ForwardScratch>(plan));
  // For each head, block by block: the keys [count][width], the values across [width][count].
  const Numbers<bf16> keys(plan.packed_tokens * kv * width), values(plan.packed_tokens * kv * width);
  const auto packed = [&](const Numbers<bf16> &all, const KeyBlock &block, int64_t head) {
    return all.get() + (head * plan.packed_tokens + block.packed) * width;
  };
  over_tasks(static_cast<int64_t>(plan.blocks.size()), threads, [&](int64_t task, int thread) {
    const auto &block = plan.blocks[task];
    const int64_t all = terms(block.count);
    bf16 *own = scratch[thread]->v.get();
    for (int64_t head = 0; head < kv; ++head) {
      const int64_t from = block.key * kv_width + head * n;
      copy_rows(k + from, kv_width, block.count, 1, n, packed(keys, block, head), all, width);
      copy_rows(v + from, kv_width, block.count, 1, n, own, all, width);
      tiles.across(own, width, all, width, packed(values, block, head), all);
    }
  });
  const auto order = by_parts(plan);
  over_tasks(static_cast<int64_t>(order.size()) * kv, threads, [&](int64_t task, int thread) {
    const int64_t head = task % kv;
    const auto &tile = plan.tiles[order[task / kv]];
    auto &own = *scratch[thread];
    const int64_t rows = own.rows_of(plan, tile), query = plan.segments[tile.segment].query + tile.first;
    const int64_t at = query * q_width + head * group * n;
    copy_rows(q + at, q_width, tile.count, group, n, own.q.get(), rows, width);
    across_in_pairs(kernels, own.q.get(), rows, width, own.q_across.get());
    std::fill_n(own.out.get(), width * own.lds, 0.0f);
    std::fill_n(own.sums.begin(), rows, 0.0f);
    std::fill_n(own.highest.begin(), rows, -1e30f);
    plan.over_parts(tile, [&](const AttentionPlan::Part &part) {
      const auto [lowest, highest] = set_limits(plan, tile, part, own);
      if (lowest >= highest)
        return;
      const auto &block = plan.blocks[part.block];
      const int64_t all = terms(block.count), start = lowest / TERMS * TERMS, count = terms(highest) - start;
      count_from(own, tile.count * group, start);
      tiles.product(packed(keys, block, head) + start * width, width, count, own.q_across.get(), width * BLOCK, rows / BLOCK,
                    width, own.scores.get(), own.lds, false);
      tiles.softmax(own.scores.get(), own.lds, count, rows, own.first.data(), own.last.data(), factor, own.highest.data(),
                    own.sums.data(), own.out.get(), own.lds, width, own.pairs.get(), own.panel);
      tiles.product(packed(values, block, head) + start, all, width, own.pairs.get(), own.panel, rows / BLOCK, count,
                    own.out.get(), own.lds, true);
    });
    for (int64_t row = 0; row < tile.count * group; ++row) {
      float &sum = own.sums[row];
      normaliser[(query + row / group) * shape.heads + head * group + row % group] =
          sum == 0 ? 1e30f : own.highest[row] + std::log2(sum);
      sum = sum > 0 ? 1.0f / sum : sum;
    }
    for (int64_t i = 0; i < width; ++i)
      for (int64_t row = 0; row < rows; ++row)
        own.out.get()[i * own.lds + row] *= own.sums[row];
    kernels.f32.transposed(own.out.get(), own.lds, width, rows, own.turned.get());
    for (int64_t token = 0; token < tile.count; ++token)
      for (int64_t i = 0; i < n; i += BLOCK)
        kernels.half.narrow(own.turned.get() + i * rows + token * group * BLOCK, BLOCK, group, std::min(n - i, BLOCK), 1.0f,
                            out + at + token * q_width + i, n);
  });
}

void tile_attention_backward(const AttentionKernels &kernels, const AttentionPlan &plan, const bf16 *q, const bf16 *k,
                             const bf16 *v, const bf16 *out, const float *normaliser, const bf16 *g, float *gq, bf16 *gk,
                             bf16 *gv, int threads) {
  const auto &shape = plan.shape;
  const auto &tiles = *kernels.tiles;
  const int64_t group = plan.group, n = shape.head_dim, width = terms(n), ldg = width + BLOCK, kv = shape.kv_heads;
  const int64_t kv_width = kv * n, q_width = shape.heads * n, count = static_cast<int64_t>(plan.blocks.size());
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(n)));
  const float factor = static_cast<float>(LOG2_E / std::sqrt(static_cast<double>(n)));
  const Floats deltas(shape.queries * shape.heads);
  set_deltas(kernels.half, shape, out, g, deltas.get(), threads);
  Turns turns(static_cast<int64_t>(plan.tiles.size()) * kv);
  std::vector<std::unique_ptr<BackwardScratch>> scratch;
  for (int i = 0; i < threads; ++i)
    scratch.push_back(std::make_unique<BackwardScratch>(plan));
  over_tasks(count * kv, threads, [&](int64_t task, int thread) {
    const int64_t head = task % kv, index = count - 1 - task / kv;
    const auto &block = plan.blocks[index];
    auto &own = *scratch[thread];
    const int64_t all = terms(block.count), from = block.key * kv_width + head * n;
    copy_rows(k + from, kv_width, block.count, 1, n, own.keys.get(), all, width);
    copy_rows(v + from, kv_width, block.count, 1, n, own.values.get(), all, width);
    tiles.across(own.keys.get(), width, all, width, own.keys_across.get(), own.ldk);
    std::fill_n(own.gk.get(), all * ldg, 0.0f);
    std::fill_n(own.gv.get(), all * ldg, 0.0f);
    const auto &viewers = plan.viewers[index];
    for (auto viewer = viewers.rbegin(); viewer != viewers.rend(); ++viewer) {
      const auto part = plan.part(viewer->first, viewer->second, index);
      const auto [first_tile, last_tile] = plan.tiles_of(viewer->first, part);
      for (int64_t t = first_tile; t < last_tile; ++t) {
        const auto &tile = plan.tiles[t];
        const int64_t some = tile.count * group, rows = own.rows_of(plan, tile);
        const int64_t query = plan.segments[tile.segment].query + tile.first, at = query * q_width + head * group * n;
        const auto [lowest, highest] = set_limits(plan, tile, part, own);
        const int64_t start = lowest / TERMS * TERMS, keys = terms(highest) - start;
        count_from(own, some, start);
        copy_rows(q + at, q_width, tile.count, group, n, own.q.get(), rows, width);
        copy_rows(g + at, q_width, tile.count, group, n, own.g.get(), rows, width);
        across_in_pairs(kernels, own.q.get(), rows, width, own.q_across.get());
        across_in_pairs(kernels, own.g.get(), rows, width, own.g_across.get());
        tiles.pairs(own.q.get(), width, rows, width, own.q_pairs.get(), rows * BLOCK);
        tiles.pairs(own.g.get(), width, rows, width, own.g_pairs.get(), rows * BLOCK);
        for (int64_t i = 0; i < tile.count; ++i) {
          const int64_t number = (query + i) * shape.heads + head * group;
          std::copy_n(normaliser + number, group, own.normaliser.begin() + i * group);
          std::copy_n(deltas.get() + number, group, own.delta.begin() + i * group);
        }
        std::fill(own.normaliser.begin() + some, own.normaliser.begin() + rows, 0.0f);
        std::fill(own.delta.begin() + some, own.delta.begin() + rows, 0.0f);
        // Scores of a few keys at a time stay in the L1 cache.
        for (int64_t key = 0; key < keys; key += TERMS) {
          const int64_t place = (start + key) * width;
          tiles.product(own.keys.get() + place, width, TERMS, own.q_across.get(), width * BLOCK, rows / BLOCK, width,
                        own.scores.get(), own.lds, false);
          tiles.product(own.values.get() + place, width, TERMS, own.g_across.get(), width * BLOCK, rows / BLOCK, width,
                        own.gradients.get(), own.lds, false);
          tiles.differentiate(own.scores.get(), own.gradients.get(), own.lds, key, TERMS, rows, own.first.data(),
                              own.last.data(), factor, own.normaliser.data(), own.delta.data(),
                              own.weights.get() + key * own.ldw, own.slopes.get() + key * own.ldw, own.ldw,
                              own.pairs.get() + key * BLOCK, own.panel);
        }
        tiles.product(own.weights.get(), own.ldw, keys, own.g_pairs.get(), rows * BLOCK, width / BLOCK, rows,
                      own.gv.get() + start * ldg, ldg, true);
        tiles.product(own.slopes.get(), own.ldw, keys, own.q_pairs.get(), rows * BLOCK, width / BLOCK, rows,
                      own.gk.get() + start * ldg, ldg, true);
        tiles.product(own.keys_across.get() + start, own.ldk, width, own.pairs.get(), own.panel, rows / BLOCK, keys,
                      own.out.get(), own.lds, false);
        kernels.f32.transposed(own.out.get(), own.lds, width, rows, own.turned.get());
        turns.take(t * kv + head, plan.parts_behind(tile, viewer->second, index), [&] {
          for (int64_t i = 0; i < tile.count; ++i)
            tiles.add(own.turned.get() + i * group * BLOCK, rows * BLOCK, scale, group, n, gq + at + i * q_width, n);
        });
      }
    }
    kernels.half.narrow(own.gk.get(), ldg, block.count, n, scale, gk + from, kv_width);
    kernels.half.narrow(own.gv.get(), ldg, block.count, n, 1.0f, gv + from, kv_width);
  });
}

} // namespace herd
