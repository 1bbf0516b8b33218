// Samples a token from each row of logits z [rows, vocab], as crates/llama/src/sampling.rs defines it: temperature, then top-k,
// top-p and min-p, then inverse-CDF sampling with a uniform random number (the point) from [0, 1) for each row. With the same
// point, the CPU sampler makes the same choice. Results are the token and its log-probability under the model itself
// (temperature 1, no tokens dropped).
//
// Without top-k, top-p and min-p, and for the log-probability, every sum and every e^x is computed with the same operations in the
// same order as on the CPU (vocabulary.rs), so the bits are equal. With these filters, the CPU sorts the tokens that it keeps and
// sums in float64. This kernel sorts nothing. The kept tokens are a prefix of the tokens in sorted order (largest logit first, ties
// by id). A radix select finds the end of the prefix, digit by digit of the logits' bits, from the number and the weight of the
// tokens with each digit. Weights are integers in units of 2^-44, so the order of the atomic additions does not change a sum. A
// choice can differ from the CPU's only if the point is within about vocab 2^-44 of the border between two tokens; the same holds
// for the end of the tokens that top-p keeps.
//
// parameters is [rows, 5] float64: temperature (0: the most likely token), top-k (0: all), top-p (1: all), min-p (0: all),
// point. chosen is [rows, 2] int64: the token, or -1 if a logit is not finite; the bits of the float32 log-probability.
// sums is [rows, ceil(vocab / 512)] float64, working memory. A block computes one row at a time.

using u64 = unsigned long long;

constexpr double weight_unit = 17592186044416.0; // 2^44
constexpr int digits = 256;
constexpr int sum_block = 512, sum_lanes = 16; // vocabulary.rs: BLOCK, LANES
constexpr u64 no_limit = 0xffffffffffffffffull;

// Shared memory of a block.
struct Sampling {
  float most[32], least[32];
  unsigned faults;
  unsigned count[digits];
  u64 mass[digits];
  float values[1024];
  unsigned numbers[1024];
  double total;
  // The prefix of the sorted tokens that end_of has found.
  unsigned key;               // key_of of the last token's logit
  u64 tokens, before, weight; // number of its tokens; number of those with a larger logit than the last; weight of all
  u64 ties;                   // number of all tokens whose logit equals that of the last token
  int bin;
  i64 token;
};

// exp of vocabulary.rs, without fused multiply-adds.
__device__ inline float exp_as_processor(float x) {
  const float shift = 12582912.0f, kept = x > -87.0f ? x : -87.0f;
  const float shifted = __fadd_rn(__fmul_rn(kept, 1.44269502f), shift), k = __fadd_rn(shifted, -shift);
  const float r = __fadd_rn(__fadd_rn(kept, -__fmul_rn(k, 0.693359375f)), __fmul_rn(k, 2.12194440e-4f));
  float p = __fadd_rn(__fmul_rn(1.9875691e-4f, r), 1.3981999e-3f);
  p = __fadd_rn(__fmul_rn(p, r), 8.333452e-3f);
  p = __fadd_rn(__fmul_rn(p, r), 4.1665796e-2f);
  p = __fadd_rn(__fmul_rn(p, r), 1.6666665e-1f);
  p = __fadd_rn(__fmul_rn(p, r), 0.5f);
  p = __fadd_rn(__fadd_rn(__fmul_rn(__fmul_rn(p, r), r), r), 1.0f);
  const float power = __uint_as_float((__float_as_uint(shifted) << 23) + 0x3f800000u);
  return x > -87.0f ? __fmul_rn(p, power) : 0.0f;
}

// Maps floats to unsigned integers of the same order (IEEE 754's total order: -0 is below 0).
__device__ inline unsigned key_of(float x) {
  const unsigned bits = __float_as_uint(x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

// e^((x - high) / temperature) in float64, as the CPU computes it when it sorts.
__device__ inline double weight_at(float x, float high, double temperature) {
  return exp(static_cast<double>(x - high) / temperature);
}

__device__ inline u64 whole_weight(float x, float high, double temperature) {
  return static_cast<u64>(weight_at(x, high, temperature) * weight_unit + 0.5);
}

// Finds the largest and the smallest logit. Returns whether all logits are finite.
template <typename T> __device__ inline bool extremes(const T *z, i64 vocab, Sampling &at, float &high, float &low) {
  float most = -3.4028235e38f, least = 3.4028235e38f;
  unsigned faults = 0;
  for (i64 i = threadIdx.x; i < vocab; i += blockDim.x) {
    const float x = wide(z[i]);
    faults |= (__float_as_uint(x) & 0x7f800000u) == 0x7f800000u;
    most = fmaxf(most, x);
    least = fminf(least, x);
  }
  for (int lane = 16; lane > 0; lane /= 2) {
    most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, lane));
    least = fminf(least, __shfl_xor_sync(0xffffffffu, least, lane));
  }
  if (threadIdx.x == 0)
    at.faults = 0;
  __syncthreads();
  if (threadIdx.x % 32 == 0) {
    at.most[threadIdx.x / 32] = most;
    at.least[threadIdx.x / 32] = least;
  }
  if (faults)
    atomicAdd(&at.faults, 1u);
  __syncthreads();
  high = at.most[0];
  low = at.least[0];
  for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) {
    high = fmaxf(high, at.most[warp]);
    low = fminf(low, at.least[warp]);
  }
  return at.faults == 0;
}

// Weights of vocabulary.rs: writes the sum of e^((z - high) factor) over each 512 tokens to `sums`, and returns the sum over all
// tokens.
template <typename T>
__device__ __noinline__ double sum_weights(const T *z, i64 vocab, float high, float factor, double *sums, Sampling &at) {
  const i64 blocks = (vocab + sum_block - 1) / sum_block;
  const int lane = threadIdx.x % sum_lanes, groups = blockDim.x / sum_lanes, group = threadIdx.x / sum_lanes;
  for (i64 first = 0; first < blocks; first += groups) {
    const i64 start = (first + group) * sum_block, stop = start + sum_block < vocab ? start + sum_block : vocab;
    const bool live = first + group < blocks;
    i64 i = start;
    float sum = 0.0f;
    for (; live && i + sum_lanes <= stop; i += sum_lanes)
      sum = __fadd_rn(sum, exp_as_processor(__fmul_rn(__fadd_rn(wide(z[i + lane]), -high), factor)));
    at.values[threadIdx.x] = sum;
    __syncthreads();
    if (live && lane == 0) {
      double all = 0.0;
      for (int other = 0; other < sum_lanes; ++other)
        all = __dadd_rn(all, at.values[threadIdx.x + other]);
      for (; i < stop; ++i)
        all = __dadd_rn(all, exp_as_processor(__fmul_rn(__fadd_rn(wide(z[i]), -high), factor)));
      sums[first + group] = all;
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) {
    double total = 0.0;
    for (i64 i = 0; i < blocks; ++i)
      total = __dadd_rn(total, sums[i]);
    at.total = total;
  }
  __syncthreads();
  const double total = at.total;
  __syncthreads();
  return total;
}

// Weights::pick of vocabulary.rs: the token at which the running sum of the weights, in the order of the ids, exceeds `target`.
// `sums` are those of sum_weights.
template <typename T>
__device__ inline i64 pick_by_id(const T *z, i64 vocab, float high, float factor, const double *sums, double target,
                                 Sampling &at) {
  const i64 blocks = (vocab + sum_block - 1) / sum_block;
  if (threadIdx.x == 0) {
    double before = 0.0;
    i64 block = 0;
    for (i64 i = 0; i < blocks; ++i) {
      if (sums[i] > 0.0) {
        block = i;
        if (__dadd_rn(before, sums[i]) > target)
          break;
      }
      before = __dadd_rn(before, sums[i]);
    }
    at.token = block * sum_block;
    at.total = before;
  }
  __syncthreads();
  const i64 start = at.token, end = start + sum_block < vocab ? start + sum_block : vocab;
  for (i64 i = start + threadIdx.x; i < end; i += blockDim.x)
    at.values[i - start] = exp_as_processor(__fmul_rn(__fadd_rn(wide(z[i]), -high), factor));
  __syncthreads();
  if (threadIdx.x == 0) {
    double before = at.total;
    for (i64 i = start; i < end; ++i) {
      const float weight = at.values[i - start];
      if (weight > 0.0f) {
        before = __dadd_rn(before, weight);
        at.token = i;
        if (before > target)
          break;
      }
    }
  }
  __syncthreads();
  return at.token;
}

// Bin of a logit among 256 equal steps from the largest logit (0) to the smallest (255). A smaller logit never has a lower bin.
__device__ inline int step_of(float x, float high, float scale) {
  const float step = (high - x) * scale;
  return step < 255.0f ? static_cast<int>(step) : 255;
}

// Finds the end of the longest prefix of the sorted tokens in which fewer than `most` tokens, with less weight than `limit`,
// precede each token. Writes at.key, at.tokens, at.before, at.ties and at.weight. The first of five passes uses bins of equal
// steps, because most logits share their first bits. Four passes over the tokens of one bin then use one digit of 8 bits each.
template <typename T>
__device__ __noinline__ void end_of(const T *z, i64 vocab, float high, float low, double temperature, u64 most, u64 limit,
                              Sampling &at) {
  const float range = high - low, scale = range > 0.0f ? 255.0f / range : 0.0f;
  unsigned known = 0; // the digits found so far
  u64 tokens = 0, weight = 0;
  int step = 0;
  for (int level = 0; level < 5; ++level) {
    const int shift = 32 - 8 * level;
    for (int i = threadIdx.x; i < digits; i += blockDim.x) {
      at.count[i] = 0;
      at.mass[i] = 0;
    }
    __syncthreads();
    for (i64 i = threadIdx.x; i < vocab; i += blockDim.x) {
      const float x = wide(z[i]);
      const int own = step_of(x, high, scale);
      const unsigned key = key_of(x);
      if (level > 0 && (own != step || (level > 1 && key >> (shift + 8) != known)))
        continue;
      const int bin = level == 0 ? own : 255 - static_cast<int>(key >> shift & 255);
      atomicAdd(&at.count[bin], 1u);
      const u64 mine = whole_weight(x, high, temperature);
      if (mine > 0)
        atomicAdd(&at.mass[bin], mine);
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      // The bin of the last token of the prefix: the bin in which a limit is reached, or else the last bin with a token.
      int last = 0;
      u64 before_tokens = tokens, before_weight = weight, now_tokens = tokens, now_weight = weight;
      for (int bin = 0; bin < digits; ++bin) {
        if (at.count[bin] == 0)
          continue;
        if (now_tokens >= most || now_weight >= limit)
          break;
        last = bin;
        before_tokens = now_tokens;
        before_weight = now_weight;
        now_tokens += at.count[bin];
        now_weight += at.mass[bin];
      }
      at.bin = last;
      at.before = before_tokens;
      at.weight = before_weight;
      at.ties = at.count[last];
    }
    __syncthreads();
    tokens = at.before;
    weight = at.weight;
    if (level == 0)
      step = at.bin;
    else
      known = known << 8 | static_cast<unsigned>(255 - at.bin);
  }
  __syncthreads(); // all threads have read at.weight
  if (threadIdx.x == 0) {
    // The number of tokens with the last key that fit into the prefix; the ones with the smallest ids are taken.
    const float x = __uint_as_float(known >> 31 ? known & 0x7fffffffu : ~known);
    const u64 each = whole_weight(x, high, temperature);
    u64 fit = at.ties;
    if (most - tokens < fit)
      fit = most - tokens;
    if (each > 0 && (limit - weight - 1) / each + 1 < fit)
      fit = (limit - weight - 1) / each + 1;
    at.key = known;
    at.tokens = tokens + fit;
    at.weight = weight + fit * each;
  }
  __syncthreads();
}

// The last token of the prefix that end_of has found: of the tokens with the key at.key, number tokens - before - 1 (from 0) in the
// order of the ids.
template <typename T> __device__ inline i64 last_token(const T *z, i64 vocab, Sampling &at) {
  const u64 number = at.tokens - at.before - 1;
  // Each thread counts the matches in consecutive ids, so the counts of the threads before it give the number of its first match.
  const i64 each = (vocab + blockDim.x - 1) / blockDim.x, from = threadIdx.x * each;
  const i64 to = from + each < vocab ? from + each : vocab;
  unsigned mine = 0;
  for (i64 i = from; i < to; ++i)
    mine += key_of(wide(z[i])) == at.key;
  at.numbers[threadIdx.x] = mine;
  __syncthreads();
  u64 before = 0;
  if (mine > 0) {
    for (unsigned i = 0; i < threadIdx.x; ++i)
      before += at.numbers[i];
    if (before <= number && number < before + mine) {
      for (i64 i = from; i < to; ++i) {
        if (key_of(wide(z[i])) == at.key && before++ == number) {
          at.token = i;
          break;
        }
      }
    }
  }
  __syncthreads();
  return at.token;
}

// A positive weight in units of 2^-44, rounded up: an integer is below the result exactly if it is below the weight.
__device__ inline u64 units_of(double weight) {
  const double units = weight * weight_unit;
  const u64 whole = static_cast<u64>(units);
  return whole > 0 && static_cast<double>(whole) == units ? whole : whole + 1;
}

template <typename T>
__device__ inline i64 sample_row(const T *z, i64 vocab, const double *parameters, double *sums, float high, float low,
                                 double plain_total, Sampling &at) {
  const double temperature = parameters[0], top_p = parameters[2], min_p = parameters[3], point = parameters[4];
  const u64 top_k = static_cast<u64>(parameters[1]);
  if (temperature == 0.0) {
    // The smallest id with the largest logit. Compares floats, not keys: -0 equals 0, but their keys differ.
    if (threadIdx.x == 0)
      at.key = 0xffffffffu;
    __syncthreads();
    for (i64 i = threadIdx.x; i < vocab; i += blockDim.x) {
      if (wide(z[i]) == high) {
        atomicMin(&at.key, static_cast<unsigned>(i));
        break;
      }
    }
    __syncthreads();
    return at.key;
  }
  const double inverse = 1.0 / temperature;
  const float factor = static_cast<float>(inverse < 1e30 ? inverse : 1e30);
  const bool every = top_k == 0 && top_p >= 1.0;
  double total = plain_total;
  // `sums` already holds the sums for temperature 1.
  if (every ? min_p == 0.0 : top_k == 0) {
    if (factor != 1.0f)
      total = sum_weights(z, vocab, high, factor, sums, at);
    if (every)
      return pick_by_id(z, vocab, high, factor, sums, __dmul_rn(point, total), at);
  }
  u64 tokens = no_limit, weight = no_limit;
  if (!every) {
    const u64 most = top_k > 0 ? top_k : no_limit;
    u64 limit = no_limit;
    if (top_k > 0) {
      end_of(z, vocab, high, low, temperature, most, no_limit, at);
      weight = at.weight;
      if (top_p < 1.0)
        limit = units_of(top_p * (static_cast<double>(weight) / weight_unit));
    } else {
      limit = units_of(top_p * total);
    }
    if (top_p < 1.0) {
      end_of(z, vocab, high, low, temperature, most, limit, at);
      weight = at.weight;
    }
    tokens = at.tokens;
  }
  if (min_p > 0.0) {
    if (threadIdx.x == 0) {
      at.count[0] = 0;
      at.mass[0] = 0;
    }
    __syncthreads();
    for (i64 i = threadIdx.x; i < vocab; i += blockDim.x) {
      const double mine = weight_at(wide(z[i]), high, temperature);
      if (mine >= min_p) {
        atomicAdd(&at.count[0], 1u);
        atomicAdd(&at.mass[0], static_cast<u64>(mine * weight_unit + 0.5));
      }
    }
    __syncthreads();
    // The tokens that min-p keeps are also a prefix of the sorted tokens: the shorter prefix counts.
    if (at.count[0] < tokens)
      weight = at.mass[0];
    __syncthreads();
  }
  u64 target = static_cast<u64>(point * static_cast<double>(weight));
  if (target >= weight)
    target = weight - 1;
  end_of(z, vocab, high, low, temperature, no_limit, target + 1, at);
  return last_token(z, vocab, at);
}

template <typename T>
__device__ inline void sample_rows(const T *z, const double *parameters, double *sums, i64 *chosen, i64 rows, i64 vocab) {
  __shared__ Sampling at;
  const i64 blocks = (vocab + sum_block - 1) / sum_block;
  for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *of = z + row * vocab;
    double *own = sums + row * blocks;
    float high, low;
    const bool finite = extremes(of, vocab, at, high, low);
    i64 token = -1;
    float log_prob = 0.0f;
    if (finite) {
      const double total = sum_weights(of, vocab, high, 1.0f, own, at);
      const float log_sum = __fadd_rn(high, static_cast<float>(log(total)));
      token = sample_row(of, vocab, parameters + row * 5, own, high, low, total, at);
      log_prob = __fadd_rn(wide(of[token]), -log_sum);
    }
    if (threadIdx.x == 0) {
      chosen[row * 2] = token;
      chosen[row * 2 + 1] = static_cast<i64>(__float_as_uint(log_prob));
    }
    __syncthreads();
  }
}

#define KERNELS(T, NAME)                                                                                               \
  extern "C" __global__ void sample_##NAME(const T *z, const double *parameters, double *sums, i64 *chosen, i64 rows,  \
                                           i64 vocab) {                                                                \
    sample_rows(z, parameters, sums, chosen, rows, vocab);                                                             \
  }
KERNELS(float, f32)
KERNELS(bf16, bf16)
#undef KERNELS
