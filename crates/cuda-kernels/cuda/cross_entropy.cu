// Softmax cross-entropy: nll = logsumexp(z) - z[label] for each row of logits z [rows, vocab], in float32. nll is 0 if the label is
// negative, and NaN if the label is not below vocab. If `factor` (float32, [rows]) is not null, z is overwritten by the gradient
// factor (softmax(z) - onehot(label)). A block computes one row at a time: it reads z twice and writes it once.

// State of an online softmax over some logits: max(z) and sum(e^(z - max)).
struct Soft {
  float high, sum;
};

__device__ inline Soft join(Soft a, Soft b) {
  const float high = fmaxf(a.high, b.high);
  return {high, a.sum * expf(a.high - high) + b.sum * expf(b.high - high)};
}

// Joins the states of all threads of the block, and returns the result to each thread. `scratch` has one state for each warp.
__device__ inline Soft block_join(Soft mine, Soft *scratch) {
  for (int lane = 16; lane > 0; lane /= 2) {
    const Soft other = {__shfl_xor_sync(0xffffffffu, mine.high, lane), __shfl_xor_sync(0xffffffffu, mine.sum, lane)};
    mine = join(mine, other);
  }
  __syncthreads(); // all threads have read the states of the previous row
  if (threadIdx.x % 32 == 0)
    scratch[threadIdx.x / 32] = mine;
  __syncthreads();
  Soft all = scratch[0];
  for (int warp = 1; warp < blockDim.x / 32; ++warp)
    all = join(all, scratch[warp]);
  return all;
}

template <typename T, int N>
__device__ inline void cross_entropy_rows(T *z, const i64 *labels, const float *factor, float *nll, i64 rows, i64 vocab,
                                          Soft *scratch) {
  for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
    T *at = z + row * vocab;
    const i64 label = labels[row];
    const bool counts = label >= 0, known = label < vocab;
    // Read before the barriers of block_join, because the gradient overwrites the logit after them.
    const float target = counts && known ? wide(at[label]) : 0.0f;
    Soft mine = {lowest, 0.0f};
    for (i64 i = threadIdx.x * N; i < vocab; i += blockDim.x * N) {
      const auto logits = load<N>(at + i);
      float high = mine.high;
      for (int j = 0; j < N; ++j)
        high = fmaxf(high, wide(logits.of[j]));
      mine.sum *= expf(mine.high - high);
      mine.high = high;
      for (int j = 0; j < N; ++j)
        mine.sum += expf(wide(logits.of[j]) - high);
    }
    const Soft all = block_join(mine, scratch);
    if (threadIdx.x == 0)
      nll[row] = !counts ? 0.0f : known ? (all.high - target) + logf(all.sum) : __uint_as_float(0x7fffffffu);
    if (factor == nullptr)
      continue;
    const float f = counts ? factor[row] : 0.0f, share = f / all.sum;
    for (i64 i = threadIdx.x * N; i < vocab; i += blockDim.x * N) {
      const auto logits = load<N>(at + i);
      Pack<T, N> out;
      for (int j = 0; j < N; ++j) {
        const float p = expf(wide(logits.of[j]) - all.high) * share;
        put(out.of[j], i + j == label ? p - f : p);
      }
      store(at + i, out);
    }
  }
}

template <typename T>
__device__ inline void softmax_cross_entropy(T *z, const i64 *labels, const float *factor, float *nll, i64 rows,
                                             i64 vocab) {
  __shared__ Soft scratch[32];
  if (vocab % widest<T> == 0 && aligned(z))
    cross_entropy_rows<T, widest<T>>(z, labels, factor, nll, rows, vocab, scratch);
  else
    cross_entropy_rows<T, 1>(z, labels, factor, nll, rows, vocab, scratch);
}

#define KERNELS(T, NAME)                                                                                               \
  extern "C" __global__ void cross_entropy_##NAME(T *z, const i64 *labels, const float *factor, float *nll, i64 rows,  \
                                                  i64 vocab) {                                                         \
    softmax_cross_entropy(z, labels, factor, nll, rows, vocab);                                                        \
  }
KERNELS(float, f32)
KERNELS(bf16, bf16)
#undef KERNELS
