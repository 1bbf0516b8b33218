// Code that all kernels share. NVRTC compiles these files for a GPU. A C++ compiler compiles the same text after
// emulation/emulate.h for a CPU. No CUDA header is needed: bfloat16 is a 16-bit word.

using i64 = long long;
using bf16 = unsigned short;

// Start value of maxima: below every logit and score in practice, and finite, so that differences with it are not NaN.
constexpr float lowest = -3.0e38f;

__device__ inline float wide(float x) { return x; }
__device__ inline float wide(bf16 x) { return __uint_as_float(static_cast<unsigned>(x) << 16); }

// Rounds to nearest, ties to even.
__device__ inline void put(float &out, float x) { out = x; }
__device__ inline void put(bf16 &out, float x) {
#ifdef __CUDA_ARCH__
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out) : "f"(x));
#else
  const unsigned bits = __float_as_uint(x);
  const unsigned nearest_even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  out = static_cast<bf16>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : nearest_even);
#endif
}

// x rounded to type T.
template <typename T> __device__ inline float rounded(float x) {
  T narrow;
  put(narrow, x);
  return wide(narrow);
}

// N consecutive elements, read or written with one access.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack {
  T of[N];
};

template <int N, typename T> __device__ inline Pack<T, N> load(const T *from) {
  return *reinterpret_cast<const Pack<T, N> *>(from);
}
template <int N, typename T> __device__ inline void store(T *to, const Pack<T, N> &pack) {
  *reinterpret_cast<Pack<T, N> *>(to) = pack;
}

// Elements in 16 bytes, the widest access of a thread.
template <typename T> constexpr int widest = 16 / sizeof(T);

__device__ inline bool aligned(const void *address) { return reinterpret_cast<unsigned long long>(address) % 16 == 0; }

// Returns to each thread the sum of x over the threads of its row of the block (the threads with the same threadIdx.y). All
// threads of the block must call it. blockDim.x is a multiple of 32; `scratch` has one float for each warp of the block.
__device__ inline float row_sum(float x, float *scratch) {
  for (int lane = 16; lane > 0; lane /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, lane);
  const int warps = blockDim.x / 32;
  if (warps == 1)
    return x;
  float *mine = scratch + threadIdx.y * warps;
  __syncthreads(); // all threads have read the sums of the previous call
  if (threadIdx.x % 32 == 0)
    mine[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int warp = 0; warp < warps; ++warp)
    sum += mine[warp];
  return sum;
}
