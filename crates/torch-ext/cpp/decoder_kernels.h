// The arithmetic of `decoder.cpp`. `decoder_kernels.cpp` is compiled once for each instruction-set level, and each level has one
// table of functions.
//
// The bits of a row's results depend only on the inputs of this row: each sum adds its terms in one fixed order, however many rows
// are computed together.
#pragma once

#include "blocks.h"

namespace herd {

// Packed weights of a matrix [n, k] in blocks of 16 rows. A block is [k][16] in float32, [k / 2][16][2] in bfloat16.
template <typename T> struct Matrix {
  const T *blocks;
  const float *bias; // [n rounded up to a multiple of 16], or null
  int64_t n, k;
};

template <typename T> struct KernelsOf {
  // Packs rows [16 block, 16 block + 16) of w [n, k]; rows from n on become 0.
  void (*pack)(const T *w, int64_t n, int64_t k, int64_t block, T *out);
  // out [rows, ldo] = x [rows, ldx] w^T + bias, for the columns of blocks [begin, end).
  void (*linear)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                 int64_t ldo);
  // out += x w^T + bias (the residual connection).
  void (*linear_add)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                     int64_t ldo);
  // linear with a float32 result, which is not rounded to T.
  void (*linear_wide)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, float *out,
                      int64_t ldo);
  // SwiGLU: out = silu(x gate^T) (x up^T) for the blocks j in [begin, end) of out. Blocks 2j of w are those of gate, blocks 2j + 1
  // those of up.
  void (*gated)(const T *x, int64_t ldx, int64_t rows, const Matrix<T> &w, int64_t begin, int64_t end, T *out,
                int64_t ldo);
  // RMSNorm of n numbers: y = x / sqrt(mean(x^2) + eps) * w.
  void (*rms_norm)(const T *x, const T *w, T *y, int64_t n, float eps);
  // Rotary embedding in place: x cos + rotate_half(x) sin, for heads of 2 half numbers; cosine and sine are [2 half].
  void (*rotate)(T *x, int64_t heads, int64_t half, const float *cosine, const float *sine);
  // Attention scores [rows, lds]: queries x [rows, k] times `pages` pages of 16 keys each, [k][16] (bfloat16: [k / 2][16][2]).
  void (*scores)(const T *x, int64_t rows, const T *const *keys, int64_t pages, int64_t k, float *scores, int64_t lds);
  // One step of the online softmax in base 2 over `count` (a multiple of 16) scores of each row. Only scores [first, last) count.
  // Scores become weights 2^(scale * score - highest), 0 where they do not count; the earlier sums [rows, 16] and outputs
  // [rows, width] are rescaled to the new maximum `highest`.
  void (*softmax)(float *scores, int64_t lds, int64_t rows, int64_t count, float scale, const int64_t *first,
                  const int64_t *last, float *highest, float *sums, float *out, int64_t width);
  // Joins the softmax state (maximum, sums, outputs) over later keys to the state over earlier keys. A row that attends to no
  // later keys does not change.
  void (*join)(float *highest, float *sums, float *out, const float *more_highest, const float *more_sums, const float *more,
               int64_t rows, int64_t width);
  // out [rows, width] += weights [rows, ldw] times the values of `tokens` tokens, in pages [16, width]; width is a multiple of 16.
  void (*weigh)(const float *weights, int64_t ldw, int64_t rows, const T *const *values, int64_t tokens, int64_t width,
                float *out);
  // y [n] = the first n numbers of x, divided by the softmax denominator (the sum of sums [16]).
  void (*finish)(const float *x, const float *sums, int64_t n, T *y);
};

struct Kernels {
  const char *level;
  KernelsOf<float> f32;
  KernelsOf<bf16> half;
};

extern const Kernels kernels_base;
#if defined(__x86_64__)
extern const Kernels kernels_v3, kernels_v4, kernels_v4_bf16, kernels_v4_amx;
#endif

} // namespace herd
