// What both computations of attention share: work space, limits of a tile's rows, and how threads take tasks.
#pragma once

#include "range_attention.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace herd {

constexpr double LOG2_E = 1.4426950408889634;

inline int64_t rounded_up(int64_t n, int64_t unit = BLOCK) { return (n + unit - 1) / unit * unit; }

// Uninitialized numbers, aligned to a cache line.
template <typename T> class Numbers {
public:
  explicit Numbers(int64_t count)
      : start_(static_cast<T *>(::operator new(count * sizeof(T), std::align_val_t{64}))) {}
  Numbers(const Numbers &) = delete;
  Numbers &operator=(const Numbers &) = delete;
  ~Numbers() { ::operator delete(start_, std::align_val_t{64}); }
  T *get() const { return start_; }

private:
  T *start_;
};
using Floats = Numbers<float>;

// For each row of a tile the keys [first, last) of a block to which it attends.
struct Limits {
  explicit Limits(int64_t rows) : first(rows), last(rows) {}
  std::vector<int32_t> first, last;
};

// Sets the limits of a tile's rows in the part's block. Returns the smallest range that contains these ranges.
inline std::pair<int64_t, int64_t> set_limits(const AttentionPlan &plan, const QueryTile &tile, const AttentionPlan::Part &part,
                                              Limits &own) {
  const auto &segment = plan.segments[tile.segment];
  int64_t lowest = INT64_MAX, highest = 0;
  for (int64_t query = 0; query < tile.count; ++query) {
    const int64_t place = segment.position + tile.first + query - part.position;
    int64_t first = part.first, last = std::min(part.last, place + 1);
    if (plan.shape.window > 0)
      first = std::max(first, place + 1 - plan.shape.window);
    if (first >= last)
      first = last = 0;
    else {
      lowest = std::min(lowest, first);
      highest = std::max(highest, last);
    }
    std::fill_n(own.first.begin() + query * plan.group, plan.group, static_cast<int32_t>(first));
    std::fill_n(own.last.begin() + query * plan.group, plan.group, static_cast<int32_t>(last));
  }
  return {std::min(lowest, highest), highest};
}

// Makes the limits of each row relative to key `start` of the block.
inline void count_from(Limits &own, int64_t rows, int64_t start) {
  for (int64_t row = 0; row < rows; ++row) {
    own.first[row] -= static_cast<int32_t>(start);
    own.last[row] -= static_cast<int32_t>(start);
  }
}

// Calls body(task, thread) for each task below `count`. Threads take the tasks in ascending order.
template <typename F> void over_tasks(int64_t count, int threads, F &&body) {
  std::atomic<int64_t> taken{0};
  const auto work = [&](int thread) {
    for (int64_t task; (task = taken.fetch_add(1, std::memory_order_relaxed)) < count;)
      body(task, thread);
  };
  threads = static_cast<int>(std::min<int64_t>(threads, count));
  if (threads <= 1) {
    work(0);
    return;
  }
#pragma omp parallel num_threads(threads)
  work(omp_get_thread_num());
}

// Indices of the plan's tiles. Tiles with the most parts come first, so that all threads finish at about the same time.
inline std::vector<int64_t> by_parts(const AttentionPlan &plan) {
  std::vector<std::pair<int64_t, int64_t>> order;
  for (size_t i = 0; i < plan.tiles.size(); ++i) {
    int64_t parts = 0;
    plan.over_parts(plan.tiles[i], [&](const AttentionPlan::Part &) { ++parts; });
    order.emplace_back(-parts, static_cast<int64_t>(i));
  }
  std::sort(order.begin(), order.end());
  std::vector<int64_t> tiles;
  for (const auto &[parts, tile] : order)
    tiles.push_back(tile);
  return tiles;
}

// delta [queries][heads] = g . out: the gradient of a score is its weight times (g . v - delta).
template <typename T>
void set_deltas(const AttentionInputs<T> &input, const AttentionShape &shape, const T *out, const T *g, float *deltas, int threads) {
  const int64_t n = shape.head_dim, width = shape.heads * n;
  over_tasks((shape.queries + 127) / 128, threads, [&](int64_t task, int) {
    const int64_t first = task * 128, tokens = std::min<int64_t>(128, shape.queries - first);
    input.dots(g + first * width, n, out + first * width, n, tokens * shape.heads, n, deltas + first * shape.heads);
  });
}

// Adds parts to the gradients of each tile's queries in one order, whatever thread computed them: from the last part to the first.
// A task waits only for tasks before it, which threads have already taken: no deadlock.
class Turns {
public:
  explicit Turns(int64_t count) : taken_(count) {
    for (auto &counter : taken_)
      counter.store(0, std::memory_order_relaxed);
  }
  // Calls body() when `turn` parts were added to sum number `index`.
  template <typename F> void take(int64_t index, int64_t turn, F &&body) {
    auto &counter = taken_[index];
    for (int64_t tries = 0; counter.load(std::memory_order_acquire) != turn; ++tries)
      if (tries > 200)
        std::this_thread::yield();
    body();
    counter.store(turn + 1, std::memory_order_release);
  }

private:
  std::vector<std::atomic<int64_t>> taken_;
};

} // namespace herd
