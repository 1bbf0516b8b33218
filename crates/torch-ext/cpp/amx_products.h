// Products of bfloat16 rows with packed blocks by AMX: tiles of 16 rows and 16 columns, 32 terms of k at a time. A packed block
// [k / 2][16][2] is a sequence of such tiles. Included where the level has AMX.
#pragma once

#include "vectors.h"

namespace herd {
namespace {

// Rows of a tile, and terms of k that one instruction multiplies.
constexpr int64_t TILE = 16, TILE_TERMS = 32;

// The shapes of the eight tile registers, in the layout of the instruction ldtilecfg.
struct Shapes {
  uint8_t palette = 1, start = 0, reserved[14] = {};
  uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {};
};

// Multiplies `HIGH` tiles of rows of x by NB blocks, in ascending order of k, into out [rows, ldo], or adds to it. Registers: 0 and 1 the sums of
// the upper rows, 2 and 3 those of the lower rows (or, with four blocks, of blocks 2 and 3), 4 and 5 rows of x, 6 and 7 blocks.
template <int HIGH, int NB, bool ADD = false>
INLINE void tiles(const bf16 *x, int64_t ldx, const bf16 *const (&w)[NB], int64_t k, float *out, int64_t ldo) {
  static_assert((HIGH == 1 && NB <= 4 && NB != 3) || (HIGH == 2 && NB <= 2));
  const int64_t stride = 2 * ldx, stored = 4 * ldo;
  if constexpr (ADD) {
    static_assert(NB <= 2);
    _tile_loadd(0, out, stored);
    if constexpr (NB > 1)
      _tile_loadd(1, out + BLOCK, stored);
    if constexpr (HIGH == 2)
      _tile_loadd(2, out + TILE * ldo, stored);
    if constexpr (HIGH == 2 && NB == 2)
      _tile_loadd(3, out + TILE * ldo + BLOCK, stored);
  } else {
    _tile_zero(0);
    if constexpr (NB > 1)
      _tile_zero(1);
    if constexpr (HIGH == 2 || NB == 4)
      _tile_zero(2);
    if constexpr ((HIGH == 2 && NB == 2) || NB == 4)
      _tile_zero(3);
  }
  for (int64_t i = 0; i < k; i += TILE_TERMS) {
    _tile_loadd(4, x + i, stride);
    _tile_loadd(6, w[0] + i * BLOCK, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (NB > 1) {
      _tile_loadd(7, w[1] + i * BLOCK, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (HIGH == 2) {
      _tile_loadd(5, x + TILE * ldx + i, stride);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (NB > 1)
        _tile_dpbf16ps(3, 5, 7);
    } else if constexpr (NB == 4) {
      _tile_loadd(6, w[2] + i * BLOCK, 64);
      _tile_dpbf16ps(2, 4, 6);
      _tile_loadd(7, w[3] + i * BLOCK, 64);
      _tile_dpbf16ps(3, 4, 7);
    }
  }
  _tile_stored(0, out, stored);
  if constexpr (NB > 1)
    _tile_stored(1, out + BLOCK, stored);
  if constexpr (HIGH == 2)
    _tile_stored(2, out + TILE * ldo, stored);
  if constexpr (HIGH == 2 && NB == 2)
    _tile_stored(3, out + TILE * ldo + BLOCK, stored);
  if constexpr (NB == 4) {
    _tile_stored(2, out + 2 * BLOCK, stored);
    _tile_stored(3, out + 3 * BLOCK, stored);
  }
}

// Loads the shapes for `rows` rows of x, at most 32.
INLINE void shape(int64_t rows) {
  Shapes shapes;
  const uint8_t upper = static_cast<uint8_t>(rows < TILE ? rows : TILE);
  const uint8_t lower = static_cast<uint8_t>(rows > TILE ? rows - TILE : upper);
  shapes.rows[0] = shapes.rows[1] = shapes.rows[4] = upper;
  shapes.rows[2] = shapes.rows[3] = shapes.rows[5] = lower;
  shapes.rows[6] = shapes.rows[7] = TILE;
  _tile_loadconfig(&shapes);
}

// At most 32 rows, whose shapes are loaded, by `count` blocks (1, 2, or for at most 16 rows 4).
INLINE void some_tiles(const bf16 *x, int64_t ldx, int64_t rows, const bf16 *const *w, int64_t count, int64_t k, float *out,
                       int64_t ldo) {
  if (count == 4)
    tiles<1, 4>(x, ldx, {w[0], w[1], w[2], w[3]}, k, out, ldo);
  else if (count == 2)
    rows > TILE ? tiles<2, 2>(x, ldx, {w[0], w[1]}, k, out, ldo) : tiles<1, 2>(x, ldx, {w[0], w[1]}, k, out, ldo);
  else
    rows > TILE ? tiles<2, 1>(x, ldx, {w[0]}, k, out, ldo) : tiles<1, 1>(x, ldx, {w[0]}, k, out, ldo);
}

// The number of blocks that are computed together, of `left` blocks that are left.
INLINE int64_t together(int64_t rows, int64_t left) { return rows <= TILE && left >= 4 ? 4 : left >= 2 ? 2 : 1; }

// Multiplies rows of x by the blocks [begin, end) of w; k is a multiple of TILE_TERMS. Calls put(row, column, sums) for each block, for
// a row in the order of the blocks.
template <typename Put>
INLINE void amx_products(const bf16 *x, int64_t ldx, int64_t rows, const bf16 *w, int64_t k, int64_t begin, int64_t end,
                         const Put &put) {
  constexpr int64_t high = 2 * TILE;
  alignas(64) float sums[high * 2 * BLOCK];
  int64_t shaped = 0;
  for (int64_t b = begin; b < end;) {
    const int64_t step = together(rows, end - b);
    const bf16 *blocks[4];
    for (int64_t j = 0; j < step; ++j)
      blocks[j] = w + (b + j) * k * BLOCK;
    for (int64_t row = 0; row < rows; row += high) {
      const int64_t some = rows - row < high ? rows - row : high;
      if (some != shaped)
        shape(some);
      shaped = some;
      some_tiles(x + row * ldx, ldx, some, blocks, step, k, sums, step * BLOCK);
      for (int64_t m = 0; m < some; ++m)
        for (int64_t j = 0; j < step; ++j)
          put(row + m, (b + j) * BLOCK, load(sums + (m * step + j) * BLOCK));
    }
    b += step;
  }
  _tile_release();
}

// Attention scores as in KernelsOf::scores; k is a multiple of TILE_TERMS.
INLINE void amx_scores(const bf16 *x, int64_t rows, const bf16 *const *keys, int64_t pages, int64_t k, float *out, int64_t lds) {
  constexpr int64_t high = 2 * TILE;
  for (int64_t row = 0; row < rows; row += high) {
    const int64_t some = rows - row < high ? rows - row : high;
    shape(some);
    for (int64_t page = 0; page < pages;) {
      const int64_t step = together(some, pages - page);
      some_tiles(x + row * k, k, some, keys + page, step, k, out + row * lds + page * BLOCK, lds);
      page += step;
    }
  }
  _tile_release();
}

} // namespace
} // namespace herd
