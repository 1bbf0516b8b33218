// The arithmetic of `decoder.cpp`, one table for each level of the instruction set: `decoder_kernels.cpp` is compiled once a
// level.
//
// Every result of a row depends on that row's inputs alone, bit for bit: each sum runs over its terms in one fixed
// order whatever the number of rows computed together.
#pragma once

#include "blocks.h"

namespace herd {

// Packed weights of a matrix [n, k]: for each block of 16 rows of the matrix, float32: [k][16]; bfloat16: [k /
// 2][16][2].
template <typename T> struct Matrix {
  const T *blocks;
  const float *bias; // [n rounded up to blocks], or null
  int64_t n, k;
};

template <typename T> struct KernelsOf {
  // Packs rows [16 block, 16 block + 16) of w [n, k]; rows past n become zeros.
  void (*pack)(const T *w, int64_t n, int64_t k, int64_t block, T *out);
  // out [rows, ldo] = x [rows, ldx] w^T + bias for the columns of blocks [begin, end).
  void (*linear)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                 int64_t ldo);
  // The same, added to what stands in out.
  void (*linear_add)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                     int64_t ldo);
  // The same in float32, not rounded.
  void (*linear_wide)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, float *out,
                      int64_t ldo);
  // out = silu(x gate^T) (x up^T), where blocks 2j of w are gate's and blocks 2j + 1 up's; blocks j in [begin, end).
  void (*gated)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                int64_t ldo);
  // y = x / sqrt(mean(x^2) + eps) * w over n numbers.
  void (*rms_norm)(const T *x, const T *w, T *y, int64_t n, float eps);
  // x cos + rotate_half(x) sin in place, over heads of 2 half numbers; cosine and sine are [2 half].
  void (*rotate)(T *x, int64_t heads, int64_t half, const float *cosine, const float *sine);
  // scores [rows, lds] of `pages` pages of 16 keys: x [rows, k] times each page, [k][16] (or [k / 2][16][2]).
  void (*scores)(const T *x, int64_t rows, const T *const *keys, int64_t pages, int64_t k, float *scores, int64_t lds);
  // One step of softmax in base 2 over `count` (a multiple of 16) scores of each row, of which [first, last) count: scores
  // become weights 2^(scale * score - highest), earlier sums [rows, 16] and outputs [rows, width] are brought to the new highest.
  void (*softmax)(float *scores, int64_t lds, int64_t rows, int64_t count, float scale, const int64_t *first,
                  const int64_t *last, float *highest, float *sums, float *out, int64_t width);
  // Joins what was summed over later keys to what was summed over earlier ones. Of a row that sees no later keys nothing
  // changes.
  void (*join)(float *highest, float *sums, float *out, const float *more_highest, const float *more_sums, const float *more,
               int64_t rows, int64_t width);
  // out [rows, width] += weights [rows, ldw] times values: pages of 16 tokens, [16, width]; width is a multiple of 16.
  void (*weigh)(const float *weights, int64_t ldw, int64_t rows, const T *const *values, int64_t tokens, int64_t width,
                float *out);
  // y [n] = x [width] divided by the sum of sums [16].
  void (*finish)(const float *x, const float *sums, int64_t n, T *y);
};

struct Kernels {
  const char *level;
  KernelsOf<float> f32;
  KernelsOf<bf16> half;
};

extern const Kernels kernels_base;
#if defined(__x86_64__)
extern const Kernels kernels_v3, kernels_v4, kernels_v4_bf16;
#endif

} // namespace herd
