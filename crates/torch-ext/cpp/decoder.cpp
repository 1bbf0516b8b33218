// Forward pass of a whole decoder with a paged KV cache on a CPU: packed weights, fused kernels, one parallel region. A row is one
// token of one sequence; rows of prefill and of decoding are computed together.
//
// The results of a row do not depend on the other rows (decoder_kernels.h). So a sequence has the same bits alone and in any batch,
// and whether its prompt is computed in one call, in chunks, or found in the cache. bfloat16 is rounded where the plain formula of
// `llama::model` rounds, except inside of attention (float32 throughout) and in the logits (float32).

#include "barrier.h"
#include "common.h"
#include "decoder_kernels.h"
#include "levels.h"

#include <ATen/Parallel.h>
#include <omp.h>

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

namespace {

using herd::BLOCK;
using herd::KernelsOf;
using herd::Matrix;

// A number as float32.
float widened(float number) { return number; }
float widened(herd::bf16 number) {
  const uint32_t bits = static_cast<uint32_t>(number) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

// SPAN: keys in one step of the online softmax. SPLIT: keys in a split. The attention of a row is computed for each split of its
// keys on its own, and the splits are joined in ascending order. So its bits do not depend on tiles, threads and other sequences.
constexpr int64_t SPAN = 256, SPLIT = 1024;
// FEW_ROWS: with fewer rows, threads take blocks of columns in multiples of four. TILE_ROWS: most rows of a tile of attention.
constexpr int64_t FEW_ROWS = 16, TILE_ROWS = 96;

const herd::Kernels &kernels() { return *herd::level().decoder; }

template <typename T> const KernelsOf<T> &kernels_of() {
  if constexpr (sizeof(T) == sizeof(float))
    return kernels().f32;
  else
    return kernels().half;
}

// Zeroed memory, aligned to a cache line. The system provides its pages when they are first written. Large allocations use huge
// pages, so that address translation does not slow down reading the weights.
template <typename T> class Memory {
public:
  explicit Memory(int64_t count) : bytes_(count * sizeof(T) + ALIGNMENT) {
    large_ = bytes_ >= 2 * HUGE;
    if (large_) {
      bytes_ += HUGE;
      raw_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      raw_ = raw_ == MAP_FAILED ? nullptr : raw_;
      if (raw_)
        madvise(raw_, bytes_, MADV_HUGEPAGE); // only a hint: without huge pages it fails and has no effect
    } else {
      raw_ = std::calloc(bytes_, 1);
    }
    TORCH_CHECK(raw_ != nullptr, "no memory for ", bytes_, " bytes");
    const uintptr_t step = large_ ? HUGE : ALIGNMENT;
    start_ = reinterpret_cast<T *>((reinterpret_cast<uintptr_t>(raw_) + step - 1) & ~(step - 1));
  }
  Memory(const Memory &) = delete;
  Memory &operator=(const Memory &) = delete;
  ~Memory() {
    if (large_)
      munmap(raw_, bytes_);
    else
      std::free(raw_);
  }
  T *get() const { return start_; }

private:
  static constexpr size_t ALIGNMENT = 64, HUGE = size_t{2} << 20;
  size_t bytes_;
  bool large_;
  void *raw_;
  T *start_;
};

// A packed matrix and its memory.
template <typename T> struct Packed {
  std::unique_ptr<Memory<T>> blocks;
  std::unique_ptr<Memory<float>> bias;
  Matrix<T> matrix{};
};

int64_t blocks_of(int64_t n) { return (n + BLOCK - 1) / BLOCK; }

template <typename T> const T *numbers(const at::Tensor &t) { return static_cast<const T *>(t.const_data_ptr()); }

struct Part {
  const at::Tensor *weight;
  const at::Tensor *bias;
};

// Packs matrices with the same number of columns into one: one after the other (q, k, v), or if `in_turns` with alternating blocks
// (gate and up).
template <typename T> Packed<T> pack(const std::vector<Part> &parts, bool in_turns) {
  int64_t blocks = 0, n = 0;
  const int64_t k = parts[0].weight->size(1), count = static_cast<int64_t>(parts.size());
  bool biased = false;
  std::vector<at::Tensor> rows;
  for (const auto &part : parts) {
    TORCH_CHECK(part.weight->size(1) == k && (count == 1 || part.weight->size(0) % BLOCK == 0), "a weight of ",
                part.weight->sizes(), " cannot be packed with others");
    rows.push_back(part.weight->contiguous());
    blocks += blocks_of(part.weight->size(0));
    n += part.weight->size(0);
    biased = biased || part.bias != nullptr;
  }
  Packed<T> packed;
  packed.blocks = std::make_unique<Memory<T>>(blocks * BLOCK * k);
  if (biased)
    packed.bias = std::make_unique<Memory<float>>(blocks * BLOCK);
  int64_t first = 0;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t size = rows[p].size(0), own = blocks_of(size);
    const auto place = [&](int64_t block) { return in_turns ? block * count + p : first + block; };
    at::parallel_for(0, own, 1, [&](int64_t begin, int64_t end) {
      for (int64_t block = begin; block < end; ++block)
        kernels_of<T>().pack(numbers<T>(rows[p]), size, k, block, packed.blocks->get() + place(block) * BLOCK * k);
    });
    if (parts[p].bias) {
      const auto bias = parts[p].bias->to(at::kFloat).contiguous();
      for (int64_t i = 0; i < size; ++i)
        packed.bias->get()[place(i / BLOCK) * BLOCK + i % BLOCK] = numbers<float>(bias)[i];
    }
    first += own;
  }
  packed.matrix = {packed.blocks->get(), biased ? packed.bias->get() : nullptr, n, k};
  return packed;
}

} // namespace

extern "C" {

// Sizes of a decoder, named as in the model's configuration; `positions` is the number of rows of the rotary tables, `pages` that
// of the pages of the KV cache.
struct TxDecoderShape {
  int64_t layers, hidden, heads, kv_heads, head_dim, feed_forward, vocab, positions, pages;
  double eps;
};

// Tensors of one layer; null for those that the model does not have.
struct TxDecoderLayer {
  tensor input_norm, q, k, v, q_bias, k_bias, v_bias, q_norm, k_norm, o, o_bias, post_norm, gate, up, down, gate_bias,
      up_bias, down_bias;
  int64_t window; // 0: none
};

// Rows [first_row, first_row + rows) of a call: consecutive tokens of one sequence from position `start` on. The sequence's page
// table begins at `first_page` in the list of pages.
struct TxSegment {
  int64_t first_row, rows, start, first_page;
};
}

namespace {

class Decoder {
public:
  virtual ~Decoder() = default;
  virtual void forward(const int64_t *ids, int64_t rows, const TxSegment *segments, int64_t count, const int32_t *pages,
                       const int64_t *wanted, int64_t wanted_count, float *logits, float *hidden) = 0;
  virtual void copy_page(int64_t from, int64_t to) = 0;
};

template <typename T> struct Layer {
  at::Tensor input_norm, post_norm, q_norm, k_norm;
  Packed<T> qkv, o, gate_up, down;
  int64_t window;
};

// Softmax state of some rows of attention: weighted sums of values, sums of weights (16 lanes per row) and maximum scores.
struct Sums {
  Sums(int64_t rows, int64_t width) : out(rows * width), sums(rows * BLOCK), highest(rows) {}
  void clear(int64_t rows, int64_t width) {
    std::fill_n(out.get(), rows * width, 0.0f);
    std::fill_n(sums.get(), rows * BLOCK, 0.0f);
    std::fill_n(highest.begin(), rows, -1e30f);
  }
  Memory<float> out, sums;
  std::vector<float> highest;
};

// A tile of attention: queries [first, first + count) of a segment, which attend to splits [first_split, end_split) of its keys.
struct Tile {
  const TxSegment *segment;
  int64_t first, count, first_split, end_split;
};

// State of a tile whose splits are computed by different threads: the softmax state of each KV head and split, and for each KV head
// the number of finished splits.
struct Parts {
  Parts(int64_t rows, int64_t splits, int64_t kv_heads, int64_t width) : done(kv_heads) {
    for (int64_t i = 0; i < splits * kv_heads; ++i)
      sums.push_back(std::make_unique<Sums>(rows, width));
    for (auto &counter : done)
      counter.store(0, std::memory_order_relaxed);
  }
  std::vector<std::unique_ptr<Sums>> sums;
  std::vector<std::atomic<int64_t>> done;
};

// A unit of work: a tile and a KV head, with all splits of the tile or one of them.
struct Piece {
  int64_t tile, head, split; // split -1: all
};

// How the attention of a pass is split into units of work, for the layers with one window size.
struct Work {
  Work(const TxSegment *segments, int64_t count, int64_t window, int64_t group, int64_t kv_heads, int64_t width,
       int64_t threads) {
    // The rows of a large tile share the reading of keys; small tiles give work to many threads.
    int64_t all = 0, rows = TILE_ROWS;
    for (int64_t i = 0; i < count; ++i)
      all += segments[i].rows * group;
    while (rows > FEW_ROWS && all / rows * kv_heads < 4 * threads)
      rows /= 2;
    const int64_t queries = std::max<int64_t>(1, rows / group);
    for (int64_t i = 0; i < count; ++i)
      for (int64_t first = 0; first < segments[i].rows; first += queries) {
        const int64_t some = std::min(queries, segments[i].rows - first), position = segments[i].start + first;
        const int64_t lowest = window > 0 ? std::max<int64_t>(0, position + 1 - window) : 0;
        tiles.push_back({segments + i, first, some, lowest / SPLIT, (position + some - 1) / SPLIT + 1});
      }
    // Tiles with the most splits come first, so that all threads finish at about the same time.
    std::stable_sort(tiles.begin(), tiles.end(), [](const Tile &a, const Tile &b) {
      return a.end_split - a.first_split > b.end_split - b.first_split;
    });
    const bool apart = static_cast<int64_t>(tiles.size()) * kv_heads < 8 * threads;
    parts.resize(tiles.size());
    for (size_t i = 0; i < tiles.size(); ++i) {
      const int64_t splits = tiles[i].end_split - tiles[i].first_split;
      for (int64_t head = 0; head < kv_heads; ++head)
        if (apart && splits > 1)
          for (int64_t split = 0; split < splits; ++split)
            pieces.push_back({static_cast<int64_t>(i), head, split});
        else
          pieces.push_back({static_cast<int64_t>(i), head, -1});
      if (apart && splits > 1)
        parts[i] = std::make_unique<Parts>(tiles[i].count * group, splits, kv_heads, width);
    }
  }
  std::vector<Tile> tiles;
  std::vector<std::unique_ptr<Parts>> parts; // for each tile; null if all its splits are one unit of work
  std::vector<Piece> pieces;
};

// Work space of one thread.
template <typename T> struct Scratch {
  Scratch(int64_t rows, int64_t head_dim, int64_t width)
      : q(rows * head_dim), scores(rows * LDS), total(rows, width), split(rows, width), first(rows), last(rows),
        first_here(rows), last_here(rows), keys(SPAN / BLOCK), values(SPAN / BLOCK) {}
  // Not a power of two: the elements of a column of scores would otherwise fall into a few sets of the cache.
  static constexpr int64_t LDS = SPAN + BLOCK;
  Memory<T> q;
  Memory<float> scores;
  Sums total, split;
  std::vector<int64_t> first, last, first_here, last_here;
  std::vector<const T *> keys, values;
};

template <typename T> class DecoderOf : public Decoder {
public:
  DecoderOf(const TxDecoderShape &shape, const TxDecoderLayer *layers, const at::Tensor &embedding,
            const at::Tensor &norm, const at::Tensor &head, const at::Tensor &cosine, const at::Tensor &sine)
      : s(shape), group(shape.heads / shape.kv_heads), width((shape.head_dim + 15) / 16 * 16),
        embedding(embedding.contiguous()), norm(norm.contiguous()), cosine(cosine.contiguous()),
        sine(sine.contiguous()), head(pack<T>({{&head, nullptr}}, false)),
        keys(shape.layers * shape.pages * shape.kv_heads * shape.head_dim * BLOCK),
        values(shape.layers * shape.pages * shape.kv_heads * width * BLOCK) {
    for (int64_t i = 0; i < s.layers; ++i) {
      const auto &l = layers[i];
      const auto own = [](tensor t) { return t ? t->contiguous() : at::Tensor(); };
      this->layers.push_back(Layer<T>{own(l.input_norm), own(l.post_norm), own(l.q_norm), own(l.k_norm),
                                      pack<T>({{l.q, l.q_bias}, {l.k, l.k_bias}, {l.v, l.v_bias}}, false),
                                      pack<T>({{l.o, l.o_bias}}, false),
                                      pack<T>({{l.gate, l.gate_bias}, {l.up, l.up_bias}}, true),
                                      pack<T>({{l.down, l.down_bias}}, false), l.window});
    }
  }

  void copy_page(int64_t from, int64_t to) override {
    const int64_t key = s.kv_heads * s.head_dim * BLOCK, value = s.kv_heads * width * BLOCK;
    for (int64_t layer = 0; layer < s.layers; ++layer) {
      T *k = keys.get() + layer * s.pages * key, *v = values.get() + layer * s.pages * value;
      std::copy_n(k + from * key, key, k + to * key);
      std::copy_n(v + from * value, value, v + to * value);
    }
  }

  void forward(const int64_t *ids, int64_t rows, const TxSegment *segments, int64_t count, const int32_t *pages,
               const int64_t *wanted, int64_t wanted_count, float *logits, float *hidden) override {
    const auto &kernel = kernels_of<T>();
    const int64_t q_width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim, qkv_width = q_width + 2 * kv_width;
    const int64_t threads = at::get_num_threads();
    const float eps = static_cast<float>(s.eps);
    std::vector<const TxSegment *> segment_of(rows);
    for (int64_t i = 0; i < count; ++i)
      std::fill_n(segment_of.begin() + segments[i].first_row, segments[i].rows, segments + i);
    const Memory<T> stream(rows * s.hidden), normal(rows * s.hidden), qkv(rows * qkv_width), seen(rows * q_width),
        act(rows * s.feed_forward), last(std::max<int64_t>(wanted_count, 1) * s.hidden);
    // The units of attention work, for each window size of the layers.
    std::vector<std::pair<int64_t, std::unique_ptr<Work>>> works;
    for (const auto &layer : layers)
      if (std::none_of(works.begin(), works.end(), [&](const auto &work) { return work.first == layer.window; }))
        works.emplace_back(layer.window, std::make_unique<Work>(segments, count, layer.window, group, s.kv_heads, width, threads));
    int64_t tile_rows = group;
    for (const auto &work : works)
      for (const auto &tile : work.second->tiles)
        tile_rows = std::max(tile_rows, tile.count * group);
    std::vector<std::unique_ptr<Scratch<T>>> scratch;
    for (int64_t i = 0; i < threads; ++i)
      scratch.push_back(std::make_unique<Scratch<T>>(tile_rows, s.head_dim, width));
    // One counter per phase: each thread takes the next unit of work until none is left.
    const int64_t phases = 8 * s.layers + 3;
    std::vector<std::atomic<int64_t>> taken(phases);
    for (auto &counter : taken)
      counter.store(0, std::memory_order_relaxed);

    // The barrier counts the threads that OpenMP has started, which may be fewer than `threads`.
    std::unique_ptr<herd::Barrier> barrier;
#pragma omp parallel num_threads(static_cast<int>(threads))
    {
#pragma omp single
      barrier = std::make_unique<herd::Barrier>(omp_get_num_threads());
      int64_t number = 0;
      auto &own = *scratch[omp_get_thread_num()];
      const auto phase = [&](int64_t tasks, const auto &body) {
        auto &counter = taken[number++];
        for (int64_t task; (task = counter.fetch_add(1, std::memory_order_relaxed)) < tasks;)
          body(task);
        barrier->wait();
      };
      // A phase that calls body(begin, end) for ranges of column blocks.
      const auto over_blocks = [&](int64_t blocks, int64_t rows, const auto &body) {
        int64_t chunk = std::max<int64_t>(1, blocks / (threads * 10));
        if (rows < FEW_ROWS)
          chunk = (chunk + 3) / 4 * 4;
        phase((blocks + chunk - 1) / chunk,
              [&](int64_t task) { body(task * chunk, std::min(blocks, (task + 1) * chunk)); });
      };
      const auto norm_rows = [&](const T *from, const at::Tensor &weight, T *to) {
        phase(rows, [&](int64_t row) {
          kernel.rms_norm(from + row * s.hidden, numbers<T>(weight), to + row * s.hidden, s.hidden, eps);
        });
      };
      phase(rows, [&](int64_t row) {
        std::copy_n(numbers<T>(embedding) + ids[row] * s.hidden, s.hidden, stream.get() + row * s.hidden);
      });
      for (int64_t index = 0; index < s.layers; ++index) {
        const auto &layer = layers[index];
        norm_rows(stream.get(), layer.input_norm, normal.get());
        over_blocks(blocks_of(qkv_width), rows, [&](int64_t begin, int64_t end) {
          kernel.linear(normal.get(), s.hidden, rows, layer.qkv.matrix, begin, end, qkv.get(), qkv_width);
        });
        phase(rows, [&](int64_t row) {
          T *q = qkv.get() + row * qkv_width, *k = q + q_width, *v = k + kv_width;
          if (layer.q_norm.defined())
            for (int64_t head = 0; head < s.heads; ++head)
              kernel.rms_norm(q + head * s.head_dim, numbers<T>(layer.q_norm), q + head * s.head_dim, s.head_dim, eps);
          if (layer.k_norm.defined())
            for (int64_t head = 0; head < s.kv_heads; ++head)
              kernel.rms_norm(k + head * s.head_dim, numbers<T>(layer.k_norm), k + head * s.head_dim, s.head_dim, eps);
          const auto *segment = segment_of[row];
          const int64_t position = segment->start + row - segment->first_row;
          const float *c = numbers<float>(cosine) + position * s.head_dim;
          const float *sn = numbers<float>(sine) + position * s.head_dim;
          kernel.rotate(q, s.heads, s.head_dim / 2, c, sn);
          kernel.rotate(k, s.kv_heads, s.head_dim / 2, c, sn);
          keep(index, pages[segment->first_page + position / BLOCK], position % BLOCK, k, v);
        });
        auto &work = *std::find_if(works.begin(), works.end(), [&](const auto &work) {
                        return work.first == layer.window;
                      })->second;
        phase(static_cast<int64_t>(work.pieces.size()), [&](int64_t task) {
          attend(index, layer.window, work, work.pieces[task], pages, qkv.get(), qkv_width, seen.get(), own);
        });
        over_blocks(blocks_of(s.hidden), rows, [&](int64_t begin, int64_t end) {
          kernel.linear_add(seen.get(), q_width, rows, layer.o.matrix, begin, end, stream.get(), s.hidden);
        });
        norm_rows(stream.get(), layer.post_norm, normal.get());
        over_blocks(s.feed_forward / BLOCK, rows, [&](int64_t begin, int64_t end) {
          kernel.gated(normal.get(), s.hidden, rows, layer.gate_up.matrix, begin, end, act.get(), s.feed_forward);
        });
        over_blocks(blocks_of(s.hidden), rows, [&](int64_t begin, int64_t end) {
          kernel.linear_add(act.get(), s.feed_forward, rows, layer.down.matrix, begin, end, stream.get(), s.hidden);
        });
      }
      phase(wanted_count, [&](int64_t i) {
        kernel.rms_norm(stream.get() + wanted[i] * s.hidden, numbers<T>(norm), last.get() + i * s.hidden, s.hidden, eps);
      });
      if (hidden) {
        phase(wanted_count, [&](int64_t i) {
          std::transform(last.get() + i * s.hidden, last.get() + (i + 1) * s.hidden, hidden + i * s.hidden,
                         [](T number) { return widened(number); });
        });
      } else {
        over_blocks(wanted_count > 0 ? blocks_of(s.vocab) : 0, wanted_count, [&](int64_t begin, int64_t end) {
          kernel.linear_wide(last.get(), s.hidden, wanted_count, head.matrix, begin, end, logits, s.vocab);
        });
      }
    }
  }

private:
  T *key_page(int64_t layer, int64_t page, int64_t head) const {
    return keys.get() + ((layer * s.pages + page) * s.kv_heads + head) * s.head_dim * BLOCK;
  }
  T *value_page(int64_t layer, int64_t page, int64_t head) const {
    return values.get() + ((layer * s.pages + page) * s.kv_heads + head) * width * BLOCK;
  }

  // Writes the keys [kv_heads, head_dim] and values of one token into the KV cache. A page of keys has the layout of a packed
  // block, with its 16 tokens as columns.
  void keep(int64_t layer, int64_t page, int64_t place, const T *k, const T *v) {
    for (int64_t h = 0; h < s.kv_heads; ++h, k += s.head_dim, v += s.head_dim) {
      T *to = key_page(layer, page, h);
      if constexpr (sizeof(T) == sizeof(float)) {
        for (int64_t d = 0; d < s.head_dim; ++d)
          to[d * BLOCK + place] = k[d];
      } else {
        for (int64_t d = 0; d < s.head_dim; d += 2)
          std::copy_n(k + d, 2, to + d * BLOCK + 2 * place);
      }
      std::copy_n(v, s.head_dim, value_page(layer, page, h) + place * width);
    }
  }

  // Computes the attention of one unit of work.
  void attend(int64_t layer, int64_t window, Work &work, const Piece &piece, const int32_t *pages, const T *qkv,
              int64_t qkv_width, T *seen, Scratch<T> &own) const {
    const auto &kernel = kernels_of<T>();
    const auto &tile = work.tiles[piece.tile];
    const auto &segment = *tile.segment;
    const int64_t rows = tile.count * group;
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t query = tile.first + row / group, position = segment.start + query;
      const T *q = qkv + (segment.first_row + query) * qkv_width + (piece.head * group + row % group) * s.head_dim;
      std::copy_n(q, s.head_dim, own.q.get() + row * s.head_dim);
      own.first[row] = window > 0 ? std::max<int64_t>(0, position + 1 - window) : 0;
      own.last[row] = position + 1;
    }
    const int32_t *table = pages + segment.first_page;
    Sums *total = &own.total;
    if (piece.split < 0) {
      add_split(layer, tile.first_split, piece.head, rows, table, own, own.total);
      for (int64_t split = tile.first_split + 1; split < tile.end_split; ++split) {
        add_split(layer, split, piece.head, rows, table, own, own.split);
        join(kernel, own.total, own.split, rows);
      }
    } else {
      auto &parts = *work.parts[piece.tile];
      const int64_t splits = tile.end_split - tile.first_split;
      const auto part = [&](int64_t split) { return parts.sums[piece.head * splits + split].get(); };
      add_split(layer, tile.first_split + piece.split, piece.head, rows, table, own, *part(piece.split));
      // The thread that finishes the last split joins all of them.
      if (parts.done[piece.head].fetch_add(1, std::memory_order_acq_rel) + 1 < splits)
        return;
      parts.done[piece.head].store(0, std::memory_order_relaxed);
      total = part(0);
      for (int64_t split = 1; split < splits; ++split)
        join(kernel, *total, *part(split), rows);
    }
    for (int64_t row = 0; row < rows; ++row) {
      const int64_t query = tile.first + row / group;
      T *to = seen + (segment.first_row + query) * s.heads * s.head_dim + (piece.head * group + row % group) * s.head_dim;
      kernel.finish(total->out.get() + row * width, total->sums.get() + row * BLOCK, s.head_dim, to);
    }
  }

  // Asks for n numbers, which are read soon.
  static void fetch(const T *from, int64_t n) {
    constexpr int64_t line = 64 / sizeof(T);
    for (int64_t i = 0; i < n; i += line)
      __builtin_prefetch(from + i, 0, 2);
  }

  void join(const KernelsOf<T> &kernel, Sums &sums, const Sums &more, int64_t rows) const {
    kernel.join(sums.highest.data(), sums.sums.get(), sums.out.get(), more.highest.data(), more.sums.get(), more.out.get(),
                rows, width);
  }

  // Computes the softmax state of the rows in own.q over one split of the keys, in steps of SPAN keys.
  void add_split(int64_t layer, int64_t split, int64_t head, int64_t rows, const int32_t *table, Scratch<T> &own,
                 Sums &to) const {
    const auto &kernel = kernels_of<T>();
    const float scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(s.head_dim)));
    to.clear(rows, width);
    const int64_t first = *std::min_element(own.first.begin(), own.first.begin() + rows);
    const int64_t last = *std::max_element(own.last.begin(), own.last.begin() + rows);
    const int64_t end = std::min(last, (split + 1) * SPLIT);
    // A few rows wait for memory: pages lie apart, so the processor does not fetch the next ones by itself.
    const bool few = rows < FEW_ROWS;
    const auto fetch_keys = [&](int64_t start) {
      for (int64_t token = start; few && token < std::min(end, start + SPAN); token += BLOCK)
        fetch(key_page(layer, table[token / BLOCK], head), s.head_dim * BLOCK);
    };
    const int64_t begin = std::max(split * SPLIT, first / SPAN * SPAN);
    fetch_keys(begin);
    for (int64_t start = begin; start < end; start += SPAN) {
      const int64_t tokens = std::min(SPAN, end - start), count = blocks_of(tokens);
      for (int64_t page = 0; page < count; ++page) {
        own.keys[page] = key_page(layer, table[start / BLOCK + page], head);
        own.values[page] = value_page(layer, table[start / BLOCK + page], head);
      }
      for (int64_t row = 0; row < rows; ++row) {
        own.first_here[row] = own.first[row] - start;
        own.last_here[row] = own.last[row] - start;
      }
      for (int64_t page = 0; few && page < count; ++page)
        fetch(own.values[page], width * BLOCK);
      kernel.scores(own.q.get(), rows, own.keys.data(), count, s.head_dim, own.scores.get(), own.LDS);
      kernel.softmax(own.scores.get(), own.LDS, rows, count * BLOCK, scale, own.first_here.data(), own.last_here.data(),
                     to.highest.data(), to.sums.get(), to.out.get(), width);
      fetch_keys(start + SPAN);
      kernel.weigh(own.scores.get(), own.LDS, rows, own.values.data(), tokens, width, to.out.get());
    }
  }

  const TxDecoderShape s;
  const int64_t group, width;
  std::vector<Layer<T>> layers;
  const at::Tensor embedding, norm, cosine, sine;
  const Packed<T> head;
  const Memory<T> keys, values;
};

} // namespace

extern "C" {

char *tx_decoder_new(void **out, const TxDecoderShape *shape, const TxDecoderLayer *layers, const tensor embedding,
                     const tensor norm, const tensor head, const tensor cosine, const tensor sine) {
  return guarded([&] {
    TORCH_CHECK(embedding->device().is_cpu(), "the packed decoder runs on a processor only");
    if (embedding->scalar_type() == at::kFloat)
      *out = static_cast<Decoder *>(new DecoderOf<float>(*shape, layers, *embedding, *norm, *head, *cosine, *sine));
    else if (embedding->scalar_type() == at::kBFloat16)
      *out = static_cast<Decoder *>(new DecoderOf<herd::bf16>(*shape, layers, *embedding, *norm, *head, *cosine, *sine));
    else
      TORCH_CHECK(false, "the packed decoder takes float32 and bfloat16");
  });
}

void tx_decoder_free(void *decoder) { delete static_cast<Decoder *>(decoder); }

char *tx_decoder_forward(void *decoder, const int64_t *ids, int64_t rows, const TxSegment *segments, int64_t count,
                         const int32_t *pages, const int64_t *wanted, int64_t wanted_count, float *logits,
                         float *hidden) {
  return guarded([&] {
    static_cast<Decoder *>(decoder)->forward(ids, rows, segments, count, pages, wanted, wanted_count, logits, hidden);
  });
}

void tx_decoder_copy_page(void *decoder, int64_t from, int64_t to) {
  static_cast<Decoder *>(decoder)->copy_page(from, to);
}

const char *tx_decoder_level() { return herd::level_name(); }
}
