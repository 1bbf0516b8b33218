// The arithmetic of `range_attention.cpp` on blocks that stay in the caches. `attention_kernels.cpp` is compiled once for each
// instruction-set level, and each level has one table of functions. All sums are float32.
//
// A matrix is packed in panels of 16 columns: element (i, 16 p + c) is at [p * panel + i * step + c].
#pragma once

#include "blocks.h"

namespace herd {

template <typename T> struct AttentionInputs {
  // to [rows][ldt] = factor * from [rows][ldf]: n numbers per row, then zeros up to the next multiple of 16.
  void (*widen)(const T *from, int64_t ldf, int64_t rows, int64_t n, float factor, float *to, int64_t ldt);
  // to [rows][ldt] = factor * from [rows][ldf]: n numbers per row.
  void (*narrow)(const float *from, int64_t ldf, int64_t rows, int64_t n, float factor, T *to, int64_t ldt);
  // Packs from^T, for from [rows][ldf] with n numbers per row: panel r / 16 is [n][16]. Missing rows of the last panel are 0.
  void (*transposed)(const T *from, int64_t ldf, int64_t rows, int64_t n, float *to);
  // Packs from itself: panel p begins at p * panel, with step 16. Rows and columns up to the next multiples of 16 are 0.
  void (*panels)(const T *from, int64_t ldf, int64_t rows, int64_t n, float *to, int64_t panel);
  // Dot products of rows: to[r] = sum over i < n of a[r * lda + i] * b[r * ldb + i].
  void (*dots)(const T *a, int64_t lda, const T *b, int64_t ldb, int64_t rows, int64_t n, float *to);
};

// Products of bfloat16 tiles, for levels that have them. Scores stand across: [keys][rows], so that the steps of a softmax work on
// registers of 16 rows. `first`, `last`, `highest` and the other arrays have one number per row; `rows` is a multiple of 16.
//
// A matrix is packed in pairs: element (i, 16 p + c) is at [p * panel + (i / 2) * 32 + 2 c + i % 2].
struct AttentionTiles {
  // out [rows][ldo] = a w, or out += a w if `add`: a is [rows][lda] with k numbers per row, w packed in pairs. k is a multiple of 32.
  void (*product)(const bf16 *a, int64_t lda, int64_t rows, const bf16 *w, int64_t panel, int64_t panels, int64_t k, float *out,
                  int64_t ldo, bool add);
  // One step of the online softmax in base 2 over `keys` (even) scores times `factor`: AttentionKernels::softmax for scores that
  // stand across. The weights become bfloat16, in pairs. `out` is [width][ldo].
  void (*softmax)(const float *scores, int64_t lds, int64_t keys, int64_t rows, const int32_t *first, const int32_t *last,
                  float factor, float *highest, float *sums, float *out, int64_t ldo, int64_t width, bf16 *weights,
                  int64_t panel);
  // AttentionKernels::differentiate for scores (times `factor`) and gradients that stand across, [keys][lds]; keys are even. Writes
  // weights [keys][ldw] and gradients of the scores, [keys][ldw] and in pairs. `start` is the key to which first and last count.
  void (*differentiate)(const float *scores, const float *gradients, int64_t lds, int64_t start, int64_t keys, int64_t rows,
                        const int32_t *first, const int32_t *last, float factor, const float *normaliser, const float *delta,
                        bf16 *weights, bf16 *slopes, int64_t ldw, bf16 *pairs, int64_t panel);
  // Packs from [rows][ldf] in pairs; rows are even, n is a multiple of 16.
  void (*pairs)(const bf16 *from, int64_t ldf, int64_t rows, int64_t n, bf16 *to, int64_t panel);
  // to [n][ldt] = from^T, for from [rows][ldf]; rows are a multiple of 16, n is one of 32.
  void (*across)(const bf16 *from, int64_t ldf, int64_t rows, int64_t n, bf16 *to, int64_t ldt);
  // to [rows][ldt] += factor * from, n numbers per row: number 16 p + c of a row is at [p * panel + row * 16 + c] of from.
  void (*add)(const float *from, int64_t panel, float factor, int64_t rows, int64_t n, float *to, int64_t ldt);
};

struct AttentionKernels {
  // out [rows][ldo] = x w, or out += x w if `add`. x(r, i) is at [r * row + i * column] with i below k; w has `panels` panels.
  void (*product)(const float *x, int64_t row, int64_t column, int64_t rows, const float *w, int64_t panel, int64_t step,
                  int64_t panels, int64_t k, float *out, int64_t ldo, bool add);
  // One step of the online softmax in base 2 over `count` (a multiple of 16) scores of each row. Only scores [first, last) count
  // (all if `first` is null). Scores become weights 2^(score - highest), 0 where they do not count; the earlier sums [rows][16]
  // and outputs [rows][ldo] of `width` numbers are rescaled to the new maximum `highest`.
  void (*softmax)(float *scores, int64_t lds, int64_t rows, int64_t count, const int32_t *first, const int32_t *last,
                  float *highest, float *sums, float *out, int64_t ldo, int64_t width);
  // y [width] = x / s, where s is the sum of sums [16]. Returns s; y is 0 if s is 0.
  float (*finish)(const float *x, const float *sums, int64_t width, float *y);
  // Backward pass: scores become weights p = 2^(score - normaliser), and the gradients of the weights become the gradients of the
  // scores, p (gradient - delta). Outside of [first, last) both become 0.
  void (*differentiate)(float *scores, float *gradients, int64_t lds, int64_t rows, int64_t count, const int32_t *first,
                        const int32_t *last, const float *normaliser, const float *delta);
  AttentionInputs<float> f32;
  AttentionInputs<bf16> half;
  const AttentionTiles *tiles; // null if the level has none
};

extern const AttentionKernels attention_base;
#if defined(__x86_64__)
extern const AttentionKernels attention_v3, attention_v4, attention_v4_bf16, attention_v4_amx;
#endif

} // namespace herd
