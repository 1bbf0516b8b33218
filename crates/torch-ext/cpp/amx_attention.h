// AttentionTiles by AMX (amx_products.h). Included where the level has AMX.
#pragma once

#include "amx_products.h"
#include "attention_kernels.h"
#include "softmax.h"

namespace herd {
namespace {

// One or two tiles of rows by `panels` panels.
template <int HIGH, bool ADD>
INLINE void row_of_tiles(const bf16 *a, int64_t lda, const bf16 *w, int64_t panel, int64_t panels, int64_t k, float *out,
                         int64_t ldo) {
  int64_t p = 0;
  for (; p + 2 <= panels; p += 2)
    tiles<HIGH, 2, ADD>(a, lda, {w + p * panel, w + (p + 1) * panel}, k, out + p * BLOCK, ldo);
  if (p < panels)
    tiles<HIGH, 1, ADD>(a, lda, {w + p * panel}, k, out + p * BLOCK, ldo);
}

template <bool ADD>
INLINE void all_tiles(const bf16 *a, int64_t lda, int64_t rows, const bf16 *w, int64_t panel, int64_t panels, int64_t k, float *out,
                      int64_t ldo) {
  int64_t row = 0;
  for (; row + 2 * TILE <= rows; row += 2 * TILE)
    row_of_tiles<2, ADD>(a + row * lda, lda, w, panel, panels, k, out + row * ldo, ldo);
  if (row < rows)
    row_of_tiles<1, ADD>(a + row * lda, lda, w, panel, panels, k, out + row * ldo, ldo);
}

void tile_product(const bf16 *a, int64_t lda, int64_t rows, const bf16 *w, int64_t panel, int64_t panels, int64_t k, float *out,
                  int64_t ldo, bool add) {
  shape(2 * TILE);
  if (add)
    all_tiles<true>(a, lda, rows, w, panel, panels, k, out, ldo);
  else
    all_tiles<false>(a, lda, rows, w, panel, panels, k, out, ldo);
  _tile_release();
}

INLINE i32 integers(const int32_t *p) { return (i32)_mm512_loadu_si512(p); }

// Whether all of 16 rows attend to the keys [start, start + keys).
INLINE bool all_count(const int32_t *first, const int32_t *last, int64_t start, int64_t keys) {
  for (int r = 0; r < LANES; ++r)
    if (first[r] > start || last[r] < start + keys)
      return false;
  return true;
}

// Two registers as bfloat16: x in the lower half, y in the upper half.
INLINE __m512i narrowed(vec x, vec y) { return (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x); }
INLINE void store_lower(bf16 *p, __m512i x) { _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), _mm512_castsi512_si256(x)); }
INLINE void store_upper(bf16 *p, __m512i x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i *>(p), _mm512_extracti64x4_epi64(x, 1));
}
// Stores number i of the lower and of the upper half beside each other.
INLINE void store_pairs(bf16 *p, __m512i x) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(x));
  const __m512i high = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1)), 16);
  _mm512_storeu_si512(p, _mm512_or_si512(low, high));
}

template <bool MASKED> INLINE vec counted(vec x, vec otherwise, int64_t key, i32 first, i32 last) {
  if constexpr (MASKED) {
    const i32 place = i32{} + static_cast<int32_t>(key), seen = (place >= first) & (place < last);
    return seen ? x : otherwise;
  }
  return x;
}

template <bool MASKED>
INLINE void softmax_panel(const float *scores, int64_t lds, int64_t keys, i32 first, i32 last, float factor, float *highest,
                          float *sums, float *out, int64_t ldo, int64_t width, bf16 *weights) {
  vec high[4];
  for (vec &some : high)
    some = vec{} + NEVER;
  for (int64_t key = 0; key < keys; key += 2)
    for (int64_t i = 0; i < 2; ++i) {
      const vec score = counted<MASKED>(load(scores + (key + i) * lds) * factor, vec{} + NEVER, key + i, first, last);
      vec &some = high[(key + i) % 4];
      some = score > some ? score : some;
    }
  high[0] = high[1] > high[0] ? high[1] : high[0];
  high[2] = high[3] > high[2] ? high[3] : high[2];
  const vec before = load(highest);
  vec now = high[2] > high[0] ? high[2] : high[0];
  now = now > before ? now : before;
  vec sum = load(sums);
  if (_mm512_cmp_ps_mask((__m512)now, (__m512)before, _CMP_NEQ_UQ)) {
    const vec rescale = power_of_two(before - now);
    for (int64_t i = 0; i < width; ++i)
      store(out + i * ldo, load(out + i * ldo) * rescale);
    sum *= rescale;
    store(highest, now);
  }
  vec more[2] = {};
  for (int64_t key = 0; key < keys; key += 2) {
    vec weight[2];
    for (int64_t i = 0; i < 2; ++i) {
      weight[i] = power_of_two(load(scores + (key + i) * lds) * factor - now);
      weight[i] = counted<MASKED>(weight[i], vec{}, key + i, first, last);
      more[i] += weight[i];
    }
    store_pairs(weights + key * BLOCK, narrowed(weight[0], weight[1]));
  }
  store(sums, sum + (more[0] + more[1]));
}

void tile_softmax(const float *scores, int64_t lds, int64_t keys, int64_t rows, const int32_t *first, const int32_t *last,
                  float factor, float *highest, float *sums, float *out, int64_t ldo, int64_t width, bf16 *weights,
                  int64_t panel) {
  for (int64_t row = 0; row < rows; row += BLOCK, weights += panel) {
    const i32 from = integers(first + row), to = integers(last + row);
    if (all_count(first + row, last + row, 0, keys))
      softmax_panel<false>(scores + row, lds, keys, from, to, factor, highest + row, sums + row, out + row, ldo, width, weights);
    else
      softmax_panel<true>(scores + row, lds, keys, from, to, factor, highest + row, sums + row, out + row, ldo, width, weights);
  }
}

template <bool MASKED>
INLINE void differentiate_panel(const float *scores, const float *gradients, int64_t lds, int64_t start, int64_t keys, i32 first,
                                i32 last, float factor, vec normaliser, vec delta, bf16 *weights, bf16 *slopes, int64_t ldw,
                                bf16 *pairs) {
  for (int64_t key = 0; key < keys; key += 2) {
    vec weight[2], slope[2];
    for (int64_t i = 0; i < 2; ++i) {
      weight[i] = power_of_two(load(scores + (key + i) * lds) * factor - normaliser);
      slope[i] = weight[i] * (load(gradients + (key + i) * lds) - delta);
      weight[i] = counted<MASKED>(weight[i], vec{}, start + key + i, first, last);
      slope[i] = counted<MASKED>(slope[i], vec{}, start + key + i, first, last);
    }
    const __m512i both = narrowed(weight[0], weight[1]), slant = narrowed(slope[0], slope[1]);
    store_lower(weights + key * ldw, both);
    store_upper(weights + (key + 1) * ldw, both);
    store_lower(slopes + key * ldw, slant);
    store_upper(slopes + (key + 1) * ldw, slant);
    store_pairs(pairs + key * BLOCK, slant);
  }
}

void tile_differentiate(const float *scores, const float *gradients, int64_t lds, int64_t start, int64_t keys, int64_t rows,
                        const int32_t *first, const int32_t *last, float factor, const float *normaliser, const float *delta,
                        bf16 *weights, bf16 *slopes, int64_t ldw, bf16 *pairs, int64_t panel) {
  for (int64_t row = 0; row < rows; row += BLOCK, pairs += panel) {
    const i32 from = integers(first + row), to = integers(last + row);
    const vec norm = load(normaliser + row), shift = load(delta + row);
    if (all_count(first + row, last + row, start, keys))
      differentiate_panel<false>(scores + row, gradients + row, lds, start, keys, from, to, factor, norm, shift, weights + row,
                                 slopes + row, ldw, pairs);
    else
      differentiate_panel<true>(scores + row, gradients + row, lds, start, keys, from, to, factor, norm, shift, weights + row,
                                slopes + row, ldw, pairs);
  }
}

void tile_pairs(const bf16 *from, int64_t ldf, int64_t rows, int64_t n, bf16 *to, int64_t panel) {
  for (int64_t row = 0; row < rows; row += 2)
    for (int64_t i = 0; i < n; i += BLOCK) {
      const auto at = [&](int64_t r) { return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from + r * ldf + i)); };
      store_pairs(to + i / BLOCK * panel + row * BLOCK, _mm512_inserti64x4(_mm512_castsi256_si512(at(row)), at(row + 1), 1));
    }
}

void tile_across(const bf16 *from, int64_t ldf, int64_t rows, int64_t n, bf16 *to, int64_t ldt) {
  float pairs[BLOCK * BLOCK];
  for (int64_t row = 0; row < rows; row += BLOCK)
    for (int64_t i = 0; i < n; i += 2 * BLOCK) {
      transposed(reinterpret_cast<const float *>(from + row * ldf + i), ldf / 2, BLOCK, BLOCK, pairs);
      for (int64_t j = 0; j < BLOCK; ++j) {
        const __m512i both = _mm512_loadu_si512(pairs + j * BLOCK);
        bf16 *place = to + (i + 2 * j) * ldt + row;
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(place), _mm512_cvtepi32_epi16(both));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(place + ldt), _mm512_cvtepi32_epi16(_mm512_srli_epi32(both, 16)));
      }
    }
}

void tile_add(const float *from, int64_t panel, float factor, int64_t rows, int64_t n, float *to, int64_t ldt) {
  for (int64_t row = 0; row < rows; ++row, from += BLOCK, to += ldt)
    for (int64_t i = 0; i < n; i += LANES)
      store_some(to + i, load_some(to + i, n - i) + load(from + i / BLOCK * panel) * factor, n - i);
}

constexpr AttentionTiles TILES = {tile_product, tile_softmax, tile_differentiate, tile_pairs, tile_across, tile_add};

} // namespace
} // namespace herd
