// Attention of one query a sequence over keys and values in pages: out = softmax(q k^T scale) v in float32, with grouped
// heads. q and out are [rows, heads, width]; keys and values are [pages, 2^page_bits tokens, kv_heads, width]; table is
// [rows, pages_each]: which page holds the keys of a sequence from token 2^page_bits i on. A sequence sees the last `window`
// of its lengths[row] keys (window 0: all of them); of no keys the result is 0.
//
// A block (blockIdx.y) computes `split` keys of a sequence (a part) for up to G heads that share their keys. Parts begin at
// multiples of `split`, and merge_parts joins them in ascending order by their largest score: the bits of a sequence depend
// neither on the other sequences nor on how many parts the longest of them has.

// Elements of a head that a lane holds.
constexpr int lane_width = 8;
// Keys that a lane reads before it computes with the first of them.
constexpr int keys_ahead = 4;
constexpr int attention_warps = 4;

// e^x of a difference to the largest score; 0 where there is no score.
__device__ inline float weight_of(float score, float high) { return score == lowest ? 0.0f : expf(score - high); }

// A lane's elements of a head: element N (lane + lanes pack) + j of each pack; elements behind the head's width are 0.
template <typename T, int N> __device__ inline void lane_elements(const T *from, int lane, int lanes, int width, float *out) {
#pragma unroll
  for (int pack = 0; pack < lane_width / N; ++pack) {
    const int at = N * (lane + lanes * pack);
    if (at < width) {
      const auto values = load<N>(from + at);
#pragma unroll
      for (int j = 0; j < N; ++j)
        out[pack * N + j] = wide(values.of[j]);
    } else {
#pragma unroll
      for (int j = 0; j < N; ++j)
        out[pack * N + j] = 0.0f;
    }
  }
}

// `lanes` threads, a power of two, hold a head: 8 elements each. The threads of a block form blockDim.x / lanes groups that
// take keys in turn; then the groups' results are joined, those of a warp by shuffles and those of the warps in order.
template <typename T, int N, int G>
__device__ inline void attend_part(const T *q, const T *keys, const T *values, const int *table, const int *lengths, T *out,
                                   float *sums, float *softs, i64 rows, i64 heads, i64 kv_heads, i64 width, i64 pages_each,
                                   i64 page_bits, i64 window, i64 split, i64 lanes, float scale, float *scratch) {
  const int group = static_cast<int>(heads / kv_heads), tiles = (group + G - 1) / G;
  const int tile = static_cast<int>(blockIdx.x % tiles), kv_head = static_cast<int>(blockIdx.x / tiles % kv_heads);
  const i64 row = blockIdx.x / tiles / kv_heads;
  if (row >= rows)
    return;
  const i64 length = lengths[row], first = window > 0 && length > window ? length - window : 0;
  const i64 from = blockIdx.y * split, to = from + split;
  const i64 begin = first > from ? first : from, end = length < to ? length : to;
  const bool whole = gridDim.y == 1; // this part is all there is
  if (begin >= end && !whole)
    return;
  const int head_lanes = static_cast<int>(lanes), across = static_cast<int>(width);
  const int lane = threadIdx.x % head_lanes, member = threadIdx.x / head_lanes, members = blockDim.x / head_lanes;
  const int first_head = kv_head * group + tile * G, tile_heads = group - tile * G < G ? group - tile * G : G;
  const int *pages = table + row * pages_each;
  const i64 page_mask = (static_cast<i64>(1) << page_bits) - 1;
  const auto place = [&](i64 key) {
    return ((static_cast<i64>(pages[key >> page_bits]) << page_bits) + (key & page_mask)) * kv_heads * width + kv_head * width;
  };

  float query[G][lane_width], sum[G][lane_width], high[G], total[G];
#pragma unroll
  for (int g = 0; g < G; ++g) {
    // A head that the tile lacks repeats its last one, and is not written.
    const int head = first_head + (g < tile_heads ? g : tile_heads - 1);
    lane_elements<T, N>(q + (row * heads + head) * width, lane, head_lanes, across, query[g]);
    high[g] = lowest;
    total[g] = 0.0f;
#pragma unroll
    for (int i = 0; i < lane_width; ++i)
      sum[g][i] = 0.0f;
  }
  // All threads of the block make as many turns.
  for (i64 turn = begin; turn < end; turn += members * keys_ahead) {
    float score[keys_ahead][G];
#pragma unroll
    for (int ahead = 0; ahead < keys_ahead; ++ahead) {
      const i64 key = turn + member + members * ahead;
      float elements[lane_width];
      lane_elements<T, N>(keys + place(key < end ? key : end - 1), lane, head_lanes, across, elements);
#pragma unroll
      for (int g = 0; g < G; ++g) {
        float dot = 0.0f;
#pragma unroll
        for (int i = 0; i < lane_width; ++i)
          dot += query[g][i] * elements[i];
        for (int other = head_lanes / 2; other > 0; other /= 2)
          dot += __shfl_xor_sync(0xffffffffu, dot, other);
        score[ahead][g] = key < end ? dot * scale : lowest;
      }
    }
#pragma unroll
    for (int g = 0; g < G; ++g) {
      float now = high[g];
#pragma unroll
      for (int ahead = 0; ahead < keys_ahead; ++ahead)
        now = fmaxf(now, score[ahead][g]);
      const float before = weight_of(high[g], now);
      high[g] = now;
      total[g] *= before;
#pragma unroll
      for (int i = 0; i < lane_width; ++i)
        sum[g][i] *= before;
    }
#pragma unroll
    for (int ahead = 0; ahead < keys_ahead; ++ahead) {
      const i64 key = turn + member + members * ahead;
      float elements[lane_width];
      lane_elements<T, N>(values + place(key < end ? key : end - 1), lane, head_lanes, across, elements);
#pragma unroll
      for (int g = 0; g < G; ++g) {
        const float weight = weight_of(score[ahead][g], high[g]);
        total[g] += weight;
        // A value without weight may be anything; what is no number stays.
        if (weight != 0.0f) {
#pragma unroll
          for (int i = 0; i < lane_width; ++i)
            sum[g][i] += weight * elements[i];
        }
      }
    }
  }
  // The groups of a warp: a sum is the same in both threads, whichever comes first.
#pragma unroll
  for (int g = 0; g < G; ++g) {
    for (int other = head_lanes; other < 32; other *= 2) {
      const float theirs = __shfl_xor_sync(0xffffffffu, high[g], other), both = fmaxf(high[g], theirs);
      const float mine = weight_of(high[g], both), their = weight_of(theirs, both);
      total[g] = total[g] * mine + __shfl_xor_sync(0xffffffffu, total[g], other) * their;
#pragma unroll
      for (int i = 0; i < lane_width; ++i)
        sum[g][i] = sum[g][i] * mine + __shfl_xor_sync(0xffffffffu, sum[g][i], other) * their;
      high[g] = both;
    }
  }
  // The warps: those behind the first put their results down, the first adds them up in order.
  constexpr int kept = G * (lane_width + 2);
  const int warp = threadIdx.x / 32;
  if (warp > 0 && threadIdx.x % 32 < head_lanes) {
    float *mine = scratch + ((warp - 1) * 32 + threadIdx.x % 32) * kept;
#pragma unroll
    for (int g = 0; g < G; ++g) {
      mine[g * (lane_width + 2)] = high[g];
      mine[g * (lane_width + 2) + 1] = total[g];
#pragma unroll
      for (int i = 0; i < lane_width; ++i)
        mine[g * (lane_width + 2) + 2 + i] = sum[g][i];
    }
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) >= head_lanes)
    return;
  for (int other = 1; other < attention_warps; ++other) {
    const float *theirs = scratch + ((other - 1) * 32 + threadIdx.x) * kept;
#pragma unroll
    for (int g = 0; g < G; ++g) {
      const float *of = theirs + g * (lane_width + 2);
      const float both = fmaxf(high[g], of[0]), mine = weight_of(high[g], both), their = weight_of(of[0], both);
      total[g] = total[g] * mine + of[1] * their;
#pragma unroll
      for (int i = 0; i < lane_width; ++i)
        sum[g][i] = sum[g][i] * mine + of[2 + i] * their;
      high[g] = both;
    }
  }
#pragma unroll
  for (int g = 0; g < G; ++g) {
    if (g >= tile_heads)
      continue;
    const i64 head = row * heads + first_head + g, part = head * gridDim.y + blockIdx.y;
    if (lane == 0 && !whole) {
      softs[part * 2] = high[g];
      softs[part * 2 + 1] = total[g];
    }
#pragma unroll
    for (int i = 0; i < lane_width; ++i) {
      const int at = N * (lane + head_lanes * (i / N)) + i % N;
      if (at >= across)
        continue;
      if (whole)
        put(out[head * width + at], total[g] == 0.0f ? 0.0f : sum[g][i] / total[g]);
      else
        sums[part * width + at] = sum[g][i];
    }
  }
}

// Joins the parts of each head: out = sum over parts of e^(high - highest) sum / (the same of totals), in ascending order.
// A block computes a head at a time.
template <typename T>
__device__ inline void join_parts(const float *sums, const float *softs, const int *lengths, T *out, i64 rows, i64 heads,
                                  i64 width, i64 window, i64 split, i64 parts) {
  for (i64 head = blockIdx.x; head < rows * heads; head += gridDim.x) {
    const i64 length = lengths[head / heads], first = window > 0 && length > window ? length - window : 0;
    const i64 begin = first / split, end = (length + split - 1) / split;
    const float *of = softs + head * parts * 2;
    float high = lowest, total = 0.0f;
    for (i64 part = begin; part < end; ++part)
      high = fmaxf(high, of[part * 2]);
    for (i64 part = begin; part < end; ++part)
      total += of[part * 2 + 1] * weight_of(of[part * 2], high);
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) {
      float sum = 0.0f;
      for (i64 part = begin; part < end; ++part)
        sum += sums[(head * parts + part) * width + i] * weight_of(of[part * 2], high);
      put(out[head * width + i], total == 0.0f ? 0.0f : sum / total);
    }
  }
}

// N elements are read at once and G heads share a block: 16 bytes and 4 heads where keys are shared, 1 head where they are
// not, and single elements where a head's width or an address is no multiple of 16 bytes.
#define ATTENTION(NAME, T, N, G)                                                                                       \
  extern "C" __global__ void NAME(const T *q, const T *keys, const T *values, const int *table, const int *lengths,    \
                                  T *out, float *sums, float *softs, i64 rows, i64 heads, i64 kv_heads, i64 width,     \
                                  i64 pages_each, i64 page_bits, i64 window, i64 split, i64 lanes, float scale) {      \
    __shared__ float scratch[(attention_warps - 1) * 32 * G * (lane_width + 2)];                                       \
    attend_part<T, N, G>(q, keys, values, table, lengths, out, sums, softs, rows, heads, kv_heads, width, pages_each,  \
                         page_bits, window, split, lanes, scale, scratch);                                             \
  }
#define KERNELS(T, NAME)                                                                                               \
  ATTENTION(paged_attention_##NAME, T, widest<T>, 4)                                                                   \
  ATTENTION(paged_attention_single_##NAME, T, widest<T>, 1)                                                            \
  ATTENTION(paged_attention_narrow_##NAME, T, 1, 1)                                                                    \
  extern "C" __global__ void merge_parts_##NAME(const float *sums, const float *softs, const int *lengths, T *out,     \
                                                i64 rows, i64 heads, i64 width, i64 window, i64 split, i64 parts) {    \
    join_parts(sums, softs, lengths, out, rows, heads, width, window, split, parts);                                   \
  }
KERNELS(float, f32)
KERNELS(bf16, bf16)
#undef KERNELS
#undef ATTENTION
