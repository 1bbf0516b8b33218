// SIMD vectors for the kernel files: loads and stores of float32 and bfloat16, and e^x, for the instruction-set level that the file
// is compiled for. Each level needs its own copies, so everything is inline and in an unnamed namespace. Of the standard library
// only integer types are included: an inline library function that is compiled here for a new CPU could be the one copy that the
// linker keeps for the whole program.
#pragma once

#include "blocks.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define INLINE static inline __attribute__((always_inline))

namespace herd {
namespace {

// LANES: floats in a SIMD register. MOST_ROWS: rows computed together, limited by the number of registers. GCC accepts vectors
// wider than a register, but moves them through memory in pieces, which is eight times slower.
#if defined(__AVX512F__)
constexpr int LANES = 16, MOST_ROWS = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8, MOST_ROWS = 6;
#else
constexpr int LANES = 4, MOST_ROWS = 2;
#endif
// Registers for the 16 columns of a block.
constexpr int PARTS = BLOCK / LANES;

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t u32 __attribute__((vector_size(4 * LANES)));
typedef int32_t i32 __attribute__((vector_size(4 * LANES)));
typedef uint16_t u16 __attribute__((vector_size(2 * LANES)));
typedef float unaligned_vec __attribute__((vector_size(4 * LANES), aligned(4)));
typedef uint32_t unaligned_u32 __attribute__((vector_size(4 * LANES), aligned(2)));
typedef uint16_t unaligned_u16 __attribute__((vector_size(2 * LANES), aligned(2)));

INLINE vec load(const float *p) { return *reinterpret_cast<const unaligned_vec *>(p); }
INLINE vec load(const bf16 *p) {
  return (vec)(__builtin_convertvector(*reinterpret_cast<const unaligned_u16 *>(p), u32) << 16);
}
INLINE void store(float *p, vec x) { *reinterpret_cast<unaligned_vec *>(p) = x; }

// The bits of x as bfloat16, rounded to nearest even; NaN stays NaN.
INLINE u32 narrow_bits(vec x) {
  const u32 bits = (u32)x;
  const u32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const u32 nan = (u32)((bits & 0x7fffffff) > 0x7f800000);
  return (rounded & ~nan) | (nan & 0x7fc0);
}
INLINE void store(bf16 *p, vec x) { *reinterpret_cast<unaligned_u16 *>(p) = __builtin_convertvector(narrow_bits(x), u16); }

// x rounded to type T.
template <typename T> INLINE vec rounded(vec x) {
  if constexpr (sizeof(T) == sizeof(float))
    return x;
  else
    return (vec)(narrow_bits(x) << 16);
}

// Loads n numbers (at most LANES); the other lanes are 0.
template <typename T> INLINE vec load_some(const T *p, int64_t n) {
  if (n >= LANES)
    return load(p);
  T some[LANES] = {};
  for (int64_t i = 0; i < n; ++i)
    some[i] = p[i];
  return load(some);
}
template <typename T> INLINE void store_some(T *p, vec x, int64_t n) {
  if (n >= LANES) {
    store(p, x);
    return;
  }
  T some[LANES];
  store(some, x);
  for (int64_t i = 0; i < n; ++i)
    p[i] = some[i];
}

INLINE float total(vec x) {
  float sum[LANES];
  store(sum, x);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i)
      sum[i] += sum[i + half];
  return sum[0];
}
INLINE float highest_of(vec x) {
  float high = x[0];
  for (int i = 1; i < LANES; ++i)
    high = x[i] > high ? x[i] : high;
  return high;
}

// e^x to 2 units in the last place (the polynomial of Cephes' expf). x is clamped to [-87, 88].
INLINE vec exponential(vec x) {
  x = x < -87.0f ? vec{} - 87.0f : x;
  x = x > 88.0f ? vec{} + 88.0f : x;
  const vec scaled = x * 1.44269504f;
  const i32 n = __builtin_convertvector(scaled + (x >= 0.0f ? vec{} + 0.5f : vec{} - 0.5f), i32);
  const vec k = __builtin_convertvector(n, vec);
  const vec r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * (vec)((n + 127) << 23);
}

} // namespace
} // namespace herd
