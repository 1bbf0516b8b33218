// SwiGLU's gate, y = silu(a) * b with silu(a) = a / (1 + e^-a), element by element; silu(a) is rounded to T before the product.

template <typename T> __device__ inline void gate_one(T a, T b, T &y) {
  const float x = wide(a);
  put(y, rounded<T>(x / (1.0f + expf(-x))) * wide(b));
}

template <typename T> __device__ inline void gate_one_backward(T g, T a, T b, T &ga, T &gb) {
  const float x = wide(a), grad = wide(g);
  const float sigmoid = 1.0f / (1.0f + expf(-x));
  put(gb, grad * x * sigmoid);
  put(ga, grad * wide(b) * sigmoid * (1.0f + x * (1.0f - sigmoid)));
}

template <typename T> __device__ inline void gate(const T *a, const T *b, T *y, i64 n) {
  constexpr int N = widest<T>;
  const i64 first = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
  const i64 step = static_cast<i64>(gridDim.x) * blockDim.x;
  const i64 packs = aligned(a) && aligned(b) && aligned(y) ? n / N : 0;
  for (i64 i = first; i < packs; i += step) {
    const auto as = load<N>(a + i * N), bs = load<N>(b + i * N);
    Pack<T, N> out;
    for (int j = 0; j < N; ++j)
      gate_one(as.of[j], bs.of[j], out.of[j]);
    store(y + i * N, out);
  }
  for (i64 i = packs * N + first; i < n; i += step)
    gate_one(a[i], b[i], y[i]);
}

template <typename T> __device__ inline void gate_backward(const T *g, const T *a, const T *b, T *ga, T *gb, i64 n) {
  constexpr int N = widest<T>;
  const i64 first = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x;
  const i64 step = static_cast<i64>(gridDim.x) * blockDim.x;
  const i64 packs = aligned(g) && aligned(a) && aligned(b) && aligned(ga) && aligned(gb) ? n / N : 0;
  for (i64 i = first; i < packs; i += step) {
    const auto gs = load<N>(g + i * N), as = load<N>(a + i * N), bs = load<N>(b + i * N);
    Pack<T, N> out_a, out_b;
    for (int j = 0; j < N; ++j)
      gate_one_backward(gs.of[j], as.of[j], bs.of[j], out_a.of[j], out_b.of[j]);
    store(ga + i * N, out_a);
    store(gb + i * N, out_b);
  }
  for (i64 i = packs * N + first; i < n; i += step)
    gate_one_backward(g[i], a[i], b[i], ga[i], gb[i]);
}

#define KERNELS(T, NAME)                                                                                               \
  extern "C" __global__ void silu_gate_##NAME(const T *a, const T *b, T *y, i64 n) { gate(a, b, y, n); }               \
  extern "C" __global__ void silu_gate_backward_##NAME(const T *g, const T *a, const T *b, T *ga, T *gb, i64 n) {      \
    gate_backward(g, a, b, ga, gb, n);                                                                                 \
  }
KERNELS(float, f32)
KERNELS(bf16, bf16)
#undef KERNELS
