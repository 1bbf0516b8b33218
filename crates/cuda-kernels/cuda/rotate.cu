// Rotary embedding, y = x cos + rotate_half(x) sin, of x [tokens, heads, 2 half] with cos and sin [tokens, 2 half]. Both products
// are rounded to T. A block computes one token at a time. If `back`, x is the gradient of y, and y becomes the gradient of x.

template <typename T, int N, bool back>
__device__ inline void rotate_tokens(const T *x, const T *cosine, const T *sine, T *y, i64 tokens, i64 heads, i64 half) {
  const int across = static_cast<int>(half) / N, count = static_cast<int>(heads) * across;
  for (i64 token = blockIdx.x; token < tokens; token += gridDim.x) {
    const T *c = cosine + token * 2 * half, *s = sine + token * 2 * half;
    for (int at = threadIdx.x; at < count; at += blockDim.x) {
      const int head = at / across, i = at % across * N;
      const i64 place = (token * heads + head) * 2 * half + i;
      const auto low = load<N>(x + place), high = load<N>(x + place + half);
      const auto c_low = load<N>(c + i), c_high = load<N>(c + half + i);
      const auto s_low = load<N>(s + i), s_high = load<N>(s + half + i);
      Pack<T, N> out_low, out_high;
      for (int j = 0; j < N; ++j) {
        const float a = wide(low.of[j]), b = wide(high.of[j]);
        if (back) {
          put(out_low.of[j], a * wide(c_low.of[j]) + b * wide(s_high.of[j]));
          put(out_high.of[j], b * wide(c_high.of[j]) - a * wide(s_low.of[j]));
        } else {
          put(out_low.of[j], rounded<T>(a * wide(c_low.of[j])) - rounded<T>(b * wide(s_low.of[j])));
          put(out_high.of[j], rounded<T>(b * wide(c_high.of[j])) + rounded<T>(a * wide(s_high.of[j])));
        }
      }
      store(y + place, out_low);
      store(y + place + half, out_high);
    }
  }
}

template <typename T, bool back>
__device__ inline void rotate(const T *x, const T *c, const T *s, T *y, i64 tokens, i64 heads, i64 half) {
  if (half % widest<T> == 0 && aligned(x) && aligned(c) && aligned(s) && aligned(y))
    rotate_tokens<T, widest<T>, back>(x, c, s, y, tokens, heads, half);
  else
    rotate_tokens<T, 1, back>(x, c, s, y, tokens, heads, half);
}

#define KERNELS(T, NAME)                                                                                               \
  extern "C" __global__ void rotate_##NAME(const T *x, const T *c, const T *s, T *y, i64 tokens, i64 heads,            \
                                           i64 half) {                                                                 \
    rotate<T, false>(x, c, s, y, tokens, heads, half);                                                                 \
  }                                                                                                                    \
  extern "C" __global__ void rotate_backward_##NAME(const T *x, const T *c, const T *s, T *y, i64 tokens, i64 heads,   \
                                                    i64 half) {                                                        \
    rotate<T, true>(x, c, s, y, tokens, heads, half);                                                                  \
  }
KERNELS(float, f32)
KERNELS(bf16, bf16)
#undef KERNELS
