// Matrix products of float32 blocks with float32 panels of 16 columns, and the widening of bfloat16 blocks. For how this file is
// compiled, see vectors.h.
//
// A CPU without bfloat16 multiply-adds must widen both factors to float32. Inside the inner loop, this costs as many instructions
// as the multiply-adds, and more registers than there are. So with many rows both factors are widened first, block by block. The
// terms of each sum and their order are the same in both ways, and so are the bits of the results.
#pragma once

#include "vectors.h"

namespace herd {
namespace {

// out [M][ldo] = x w (+= if ADD) over `k` terms: x(m, i) is at [m * row + i * column], w(i, c) at [i * step + c].
template <int M, bool ADD>
__attribute__((noinline)) void wide_tile(const float *x, int64_t row, int64_t column, const float *w, int64_t step, int64_t k,
                                         float *out, int64_t ldo) {
  vec acc[M][PARTS];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int c = 0; c < PARTS; ++c)
      acc[m][c] = ADD ? load(out + m * ldo + c * LANES) : vec{};
  for (int64_t i = 0; i < k; ++i) {
    vec right[PARTS];
#pragma GCC unroll 4
    for (int c = 0; c < PARTS; ++c)
      right[c] = load(w + i * step + c * LANES);
    const float *left = x + i * column;
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const vec value = left[m * row] - vec{};
#pragma GCC unroll 4
      for (int c = 0; c < PARTS; ++c)
        acc[m][c] += value * right[c];
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int c = 0; c < PARTS; ++c)
      store(out + m * ldo + c * LANES, acc[m][c]);
}

using WideTile = void (*)(const float *, int64_t, int64_t, const float *, int64_t, int64_t, float *, int64_t);

// The function for `rows` rows, at most M.
template <int M, bool ADD> INLINE WideTile wide_tile_of(int64_t rows) {
  if constexpr (M > 1)
    return rows == M ? wide_tile<M, ADD> : wide_tile_of<M - 1, ADD>(rows);
  else
    return wide_tile<1, ADD>;
}

// The product with one panel of 16 columns, for any number of rows.
INLINE void wide_panel(const float *x, int64_t row, int64_t column, int64_t rows, const float *w, int64_t step, int64_t k,
                       float *out, int64_t ldo, bool add) {
  for (int64_t r = 0; r < rows; r += MOST_ROWS) {
    const int64_t some = rows - r < MOST_ROWS ? rows - r : MOST_ROWS;
    const WideTile tile = add ? wide_tile_of<MOST_ROWS, true>(some) : wide_tile_of<MOST_ROWS, false>(some);
    tile(x + r * row, row, column, w, step, k, out + r * ldo, ldo);
  }
}

// Widens n numbers per row from `from` [rows][ldf] to `to` [rows][ldt]. Writes whole registers: `ldt` has room for n rounded up
// to LANES.
INLINE void widen_rows(const bf16 *from, int64_t ldf, int64_t rows, int64_t n, float *to, int64_t ldt) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < n; i += LANES)
      store(to + row * ldt + i, load_some(from + row * ldf + i, n - i));
}

// Widens a panel of bfloat16 pairs, [k / 2][16][2], to `to` [k][16].
INLINE void widen_panel(const bf16 *from, int64_t k, float *to) {
  for (int64_t i = 0; i < k; i += 2, from += 2 * BLOCK, to += 2 * BLOCK)
    for (int64_t c = 0; c < BLOCK; c += LANES) {
      const u32 pairs = *reinterpret_cast<const unaligned_u32 *>(from + 2 * c);
      store(to + c, (vec)(pairs << 16));
      store(to + BLOCK + c, (vec)(pairs & 0xffff0000u));
    }
}

} // namespace
} // namespace herd
