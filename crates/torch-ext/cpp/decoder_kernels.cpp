// See decoder_kernels.h. Compiled once for each instruction-set level; the macro LEVEL is the name of the level.

#include "decoder_kernels.h"
#include "softmax.h"
#include "wide_products.h"
#if defined(__AMX_BF16__)
#include "amx_products.h"
#endif

#define TABLE JOIN(kernels_, LEVEL)

namespace herd {
namespace {

// Adds to acc [M][NB * PARTS] the products of M rows of x with NB packed blocks, in ascending order of k.
template <int M, int NB>
INLINE void multiply(const float *x, int64_t ldx, const float *w, int64_t block, int64_t k,
                     vec (&acc)[M][NB * PARTS]) {
  for (int64_t i = 0; i < k; ++i) {
    vec column[NB * PARTS];
#pragma GCC unroll 16
    for (int c = 0; c < NB * PARTS; ++c)
      column[c] = load(w + c / PARTS * block + i * BLOCK + c % PARTS * LANES);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const vec value = x[m * ldx + i] - vec{};
#pragma GCC unroll 16
      for (int c = 0; c < NB * PARTS; ++c)
        acc[m][c] += value * column[c];
    }
  }
}

template <int M, int NB>
INLINE void multiply(const bf16 *x, int64_t ldx, const bf16 *w, int64_t block, int64_t k,
                     vec (&acc)[M][NB * PARTS]) {
  for (int64_t i = 0; i < k; i += 2) {
#if defined(__AVX512BF16__)
    __m512bh column[NB];
#pragma GCC unroll 4
    for (int b = 0; b < NB; ++b)
      column[b] = (__m512bh)_mm512_loadu_si512(w + b * block + i * BLOCK);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      int32_t pair;
      __builtin_memcpy(&pair, x + m * ldx + i, 4);
      const __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int b = 0; b < NB; ++b)
        acc[m][b] = (vec)_mm512_dpbf16_ps((__m512)acc[m][b], value, column[b]);
    }
#else
    u32 column[NB * PARTS];
#pragma GCC unroll 16
    for (int c = 0; c < NB * PARTS; ++c)
      column[c] = *reinterpret_cast<const unaligned_u32 *>(w + c / PARTS * block + i * BLOCK + c % PARTS * 2 * LANES);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      uint32_t pair;
      __builtin_memcpy(&pair, x + m * ldx + i, 4);
      const vec low = (vec)(u32{} + (pair << 16)), high = (vec)(u32{} + (pair & 0xffff0000u));
#pragma GCC unroll 16
      for (int c = 0; c < NB * PARTS; ++c) {
        acc[m][c] += low * (vec)(column[c] << 16);
        acc[m][c] += high * (vec)(column[c] & 0xffff0000u);
      }
    }
#endif
  }
}

// Computes sums [M][NB][16]; one function for each number of rows M and of blocks NB.
template <int M, int NB, typename T>
__attribute__((noinline)) void tile(const T *x, int64_t ldx, const T *w, int64_t block, int64_t k, float *sums) {
  vec acc[M][NB * PARTS] = {};
  multiply<M, NB>(x, ldx, w, block, k, acc);
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int c = 0; c < NB * PARTS; ++c)
      store(sums + (m * NB * PARTS + c) * LANES, acc[m][c]);
}

template <typename T> using Tile = void (*)(const T *, int64_t, const T *, int64_t, int64_t, float *);

// The function for `rows` rows, at most M.
template <int M, int NB, typename T> INLINE Tile<T> tile_of(int64_t rows) {
  if constexpr (M > 1)
    return rows == M ? tile<M, NB, T> : tile_of<M - 1, NB, T>(rows);
  else
    return tile<1, NB, T>;
}

// From this number of rows on, both factors of a bfloat16 product are widened to float32 first (wide_products.h); never if the CPU
// has bfloat16 multiply-adds.
#if defined(__AVX512BF16__)
constexpr int64_t MANY_ROWS = INT64_MAX;
#else
constexpr int64_t MANY_ROWS = 24;
#endif
// Rows, terms of k, and blocks of columns that are widened together: rows and sums stay in the L2 cache, a block in the L1 cache.
constexpr int64_t WIDE_ROWS = 96, WIDE_TERMS = 256, WIDE_BLOCKS = 8, WIDE_LDX = WIDE_TERMS + BLOCK;

// `products` for many rows of bfloat16.
template <typename Put>
INLINE void wide_products(const bf16 *x, int64_t ldx, int64_t rows, const bf16 *w, int64_t k, int64_t begin, int64_t end,
                          const Put &put) {
  constexpr int64_t lds = WIDE_BLOCKS * BLOCK;
  float left[WIDE_ROWS * WIDE_LDX], right[WIDE_TERMS * BLOCK], sums[WIDE_ROWS * lds];
  for (int64_t row = 0; row < rows; row += WIDE_ROWS) {
    const int64_t some = rows - row < WIDE_ROWS ? rows - row : WIDE_ROWS;
    for (int64_t b = begin; b < end; b += WIDE_BLOCKS) {
      const int64_t blocks = end - b < WIDE_BLOCKS ? end - b : WIDE_BLOCKS;
      for (int64_t i = 0; i < k; i += WIDE_TERMS) {
        const int64_t terms = k - i < WIDE_TERMS ? k - i : WIDE_TERMS;
        widen_rows(x + row * ldx + i, ldx, some, terms, left, WIDE_LDX);
        for (int64_t j = 0; j < blocks; ++j) {
          widen_panel(w + (b + j) * k * BLOCK + i * BLOCK, terms, right);
          wide_panel(left, WIDE_LDX, 1, some, right, BLOCK, terms, sums + j * BLOCK, lds, i > 0);
        }
      }
      for (int64_t j = 0; j < blocks; ++j)
        for (int64_t m = 0; m < some; ++m)
          for (int64_t c = 0; c < BLOCK; c += LANES)
            put(row + m, (b + j) * BLOCK + c, load(sums + m * lds + j * BLOCK + c));
    }
  }
}

// Multiplies rows of x by the blocks [begin, end) of w. Calls put(row, column, sums) for each register of columns; `column` is its
// first column.
template <typename T, typename Put>
INLINE void products(const T *x, int64_t ldx, int64_t rows, const T *w, int64_t k, int64_t begin, int64_t end,
                     const Put &put) {
  if constexpr (sizeof(T) == sizeof(bf16)) {
#if defined(__AMX_BF16__)
    // For one row too: a row's bits must not depend on the number of rows.
    if (k % TILE_TERMS == 0)
      return amx_products(x, ldx, rows, w, k, begin, end, put);
#endif
    if (rows >= MANY_ROWS)
      return wide_products(x, ldx, rows, w, k, begin, end, put);
  }
  constexpr int four = LANES == 16 ? 4 : 1, two = LANES == 16 ? 8 : 2;
  const int64_t block = k * BLOCK;
  float sums[16 * BLOCK];
  for (int64_t b = begin; b < end;) {
    // A few rows take several blocks at a time. Many rows pass over one block, which stays in the L1 cache.
    const int64_t most = rows <= four ? 4 : rows <= two ? 2 : 1, step = most <= end - b ? most : 1;
    for (int64_t row = 0; row < rows; row += MOST_ROWS) {
      const int64_t some = rows - row < MOST_ROWS ? rows - row : MOST_ROWS;
      const Tile<T> tile = step == 4   ? tile_of<four, 4, T>(some)
                           : step == 2 ? tile_of<two, 2, T>(some)
                                       : tile_of<MOST_ROWS, 1, T>(some);
      tile(x + row * ldx, ldx, w + b * block, block, k, sums);
      for (int64_t m = 0; m < some; ++m)
        for (int64_t column = 0; column < step * BLOCK; column += LANES)
          put(row + m, b * BLOCK + column, load(sums + m * step * BLOCK + column));
    }
    b += step;
  }
}

template <typename T> INLINE vec with_bias(const Matrix<T> &w, int64_t column, vec x) {
  return w.bias ? x + load(w.bias + column) : x;
}

template <typename T>
void linear(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
            int64_t ldo) {
  products(x, ldx, rows, w.blocks, w.k, begin, end, [&](int64_t row, int64_t column, vec sum) {
    store_some(out + row * ldo + column, with_bias(w, column, sum), w.n - column);
  });
}

template <typename T>
void linear_add(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                int64_t ldo) {
  products(x, ldx, rows, w.blocks, w.k, begin, end, [&](int64_t row, int64_t column, vec sum) {
    T *at = out + row * ldo + column;
    store_some(at, load_some(at, w.n - column) + rounded<T>(with_bias(w, column, sum)), w.n - column);
  });
}

template <typename T>
void linear_wide(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, float *out,
                 int64_t ldo) {
  products(x, ldx, rows, w.blocks, w.k, begin, end, [&](int64_t row, int64_t column, vec sum) {
    store_some(out + row * ldo + column, with_bias(w, column, sum), w.n - column);
  });
}

template <typename T>
void gated(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
           int64_t ldo) {
  constexpr int64_t most = 256;
  float gates[most * BLOCK];
  for (int64_t start = 0; start < rows; start += most) {
    const int64_t some = rows - start < most ? rows - start : most;
    // The products of a row arrive in the order of the blocks: `gates` holds a gate's values until the products of `up` arrive.
    products(x + start * ldx, ldx, some, w.blocks, w.k, 2 * begin, 2 * end, [&](int64_t row, int64_t column, vec sum) {
      const int64_t block = column / BLOCK, place = column % BLOCK;
      float *gate = gates + row * BLOCK + place;
      const vec value = rounded<T>(with_bias(w, column, sum));
      if (block % 2 == 0)
        store(gate, rounded<T>(value / (1.0f + exponential(-value))));
      else
        store(out + (start + row) * ldo + block / 2 * BLOCK + place, load(gate) * value);
    });
  }
}

template <typename T> void rms_norm(const T *x, const T *w, T *y, int64_t n, float eps) {
  vec squares = {};
  for (int64_t i = 0; i < n; i += LANES) {
    const vec some = load_some(x + i, n - i);
    squares += some * some;
  }
  const float scale = 1.0f / __builtin_sqrtf(total(squares) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; i += LANES)
    store_some(y + i, rounded<T>(load_some(x + i, n - i) * scale) * load_some(w + i, n - i), n - i);
}

template <typename T>
void rotate(T *x, int64_t heads, int64_t half, const float *cosine, const float *sine) {
  for (int64_t head = 0; head < heads; ++head, x += 2 * half) {
    for (int64_t i = 0; i < half; i += LANES) {
      const int64_t n = half - i;
      const vec a = load_some(x + i, n), b = load_some(x + half + i, n);
      const vec c = rounded<T>(load_some(cosine + i, n)), s = rounded<T>(load_some(sine + i, n));
      const vec c2 = rounded<T>(load_some(cosine + half + i, n)), s2 = rounded<T>(load_some(sine + half + i, n));
      store_some(x + i, rounded<T>(a * c) - rounded<T>(b * s), n);
      store_some(x + half + i, rounded<T>(b * c2) + rounded<T>(a * s2), n);
    }
  }
}

void scores(const float *x, int64_t rows, const float *const *keys, int64_t pages, int64_t k, float *out, int64_t lds) {
  for (int64_t page = 0; page < pages; ++page)
    wide_panel(x, k, 1, rows, keys[page], BLOCK, k, out + page * BLOCK, lds, false);
}
void scores(const bf16 *x, int64_t rows, const bf16 *const *keys, int64_t pages, int64_t k, float *out, int64_t lds) {
#if defined(__AMX_BF16__)
  if (k % TILE_TERMS == 0)
    return amx_scores(x, rows, keys, pages, k, out, lds);
#endif
  if (rows < MANY_ROWS || k > WIDE_TERMS) {
    for (int64_t page = 0; page < pages; ++page)
      products(x, k, rows, keys[page], k, 0, 1,
               [&](int64_t row, int64_t column, vec sum) { store(out + row * lds + page * BLOCK + column, sum); });
    return;
  }
  float left[WIDE_ROWS * WIDE_LDX], right[WIDE_TERMS * BLOCK];
  for (int64_t row = 0; row < rows; row += WIDE_ROWS) {
    const int64_t some = rows - row < WIDE_ROWS ? rows - row : WIDE_ROWS;
    widen_rows(x + row * k, k, some, k, left, k + BLOCK);
    for (int64_t page = 0; page < pages; ++page) {
      widen_panel(keys[page], k, right);
      wide_panel(left, k + BLOCK, 1, some, right, BLOCK, k, out + row * lds + page * BLOCK, lds, false);
    }
  }
}

void softmax(float *scores, int64_t lds, int64_t rows, int64_t count, float scale, const int64_t *first,
             const int64_t *last, float *highest, float *sums, float *out, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    float *s = scores + row * lds, *sum = sums + row * BLOCK, *o = out + row * width;
    const int32_t from = static_cast<int32_t>(first[row]), to = static_cast<int32_t>(last[row]);
    if (from <= 0 && to >= count)
      softmax_row<false>(s, count, 0, 0, scale, highest[row], sum, o, width);
    else
      softmax_row<true>(s, count, from, to, scale, highest[row], sum, o, width);
  }
}

void join(float *highest, float *sums, float *out, const float *more_highest, const float *more_sums, const float *more,
          int64_t rows, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    const float a = highest[row], b = more_highest[row], now = b > a ? b : a;
    const float old = power_of_two(vec{} + (a - now))[0], added = power_of_two(vec{} + (b - now))[0];
    const auto both = [&](float *to, const float *from, int64_t n) {
      for (int64_t i = 0; i < n; i += LANES)
        store(to + i, load(to + i) * old + load(from + i) * added);
    };
    both(out + row * width, more + row * width, width);
    both(sums + row * BLOCK, more_sums + row * BLOCK, BLOCK);
    highest[row] = now;
  }
}

template <int M, int D, typename T>
INLINE void weigh_tile(const float *weights, int64_t ldw, const T *values, int64_t tokens, int64_t width, float *out) {
  vec acc[M][D];
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d)
      acc[m][d] = load(out + m * width + d * LANES);
  for (int64_t t = 0; t < tokens; ++t) {
    vec value[D];
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d)
      value[d] = load(values + t * width + d * LANES);
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int d = 0; d < D; ++d)
        acc[m][d] += weights[m * ldw + t] * value[d];
  }
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d)
      store(out + m * width + d * LANES, acc[m][d]);
}

template <typename T>
INLINE void weigh_page(const float *weights, int64_t ldw, int64_t rows, const T *values, int64_t tokens, int64_t width,
                       float *out) {
  for (int64_t row = 0; row < rows;) {
    const int64_t left = rows - row, some = left < 4 ? left == 3 && LANES < 16 ? 2 : left : LANES == 16 ? 4 : 2;
    const float *w = weights + row * ldw;
    float *o = out + row * width;
    for (int64_t d = 0; d < width;) {
      const bool wide = width - d >= 4 * LANES;
      if (some == 4)
        wide ? weigh_tile<4, 4>(w, ldw, values + d, tokens, width, o + d)
             : weigh_tile<4, 1>(w, ldw, values + d, tokens, width, o + d);
      else if (some == 3)
        wide ? weigh_tile<3, 4>(w, ldw, values + d, tokens, width, o + d)
             : weigh_tile<3, 1>(w, ldw, values + d, tokens, width, o + d);
      else if (some == 2)
        wide ? weigh_tile<2, 4>(w, ldw, values + d, tokens, width, o + d)
             : weigh_tile<2, 1>(w, ldw, values + d, tokens, width, o + d);
      else
        wide ? weigh_tile<1, 4>(w, ldw, values + d, tokens, width, o + d)
             : weigh_tile<1, 1>(w, ldw, values + d, tokens, width, o + d);
      d += wide ? 4 * LANES : LANES;
    }
    row += some;
  }
}

// For many rows: rows (WEIGHING) and registers of columns (WIDE) computed together, so that the sums stay in registers over all
// pages.
constexpr int WEIGHING = LANES == 4 ? 2 : 6, WIDE = LANES == 16 ? 4 : PARTS;

template <int M, int D, typename T>
__attribute__((noinline)) void weigh_pages(const float *weights, int64_t ldw, const T *const *values, int64_t offset,
                                           int64_t tokens, int64_t width, float *out) {
  vec acc[M][D];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d)
      acc[m][d] = load(out + m * width + d * LANES);
  for (int64_t start = 0; start < tokens; start += BLOCK) {
    const T *page = values[start / BLOCK] + offset;
    const int64_t some = tokens - start < BLOCK ? tokens - start : BLOCK;
    for (int64_t t = 0; t < some; ++t) {
      vec value[D];
#pragma GCC unroll 4
      for (int d = 0; d < D; ++d)
        value[d] = load(page + t * width + d * LANES);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const vec weight = weights[m * ldw + start + t] - vec{};
#pragma GCC unroll 4
        for (int d = 0; d < D; ++d)
          acc[m][d] += weight * value[d];
      }
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d)
      store(out + m * width + d * LANES, acc[m][d]);
}

// `weigh` for many rows of bfloat16: widens as many pages at a time as fit into the L1 cache.
void wide_weigh(const float *weights, int64_t ldw, int64_t rows, const bf16 *const *values, int64_t tokens, int64_t width,
                float *out) {
  constexpr int64_t most = 8192;
  float wide[most];
  const int64_t pages = most / (BLOCK * width) * BLOCK;
  for (int64_t start = 0; start < tokens; start += pages) {
    const int64_t some = tokens - start < pages ? tokens - start : pages;
    for (int64_t t = 0; t < some; t += BLOCK)
      widen_rows(values[(start + t) / BLOCK], width, some - t < BLOCK ? some - t : BLOCK, width, wide + t * width, width);
    for (int64_t d = 0; d < width; d += BLOCK)
      wide_panel(weights + start, ldw, 1, rows, wide + d, width, some, out + d, width, true);
  }
}

template <typename T>
void weigh(const float *weights, int64_t ldw, int64_t rows, const T *const *values, int64_t tokens, int64_t width,
           float *out) {
  if constexpr (sizeof(T) == sizeof(bf16))
    if (rows >= MANY_ROWS && width <= 512)
      return wide_weigh(weights, ldw, rows, values, tokens, width, out);
  int64_t row = 0;
  for (; rows - row >= WEIGHING; row += WEIGHING)
    for (int64_t d = 0; d < width;) {
      const bool wide = width - d >= WIDE * LANES;
      (wide ? weigh_pages<WEIGHING, WIDE, T> : weigh_pages<WEIGHING, 1, T>)(weights + row * ldw, ldw, values, d, tokens,
                                                                            width, out + row * width + d);
      d += wide ? WIDE * LANES : LANES;
    }
  // The remaining rows (all rows when single tokens are decoded): page by page, so that each page is read once.
  for (int64_t start = 0; start < tokens && row < rows; start += BLOCK) {
    const int64_t some = tokens - start < BLOCK ? tokens - start : BLOCK;
    weigh_page(weights + row * ldw + start, ldw, rows - row, values[start / BLOCK], some, width, out + row * width);
  }
}

template <typename T> void finish(const float *x, const float *sums, int64_t n, T *y) {
  const float sum = total(load(sums));
  for (int64_t i = 0; i < n; i += LANES)
    store_some(y + i, load_some(x + i, n - i) / sum, n - i);
}

void pack(const float *w, int64_t n, int64_t k, int64_t block, float *out) {
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = 0; j < BLOCK; ++j)
      out[i * BLOCK + j] = block * BLOCK + j < n ? w[(block * BLOCK + j) * k + i] : 0.0f;
}
void pack(const bf16 *w, int64_t n, int64_t k, int64_t block, bf16 *out) {
  for (int64_t i = 0; i < k; i += 2)
    for (int64_t j = 0; j < BLOCK; ++j)
      for (int64_t half = 0; half < 2; ++half)
        out[(i * BLOCK) + 2 * j + half] = block * BLOCK + j < n ? w[(block * BLOCK + j) * k + i + half] : bf16{0};
}

template <typename T> constexpr KernelsOf<T> table() {
  return {pack,      linear<T>, linear_add<T>, linear_wide<T>, gated<T>, rms_norm<T>,
          rotate<T>, scores,    softmax,       join,           weigh<T>,    finish<T>};
}

} // namespace

extern const Kernels TABLE;
const Kernels TABLE = {TEXT(LEVEL), table<float>(), table<bf16>()};

} // namespace herd
