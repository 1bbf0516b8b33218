// Online softmax over blocks of scores. For how this file is compiled, see vectors.h.
#pragma once

#include "vectors.h"

namespace herd {
namespace {

// 2^x to 2 units in the last place, for x up to 127 (Cephes' exp2f). The result is at least 2^-125; NaN stays NaN.
INLINE vec power_of_two(vec x) {
  const vec least = vec{} - 125.0f;
  x = least > x ? least : x;
  // Adding 1.5 * 2^23 rounds x to an integer, which is then in the lowest bits.
  const vec shifted = x + 12582912.0f;
  const vec f = x - (shifted - 12582912.0f);
  vec p = f * 1.535336188319500e-4f + 1.339887440266574e-3f;
  p = p * f + 9.618437357674640e-3f;
  p = p * f + 5.550332471162809e-2f;
  p = p * f + 2.402264791363012e-1f;
  p = p * f + 6.931472028550421e-1f;
  p = p * f + 1.0f;
  return (vec)((i32)p + ((i32)shifted << 23));
}

// The lane indices 0, 1, ..., LANES - 1.
INLINE i32 lanes() {
  i32 lane = {};
  for (int i = 0; i < LANES; ++i)
    lane[i] = i;
  return lane;
}

constexpr float NEVER = -1e30f;

// One step of the online softmax in base 2 over `count` scores of a row. Only scores [first, last) count (all if not MASKED).
// Scores become weights 2^(scale * score - highest), 0 where they do not count; the earlier sums [16] and outputs [width] are
// rescaled to the new maximum `highest`. The weights of the scores that count have the same bits with and without MASKED.
template <bool MASKED>
INLINE void softmax_row(float *s, int64_t count, int32_t first, int32_t last, float scale, float &highest, float *sums,
                        float *out, int64_t width) {
  const i32 lane = lanes();
  const auto counts = [&](int64_t i) {
    const i32 place = lane + static_cast<int32_t>(i);
    return (place >= first) & (place < last);
  };
  vec high = vec{} + NEVER;
  for (int64_t i = 0; i < count; i += LANES) {
    vec score = load(s + i) * scale;
    if constexpr (MASKED)
      score = counts(i) ? score : vec{} + NEVER;
    high = score > high ? score : high;
  }
  const float before = highest, here = highest_of(high), now = here > before ? here : before;
  if (now != before) {
    const float factor = power_of_two(vec{} + (before - now))[0];
    for (int64_t i = 0; i < width; i += LANES)
      store(out + i, load(out + i) * factor);
    for (int64_t i = 0; i < BLOCK; i += LANES)
      store(sums + i, load(sums + i) * factor);
    highest = now;
  }
  vec sum = {};
  for (int64_t i = 0; i < count; i += LANES) {
    vec weight = power_of_two(load(s + i) * scale - now);
    if constexpr (MASKED)
      weight = counts(i) ? weight : vec{};
    store(s + i, weight);
    sum += weight;
  }
  store(sums, load(sums) + sum);
}

} // namespace
} // namespace herd
