// RMSNorm, y = x / sqrt(mean(x^2) + eps) * w, with the mean in float32; x / sqrt(...) is rounded to T before it is multiplied by
// the gain w. The threads with the same threadIdx.y compute one row of x at a time.

template <typename T, int N>
__device__ inline void norm_rows(const T *x, const T *w, T *y, float *scale, i64 rows, i64 width, float eps,
                                 float *scratch) {
  for (i64 first = static_cast<i64>(blockIdx.x) * blockDim.y; first < rows;
       first += static_cast<i64>(gridDim.x) * blockDim.y) {
    const i64 row = first + threadIdx.y;
    const bool live = row < rows;
    const T *in = x + row * width;
    float sum = 0;
    if (live) {
      for (i64 i = threadIdx.x * N; i < width; i += blockDim.x * N) {
        const auto values = load<N>(in + i);
        for (int j = 0; j < N; ++j)
          sum += wide(values.of[j]) * wide(values.of[j]);
      }
    }
    const float s = 1.0f / sqrtf(row_sum(sum, scratch) / static_cast<float>(width) + eps);
    if (!live)
      continue;
    if (threadIdx.x == 0)
      scale[row] = s;
    for (i64 i = threadIdx.x * N; i < width; i += blockDim.x * N) {
      const auto values = load<N>(in + i), gain = load<N>(w + i);
      Pack<T, N> out;
      for (int j = 0; j < N; ++j)
        put(out.of[j], rounded<T>(wide(values.of[j]) * s) * wide(gain.of[j]));
      store(y + row * width + i, out);
    }
  }
}

template <typename T>
__device__ inline void norm(const T *x, const T *w, T *y, float *scale, i64 rows, i64 width, float eps) {
  __shared__ float scratch[32];
  if (width % widest<T> == 0 && aligned(x) && aligned(w) && aligned(y))
    norm_rows<T, widest<T>>(x, w, y, scale, rows, width, eps, scratch);
  else
    norm_rows<T, 1>(x, w, y, scale, rows, width, eps, scratch);
}

// Gradient of x: gx = g w s - x s^3 / width * sum(g w x), where s = scale[row].
template <typename T, int N>
__device__ inline void norm_rows_backward(const T *g, const T *x, const T *w, const float *scale, T *gx, i64 rows,
                                          i64 width, float *scratch) {
  for (i64 first = static_cast<i64>(blockIdx.x) * blockDim.y; first < rows;
       first += static_cast<i64>(gridDim.x) * blockDim.y) {
    const i64 row = first + threadIdx.y;
    const bool live = row < rows;
    const T *in = x + row * width, *grad = g + row * width;
    float dot = 0;
    if (live) {
      for (i64 i = threadIdx.x * N; i < width; i += blockDim.x * N) {
        const auto values = load<N>(in + i), gain = load<N>(w + i), grads = load<N>(grad + i);
        for (int j = 0; j < N; ++j)
          dot += wide(grads.of[j]) * wide(gain.of[j]) * wide(values.of[j]);
      }
    }
    dot = row_sum(dot, scratch);
    if (!live)
      continue;
    const float s = scale[row], c = dot * s * s * s / static_cast<float>(width);
    for (i64 i = threadIdx.x * N; i < width; i += blockDim.x * N) {
      const auto values = load<N>(in + i), gain = load<N>(w + i), grads = load<N>(grad + i);
      Pack<T, N> out;
      for (int j = 0; j < N; ++j)
        put(out.of[j], wide(grads.of[j]) * wide(gain.of[j]) * s - wide(values.of[j]) * c);
      store(gx + row * width + i, out);
    }
  }
}

template <typename T>
__device__ inline void norm_backward(const T *g, const T *x, const T *w, const float *scale, T *gx, i64 rows,
                                     i64 width) {
  __shared__ float scratch[32];
  if (width % widest<T> == 0 && aligned(g) && aligned(x) && aligned(w) && aligned(gx))
    norm_rows_backward<T, widest<T>>(g, x, w, scale, gx, rows, width, scratch);
  else
    norm_rows_backward<T, 1>(g, x, w, scale, gx, rows, width, scratch);
}

// Gradient of the gain, first step: the float32 sums of g round(x s) over the rows of each strip, written to parts
// [strips, width]. blockIdx.y is the strip, blockIdx.x selects 32 columns. sum_strips then adds the strips in one fixed order, so
// that every run gives the same bits.
template <typename T>
__device__ inline void norm_gain(const T *g, const T *x, const float *scale, float *parts, i64 rows, i64 width,
                                 i64 strip) {
  __shared__ float sums[8][32];
  const i64 column = static_cast<i64>(blockIdx.x) * 32 + threadIdx.x;
  const i64 begin = blockIdx.y * strip, end = begin + strip < rows ? begin + strip : rows;
  float sum = 0;
  if (column < width) {
    for (i64 row = begin + threadIdx.y; row < end; row += 8)
      sum += wide(g[row * width + column]) * rounded<T>(wide(x[row * width + column]) * scale[row]);
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || column >= width)
    return;
  sum = 0;
  for (int part = 0; part < 8; ++part)
    sum += sums[part][threadIdx.x];
  parts[blockIdx.y * width + column] = sum;
}

// Gradient of the gain, second step: out[i] = sum over strips of parts[strip][i], in ascending order of the strips.
template <typename T> __device__ inline void strip_sums(const float *parts, T *out, i64 strips, i64 width) {
  for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < width;
       i += static_cast<i64>(gridDim.x) * blockDim.x) {
    float sum = 0;
    for (i64 strip = 0; strip < strips; ++strip)
      sum += parts[strip * width + i];
    put(out[i], sum);
  }
}

#define KERNELS(T, NAME)                                                                                               \
  extern "C" __global__ void rms_norm_##NAME(const T *x, const T *w, T *y, float *scale, i64 rows, i64 width,          \
                                             float eps) {                                                              \
    norm(x, w, y, scale, rows, width, eps);                                                                            \
  }                                                                                                                    \
  extern "C" __global__ void rms_norm_backward_##NAME(const T *g, const T *x, const T *w, const float *scale, T *gx,   \
                                                      i64 rows, i64 width) {                                           \
    norm_backward(g, x, w, scale, gx, rows, width);                                                                    \
  }                                                                                                                    \
  extern "C" __global__ void rms_norm_gain_##NAME(const T *g, const T *x, const float *scale, float *parts, i64 rows,  \
                                                  i64 width, i64 strip) {                                              \
    norm_gain(g, x, scale, parts, rows, width, strip);                                                                 \
  }                                                                                                                    \
  extern "C" __global__ void sum_strips_##NAME(const float *parts, T *out, i64 strips, i64 width) {                    \
    strip_sums(parts, out, strips, width);                                                                             \
  }
KERNELS(float, f32)
KERNELS(bf16, bf16)
#undef KERNELS
