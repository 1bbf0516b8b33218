// The arithmetic of `range_attention.cpp` on blocks that stay in the nearest caches, one table for each level of the instruction
// set: `attention_kernels.cpp` is compiled once a level. All sums are float32.
//
// A matrix is packed in panels of 16 columns: element (i, 16 p + c) at [p * panel + i * step + c].
#pragma once

#include "blocks.h"

namespace herd {

template <typename T> struct AttentionInputs {
  // to [rows][ldt] = factor * from [rows][ldf]: n numbers a row, zeros up to the next multiple of 16.
  void (*widen)(const T *from, int64_t ldf, int64_t rows, int64_t n, float factor, float *to, int64_t ldt);
  // to [rows][ldt] = factor * from [rows][ldf]: n numbers a row.
  void (*narrow)(const float *from, int64_t ldf, int64_t rows, int64_t n, float factor, T *to, int64_t ldt);
  // Panels of from^T, from [rows][ldf] of n numbers: panel r / 16 is [n][16]. Zeros for rows up to a multiple of 16.
  void (*transposed)(const T *from, int64_t ldf, int64_t rows, int64_t n, float *to);
  // Panels of from itself: panel p begins at p * panel, step 16. Zeros for rows and columns up to multiples of 16.
  void (*panels)(const T *from, int64_t ldf, int64_t rows, int64_t n, float *to, int64_t panel);
  // to [rows] = the sum over n numbers of a [rows][lda] b [rows][ldb]
  void (*dots)(const T *a, int64_t lda, const T *b, int64_t ldb, int64_t rows, int64_t n, float *to);
};

struct AttentionKernels {
  // out [rows][ldo] = x w, or added to what stands there: x(r, i) at [r * row + i * column] with i below k, w in `panels`
  // panels.
  void (*product)(const float *x, int64_t row, int64_t column, int64_t rows, const float *w, int64_t panel, int64_t step,
                  int64_t panels, int64_t k, float *out, int64_t ldo, bool add);
  // One step of softmax in base 2 over `count` (a multiple of 16) scores of each row, of which [first, last) count (all where
  // `first` is null): scores become 2^(score - highest), and what was summed before, sums [rows][16] and out [rows][ldo]
  // of `width` numbers, is brought to the new highest.
  void (*softmax)(float *scores, int64_t lds, int64_t rows, int64_t count, const int32_t *first, const int32_t *last,
                  float *highest, float *sums, float *out, int64_t ldo, int64_t width);
  // y [width] = x / the sum of sums [16], which is returned.
  float (*finish)(const float *x, const float *sums, int64_t width, float *y);
  // Backward: scores become weights p = 2^(score - normaliser), and gradients of weights become those of scores, p (gradient
  // - delta). Outside [first, last) both are 0.
  void (*differentiate)(float *scores, float *gradients, int64_t lds, int64_t rows, int64_t count, const int32_t *first,
                        const int32_t *last, const float *normaliser, const float *delta);
  AttentionInputs<float> f32;
  AttentionInputs<bf16> half;
};

extern const AttentionKernels attention_base;
#if defined(__x86_64__)
extern const AttentionKernels attention_v3, attention_v4, attention_v4_bf16;
#endif

} // namespace herd
