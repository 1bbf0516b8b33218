// See decoder_kernels.h. Compiled once for each level of the instruction set, with LEVEL its name. No header of the standard
// library is included beyond types: an inline function of one, compiled here for a new processor, could be the copy
// that the linker keeps for all.

#include "decoder_kernels.h"

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TABLE JOIN(kernels_, LEVEL)
#define INLINE static inline __attribute__((always_inline))

namespace herd {
namespace {

typedef float v16 __attribute__((vector_size(64)));
typedef uint32_t u16x32 __attribute__((vector_size(64)));
typedef int32_t i16x32 __attribute__((vector_size(64)));
typedef uint16_t u16x16 __attribute__((vector_size(32)));
typedef float v16u __attribute__((vector_size(64), aligned(4)));
typedef uint32_t u32u __attribute__((vector_size(64), aligned(2)));
typedef uint16_t h16u __attribute__((vector_size(32), aligned(2)));

// Rows computed together, by what the registers hold.
#if defined(__AVX512F__)
constexpr int MOST_ROWS = 16;
#else
constexpr int MOST_ROWS = 4;
#endif

INLINE v16 load(const float *p) { return *reinterpret_cast<const v16u *>(p); }
INLINE v16 load(const bf16 *p) {
  return (v16)(__builtin_convertvector(*reinterpret_cast<const h16u *>(p), u16x32) << 16);
}
INLINE void store(float *p, v16 x) { *reinterpret_cast<v16u *>(p) = x; }

// Round to nearest even; not-a-number stays one.
INLINE u16x32 narrow_bits(v16 x) {
  const u16x32 bits = (u16x32)x;
  const u16x32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const u16x32 nan = (u16x32)((bits & 0x7fffffff) > 0x7f800000);
  return (rounded & ~nan) | (nan & 0x7fc0);
}
INLINE void store(bf16 *p, v16 x) { *reinterpret_cast<h16u *>(p) = __builtin_convertvector(narrow_bits(x), u16x16); }

// x as T would hold it.
template <typename T> INLINE v16 rounded(v16 x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return (v16)(narrow_bits(x) << 16);
}

// The first n of 16 numbers, zeros behind them.
template <typename T> INLINE v16 load_some(const T *p, int64_t n) {
  if (n >= 16)
    return load(p);
  T some[16] = {};
  for (int64_t i = 0; i < n; ++i)
    some[i] = p[i];
  return load(some);
}
template <typename T> INLINE void store_some(T *p, v16 x, int64_t n) {
  if (n >= 16) {
    store(p, x);
    return;
  }
  T some[16];
  store(some, x);
  for (int64_t i = 0; i < n; ++i)
    p[i] = some[i];
}

INLINE float total(v16 x) {
  float sum[8];
  for (int i = 0; i < 8; ++i)
    sum[i] = x[i] + x[i + 8];
  return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}
INLINE float highest_of(v16 x) {
  float high = x[0];
  for (int i = 1; i < 16; ++i)
    high = x[i] > high ? x[i] : high;
  return high;
}

// e^x to 2 units in the last place (the polynomial of Cephes' expf), between e^-87 and e^88.
INLINE v16 exponential(v16 x) {
  x = x < -87.0f ? v16{} - 87.0f : x;
  x = x > 88.0f ? v16{} + 88.0f : x;
  const v16 scaled = x * 1.44269504f;
  const i16x32 n = __builtin_convertvector(scaled + (x >= 0.0f ? v16{} + 0.5f : v16{} - 0.5f), i16x32);
  const v16 k = __builtin_convertvector(n, v16);
  const v16 r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  v16 p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * (v16)((n + 127) << 23);
}

// acc [M][NB] of 16 columns each: products of M rows of x with NB blocks, one term of k after the other.
template <int M, int NB>
INLINE void multiply(const float *x, int64_t ldx, const float *w, int64_t block, int64_t k, v16 (&acc)[M][NB]) {
  for (int64_t i = 0; i < k; ++i) {
    v16 column[NB];
#pragma GCC unroll 4
    for (int b = 0; b < NB; ++b)
      column[b] = load(w + b * block + i * 16);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      const v16 value = v16{} + x[m * ldx + i];
#pragma GCC unroll 4
      for (int b = 0; b < NB; ++b)
        acc[m][b] += value * column[b];
    }
  }
}

template <int M, int NB>
INLINE void multiply(const bf16 *x, int64_t ldx, const bf16 *w, int64_t block, int64_t k, v16 (&acc)[M][NB]) {
  for (int64_t i = 0; i < k; i += 2) {
#if defined(__AVX512BF16__)
    __m512bh column[NB];
#pragma GCC unroll 4
    for (int b = 0; b < NB; ++b)
      column[b] = (__m512bh)_mm512_loadu_si512(w + b * block + i * 16);
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      int32_t pair;
      __builtin_memcpy(&pair, x + m * ldx + i, 4);
      const __m512bh value = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int b = 0; b < NB; ++b)
        acc[m][b] = (v16)_mm512_dpbf16_ps((__m512)acc[m][b], value, column[b]);
    }
#else
    v16 even[NB], odd[NB];
#pragma GCC unroll 4
    for (int b = 0; b < NB; ++b) {
      const u16x32 pairs = *reinterpret_cast<const u32u *>(w + b * block + i * 16);
      even[b] = (v16)(pairs << 16);
      odd[b] = (v16)(pairs & 0xffff0000u);
    }
#pragma GCC unroll 16
    for (int m = 0; m < M; ++m) {
      uint32_t pair;
      __builtin_memcpy(&pair, x + m * ldx + i, 4);
      const v16 low = (v16)(u16x32{} + (pair << 16)), high = (v16)(u16x32{} + (pair & 0xffff0000u));
#pragma GCC unroll 4
      for (int b = 0; b < NB; ++b) {
        acc[m][b] += low * even[b];
        acc[m][b] += high * odd[b];
      }
    }
#endif
  }
}

// sums [M][NB], one function for each number of rows and blocks.
template <int M, int NB, typename T>
__attribute__((noinline)) void tile(const T *x, int64_t ldx, const T *w, int64_t block, int64_t k, v16 *sums) {
  v16 acc[M][NB] = {};
  multiply<M, NB>(x, ldx, w, block, k, acc);
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int b = 0; b < NB; ++b)
      sums[m * NB + b] = acc[m][b];
}

template <typename T> using Tile = void (*)(const T *, int64_t, const T *, int64_t, int64_t, v16 *);

// The tile of M or fewer rows.
template <int M, int NB, typename T> INLINE Tile<T> tile_of(int64_t rows) {
  if constexpr (M > 1)
    return rows == M ? tile<M, NB, T> : tile_of<M - 1, NB, T>(rows);
  else
    return tile<1, NB, T>;
}

// Columns of blocks [begin, end): calls put(row, block, sums of its 16 columns).
template <typename T, typename Put>
INLINE void products(const T *x, int64_t ldx, int64_t rows, const T *w, int64_t k, int64_t begin, int64_t end,
                     const Put &put) {
  constexpr int four = MOST_ROWS == 16 ? 4 : 1, two = MOST_ROWS == 16 ? 8 : 2;
  const int64_t block = k * BLOCK;
  v16 sums[16];
  for (int64_t b = begin; b < end;) {
    // A few rows take several blocks at a time; many rows pass over one block, which stays in the nearest cache.
    const int64_t most = rows <= four ? 4 : rows <= two ? 2 : 1, step = most <= end - b ? most : 1;
    for (int64_t row = 0; row < rows; row += MOST_ROWS) {
      const int64_t some = rows - row < MOST_ROWS ? rows - row : MOST_ROWS;
      const Tile<T> tile = step == 4   ? tile_of<four, 4, T>(some)
                           : step == 2 ? tile_of<two, 2, T>(some)
                                       : tile_of<MOST_ROWS, 1, T>(some);
      tile(x + row * ldx, ldx, w + b * block, block, k, sums);
      for (int64_t m = 0; m < some; ++m)
        for (int64_t j = 0; j < step; ++j)
          put(row + m, b + j, sums[m * step + j]);
    }
    b += step;
  }
}

template <typename T> INLINE v16 with_bias(const Matrix<T> &w, int64_t block, v16 x) {
  return w.bias ? x + load(w.bias + block * BLOCK) : x;
}

template <typename T>
void linear(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
            int64_t ldo) {
  products(x, ldx, rows, w.blocks, w.k, begin, end, [&](int64_t row, int64_t block, v16 sum) {
    store_some(out + row * ldo + block * BLOCK, with_bias(w, block, sum), w.n - block * BLOCK);
  });
}

template <typename T>
void linear_add(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                int64_t ldo) {
  products(x, ldx, rows, w.blocks, w.k, begin, end, [&](int64_t row, int64_t block, v16 sum) {
    const int64_t n = w.n - block * BLOCK;
    T *at = out + row * ldo + block * BLOCK;
    store_some(at, load_some(at, n) + rounded<T>(with_bias(w, block, sum)), n);
  });
}

template <typename T>
void linear_wide(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, float *out,
                 int64_t ldo) {
  products(x, ldx, rows, w.blocks, w.k, begin, end, [&](int64_t row, int64_t block, v16 sum) {
    store_some(out + row * ldo + block * BLOCK, with_bias(w, block, sum), w.n - block * BLOCK);
  });
}

template <typename T>
void gated(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
           int64_t ldo) {
  constexpr int64_t most = 256;
  v16 gates[most];
  for (int64_t start = 0; start < rows; start += most) {
    const int64_t some = rows - start < most ? rows - start : most;
    for (int64_t j = begin; j < end; ++j) {
      const T *from = x + start * ldx;
      products(from, ldx, some, w.blocks, w.k, 2 * j, 2 * j + 1, [&](int64_t row, int64_t block, v16 sum) {
        const v16 gate = rounded<T>(with_bias(w, block, sum));
        gates[row] = rounded<T>(gate / (1.0f + exponential(-gate)));
      });
      products(from, ldx, some, w.blocks, w.k, 2 * j + 1, 2 * j + 2, [&](int64_t row, int64_t block, v16 sum) {
        store(out + (start + row) * ldo + j * BLOCK, gates[row] * rounded<T>(with_bias(w, block, sum)));
      });
    }
  }
}

template <typename T> void rms_norm(const T *x, const T *w, T *y, int64_t n, float eps) {
  v16 squares = {};
  for (int64_t i = 0; i < n; i += 16) {
    const v16 some = load_some(x + i, n - i);
    squares += some * some;
  }
  const float scale = 1.0f / __builtin_sqrtf(total(squares) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; i += 16)
    store_some(y + i, rounded<T>(load_some(x + i, n - i) * scale) * load_some(w + i, n - i), n - i);
}

template <typename T>
void rotate(T *x, int64_t heads, int64_t half, const float *cosine, const float *sine) {
  for (int64_t head = 0; head < heads; ++head, x += 2 * half) {
    for (int64_t i = 0; i < half; i += 16) {
      const int64_t n = half - i;
      const v16 a = load_some(x + i, n), b = load_some(x + half + i, n);
      const v16 c = rounded<T>(load_some(cosine + i, n)), s = rounded<T>(load_some(sine + i, n));
      const v16 c2 = rounded<T>(load_some(cosine + half + i, n)), s2 = rounded<T>(load_some(sine + half + i, n));
      store_some(x + i, rounded<T>(a * c) - rounded<T>(b * s), n);
      store_some(x + half + i, rounded<T>(b * c2) + rounded<T>(a * s2), n);
    }
  }
}

template <typename T> void scores(const T *x, int64_t rows, const T *keys, int64_t k, float *out, int64_t lds) {
  products(x, k, rows, keys, k, 0, 1, [&](int64_t row, int64_t, v16 sum) { store(out + row * lds, sum); });
}

void softmax(float *scores, int64_t lds, int64_t rows, int64_t count, float scale, const int64_t *first,
             const int64_t *last, float *highest, float *sums, float *out, int64_t width) {
  const i16x32 lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const v16 never = v16{} - 1e30f;
  for (int64_t row = 0; row < rows; ++row) {
    float *s = scores + row * lds;
    const int32_t from = static_cast<int32_t>(first[row]), to = static_cast<int32_t>(last[row]);
    v16 high = never;
    for (int64_t i = 0; i < count; i += 16) {
      const i16x32 place = lane + static_cast<int32_t>(i);
      const v16 score = ((place >= from) & (place < to)) ? load(s + i) * scale : never;
      store(s + i, score);
      high = score > high ? score : high;
    }
    const float before = highest[row], now = highest_of(high) > before ? highest_of(high) : before;
    if (now != before) {
      const float factor = exponential(v16{} + (before - now))[0];
      float *o = out + row * width;
      for (int64_t i = 0; i < width; i += 16)
        store(o + i, load(o + i) * factor);
      store(sums + row * 16, load(sums + row * 16) * factor);
      highest[row] = now;
    }
    v16 sum = load(sums + row * 16);
    for (int64_t i = 0; i < count; i += 16) {
      const v16 score = load(s + i);
      const v16 weight = score > -1e29f ? exponential(score - now) : v16{};
      store(s + i, weight);
      sum += weight;
    }
    store(sums + row * 16, sum);
  }
}

template <int M, int D, typename T>
INLINE void weigh_tile(const float *weights, int64_t ldw, const T *values, int64_t tokens, int64_t width, float *out) {
  v16 acc[M][D];
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d)
      acc[m][d] = load(out + m * width + d * 16);
  for (int64_t t = 0; t < tokens; ++t) {
    v16 value[D];
#pragma GCC unroll 4
    for (int d = 0; d < D; ++d)
      value[d] = load(values + t * width + d * 16);
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
      store(out + m * width + d * 16, acc[m][d]);
}

template <typename T>
void weigh(const float *weights, int64_t ldw, int64_t rows, const T *values, int64_t tokens, int64_t width,
           float *out) {
  for (int64_t row = 0; row < rows;) {
    const int64_t some = MOST_ROWS == 16 && rows - row >= 4 ? 4 : MOST_ROWS == 16 && rows - row >= 2 ? 2 : 1;
    const float *w = weights + row * ldw;
    float *o = out + row * width;
    for (int64_t d = 0; d < width;) {
      const bool wide = width - d >= 64;
      if (some == 4)
        wide ? weigh_tile<4, 4>(w, ldw, values + d, tokens, width, o + d)
             : weigh_tile<4, 1>(w, ldw, values + d, tokens, width, o + d);
      else if (some == 2)
        wide ? weigh_tile<2, 4>(w, ldw, values + d, tokens, width, o + d)
             : weigh_tile<2, 1>(w, ldw, values + d, tokens, width, o + d);
      else
        wide ? weigh_tile<1, 4>(w, ldw, values + d, tokens, width, o + d)
             : weigh_tile<1, 1>(w, ldw, values + d, tokens, width, o + d);
      d += wide ? 64 : 16;
    }
    row += some;
  }
}

template <typename T> void finish(const float *x, const float *sums, int64_t n, T *y) {
  const float sum = total(load(sums));
  for (int64_t i = 0; i < n; i += 16)
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
          rotate<T>, scores<T>, softmax,       weigh<T>,       finish<T>};
}

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

} // namespace

extern const Kernels TABLE;
const Kernels TABLE = {TEXT(LEVEL), table<float>(), table<bf16>()};

} // namespace herd
