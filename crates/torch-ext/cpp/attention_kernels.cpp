// See attention_kernels.h. Compiled once for each instruction-set level; the macro LEVEL is the name of the level.

#include "attention_kernels.h"
#include "softmax.h"
#include "wide_products.h"

#define TABLE JOIN(attention_, LEVEL)

namespace herd {
namespace {

void product(const float *x, int64_t row, int64_t column, int64_t rows, const float *w, int64_t panel, int64_t step,
             int64_t panels, int64_t k, float *out, int64_t ldo, bool add) {
  for (int64_t p = 0; p < panels; ++p)
    wide_panel(x, row, column, rows, w + p * panel, step, k, out + p * BLOCK, ldo, add);
}

void softmax(float *scores, int64_t lds, int64_t rows, int64_t count, const int32_t *first, const int32_t *last,
             float *highest, float *sums, float *out, int64_t ldo, int64_t width) {
  for (int64_t row = 0; row < rows; ++row) {
    float *s = scores + row * lds, *sum = sums + row * BLOCK, *o = out + row * ldo;
    if (!first || (first[row] <= 0 && last[row] >= count))
      softmax_row<false>(s, count, 0, 0, 1.0f, highest[row], sum, o, width);
    else
      softmax_row<true>(s, count, first[row], last[row], 1.0f, highest[row], sum, o, width);
  }
}

float finish(const float *x, const float *sums, int64_t width, float *y) {
  vec some = load(sums);
  for (int64_t i = LANES; i < BLOCK; i += LANES)
    some += load(sums + i);
  const float sum = total(some), factor = sum > 0 ? 1.0f / sum : sum;
  for (int64_t i = 0; i < width; i += LANES)
    store(y + i, load(x + i) * factor);
  return sum;
}

template <bool MASKED>
INLINE void differentiate_row(float *s, float *g, int64_t count, int32_t first, int32_t last, float normaliser, float delta) {
  const i32 lane = lanes();
  for (int64_t i = 0; i < count; i += LANES) {
    vec weight = power_of_two(load(s + i) - normaliser);
    vec gradient = weight * (load(g + i) - delta);
    if constexpr (MASKED) {
      const i32 place = lane + static_cast<int32_t>(i), seen = (place >= first) & (place < last);
      weight = seen ? weight : vec{};
      gradient = seen ? gradient : vec{};
    }
    store(s + i, weight);
    store(g + i, gradient);
  }
}

void differentiate(float *scores, float *gradients, int64_t lds, int64_t rows, int64_t count, const int32_t *first,
                   const int32_t *last, const float *normaliser, const float *delta) {
  for (int64_t row = 0; row < rows; ++row) {
    float *s = scores + row * lds, *g = gradients + row * lds;
    if (!first || (first[row] <= 0 && last[row] >= count))
      differentiate_row<false>(s, g, count, 0, 0, normaliser[row], delta[row]);
    else
      differentiate_row<true>(s, g, count, first[row], last[row], normaliser[row], delta[row]);
  }
}

template <typename T>
void widen(const T *from, int64_t ldf, int64_t rows, int64_t n, float factor, float *to, int64_t ldt) {
  for (int64_t row = 0; row < rows; ++row, from += ldf, to += ldt) {
    for (int64_t i = 0; i < n; i += LANES)
      store(to + i, load_some(from + i, n - i) * factor);
    for (int64_t i = (n + LANES - 1) / LANES * LANES; i < (n + BLOCK - 1) / BLOCK * BLOCK; i += LANES)
      store(to + i, vec{});
  }
}

template <typename T>
void narrow(const float *from, int64_t ldf, int64_t rows, int64_t n, float factor, T *to, int64_t ldt) {
  for (int64_t row = 0; row < rows; ++row, from += ldf, to += ldt)
    for (int64_t i = 0; i < n; i += LANES)
      store_some(to + i, load(from + i) * factor, n - i);
}

INLINE float one(float x) { return x; }
INLINE float one(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x) << 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}

#if defined(__AVX2__)
INLINE __m256 eight(const float *p) { return _mm256_loadu_ps(p); }
INLINE __m256 eight(const bf16 *p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p)));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

// Transposes 8 numbers of each of 8 rows `ldf` apart: to[i * BLOCK + row].
template <typename T> INLINE void transpose_eight(const T *from, int64_t ldf, float *to) {
  __m256 row[8], pair[8], four[8];
#pragma GCC unroll 8
  for (int r = 0; r < 8; ++r)
    row[r] = eight(from + r * ldf);
#pragma GCC unroll 4
  for (int r = 0; r < 8; r += 2) {
    pair[r] = _mm256_unpacklo_ps(row[r], row[r + 1]);
    pair[r + 1] = _mm256_unpackhi_ps(row[r], row[r + 1]);
  }
#pragma GCC unroll 2
  for (int r = 0; r < 8; r += 4)
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      four[r + 2 * h] = _mm256_shuffle_ps(pair[r + h], pair[r + 2 + h], 0x44);
      four[r + 2 * h + 1] = _mm256_shuffle_ps(pair[r + h], pair[r + 2 + h], 0xee);
    }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(to + i * BLOCK, _mm256_permute2f128_ps(four[i], four[4 + i], 0x20));
    _mm256_storeu_ps(to + (4 + i) * BLOCK, _mm256_permute2f128_ps(four[i], four[4 + i], 0x31));
  }
}
#endif

template <typename T> void transposed(const T *from, int64_t ldf, int64_t rows, int64_t n, float *to) {
  for (int64_t start = 0; start < rows; start += BLOCK, to += n * BLOCK) {
    int64_t done = 0;
#if defined(__AVX2__)
    for (; start + BLOCK <= rows && done + 8 <= n; done += 8)
      for (int64_t j = 0; j < BLOCK; j += 8)
        transpose_eight(from + (start + j) * ldf + done, ldf, to + done * BLOCK + j);
#endif
    for (int64_t j = 0; j < BLOCK; ++j) {
      const T *row = from + (start + j) * ldf;
      for (int64_t i = done; i < n; ++i)
        to[i * BLOCK + j] = start + j < rows ? one(row[i]) : 0;
    }
  }
}

template <typename T> void panels(const T *from, int64_t ldf, int64_t rows, int64_t n, float *to, int64_t panel) {
  const int64_t all = (rows + BLOCK - 1) / BLOCK * BLOCK;
  for (int64_t row = 0; row < all; ++row)
    for (int64_t i = 0; i < n; i += BLOCK)
      for (int64_t c = 0; c < BLOCK; c += LANES) {
        const int64_t left = row < rows ? n - i - c : 0;
        store(to + i / BLOCK * panel + row * BLOCK + c, left > 0 ? load_some(from + row * ldf + i + c, left) : vec{});
      }
}

template <typename T> void dots(const T *a, int64_t lda, const T *b, int64_t ldb, int64_t rows, int64_t n, float *to) {
  for (int64_t row = 0; row < rows; ++row, a += lda, b += ldb) {
    vec sum = {};
    for (int64_t i = 0; i < n; i += LANES)
      sum += load_some(a + i, n - i) * load_some(b + i, n - i);
    to[row] = total(sum);
  }
}

template <typename T> constexpr AttentionInputs<T> inputs() {
  return {widen<T>, narrow<T>, transposed<T>, panels<T>, dots<T>};
}

} // namespace
} // namespace herd

#if defined(__AMX_BF16__)
#include "amx_attention.h"
#endif

namespace herd {
namespace {

#if defined(__AMX_BF16__)
constexpr const AttentionTiles *OWN_TILES = &TILES;
#else
constexpr const AttentionTiles *OWN_TILES = nullptr;
#endif

} // namespace

extern const AttentionKernels TABLE;
const AttentionKernels TABLE = {product, softmax, finish, differentiate, inputs<float>(), inputs<bf16>(), OWN_TILES};

} // namespace herd
