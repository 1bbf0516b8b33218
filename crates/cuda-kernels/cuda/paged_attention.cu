// Paged attention for decoding, with one query per sequence: out = softmax(q k^T scale) v in float32, with grouped query heads.
// q and out are [rows, heads, width]; keys and values are [pages, 2^page_bits tokens, kv_heads, width]. table is
// [rows, pages_each]: table[row][i] is the page of the sequence's tokens from 2^page_bits i on. A query attends to the last
// `window` of the sequence's lengths[row] keys (window 0: all of them). Without keys the result is 0.
//
// A part is `split` keys of a sequence, and begins at a multiple of `split`. A block computes one part (blockIdx.y) for up to G
// query heads that share a KV head. merge_parts joins the softmax states of the parts in ascending order. So the bits of a
// sequence depend neither on the other sequences nor on the number of parts of the longest sequence.

// Elements of a head that a thread (lane) holds.
constexpr int lane_width = 8;
// Keys that a thread loads before it computes with the first of them.
constexpr int keys_ahead = 4;
constexpr int attention_warps = 4;

// e^(score - high), where `high` is the maximum score; 0 if there is no score.
__device__ inline float weight_of(float score, float high) { return score == lowest ? 0.0f : expf(score - high); }

// Loads a lane's elements of a head: elements N (lane + lanes pack) + j, for each pack and j < N. Elements from `width` on are 0.
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

// Computes one part. `lanes` threads (a power of two) hold a head, 8 elements each. The blockDim.x / lanes groups of such threads
// take the keys in turn. Then their softmax states are joined: within a warp by shuffles, and the warps in ascending order.
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
  const bool whole = gridDim.y == 1; // the only part: this kernel writes the final result
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
    // If the tile has fewer than G heads, the others repeat its last head; their results are not written.
    const int head = first_head + (g < tile_heads ? g : tile_heads - 1);
    lane_elements<T, N>(q + (row * heads + head) * width, lane, head_lanes, across, query[g]);
    high[g] = lowest;
    total[g] = 0.0f;
#pragma unroll
    for (int i = 0; i < lane_width; ++i)
      sum[g][i] = 0.0f;
  }
  // All threads of the block make the same number of turns, as the shuffles require.
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
        // A value with weight 0 is skipped, so that a NaN or an infinity in it has no effect. A NaN weight is not 0 and stays
        // visible.
        if (weight != 0.0f) {
#pragma unroll
          for (int i = 0; i < lane_width; ++i)
            sum[g][i] += weight * elements[i];
        }
      }
    }
  }
  // Joins the groups of a warp: in each step, two groups exchange their states. The result of the first group is used.
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
  // Joins the warps: all but the first write their states to shared memory, and the first adds them in ascending order.
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

// Joins the parts of each head in ascending order: out = (sum over parts of e^(high_part - high) sum_part) / (the same sum over
// total_part), where `high` is the maximum of high_part. A block computes one head of a sequence at a time.
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

// N: elements read with one access. G: query heads per block. paged_attention reads 16 bytes, for 4 query heads that share a KV
// head. paged_attention_single reads 16 bytes, for one query head per KV head. paged_attention_narrow reads single elements, if the
// width of a head or an address is not a multiple of 16 bytes.
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
