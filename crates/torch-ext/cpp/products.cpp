// See products.h. There are three ways to compute a product:
// - own: float32 at level v3 (AVX2), with the tiles of attention, see `own_products`. Each element of the result is one sum in
//   ascending order, in blocks of DEPTH terms, so its bits do not depend on the number of threads or on the other rows.
// - oneDNN: float32 at the other levels, and products with few rows.
// - libtorch: all other types.

#include "products.h"

#include "common.h"
#include "levels.h"

#include <ATen/Parallel.h>

#include <algorithm>

namespace {

using herd::BLOCK;
using herd::Factor;
using herd::Product;

// Terms of a block of a sum: a panel of 16 columns has 16 KB, half of the L1 cache.
constexpr int64_t DEPTH = 256;
// Columns of the right factor that are packed at a time (1 MB), and most rows of the left factor in one task (98 KB).
constexpr int64_t WIDTH = 1024, ROWS = 96;
// Rows of a tile at AVX2.
constexpr int64_t TILE = 6;
// With fewer rows, packing the right factor takes too large a share of the time.
constexpr int64_t FEWEST_ROWS = 48;

int64_t rows_of(const Factor &f) { return f.matrix.size(f.transposed ? 1 : 0); }
int64_t columns_of(const Factor &f) { return f.matrix.size(f.transposed ? 0 : 1); }
int64_t blocks_of(int64_t n, int64_t block) { return (n + block - 1) / block; }

at::Tensor read(const Factor &f) { return f.transposed ? f.matrix.t() : f.matrix; }


// Whether the own tiles compute the product. They are used where they were measured, at AVX2 (docs/decisions.md, 99).
bool is_own(const Product &p) {
  return uses_onednn(p.left.matrix, p.right.matrix) && herd::level().tiles_multiply && rows_of(p.left) >= FEWEST_ROWS && columns_of(p.right) >= BLOCK &&
         (!p.out.defined() || (p.out.scalar_type() == at::kFloat && p.out.is_contiguous()));
}

void by_onednn(Product &p) {
  const auto left = read(p.left).contiguous();
  const auto right = (p.right.transposed ? p.right.matrix : p.right.matrix.t()).contiguous();
  const auto result = onednn_linear(left, right, std::nullopt);
  if (!p.out.defined())
    p.out = result;
  else if (p.add)
    p.out.add_(result);
  else
    p.out.copy_(result);
}

void by_libtorch(Product &p) {
  const auto left = read(p.left), right = read(p.right);
  if (!p.out.defined())
    p.out = at::mm(left, right);
  else if (!p.add)
    p.out.copy_(at::mm(left, right));
  else if (p.out.scalar_type() == left.scalar_type())
    p.out.addmm_(left, right);
  else
    p.out.add_(at::mm(left, right));
}

// Where an own product reads and writes: `left` and `right` with their row strides, `out` [m, n] contiguous.
struct Task {
  const float *left, *right;
  int64_t left_stride, right_stride, m, n, k;
  bool left_transposed, right_transposed, add;
  float *out;
};

// Packs columns [first + 16 panel, ...) of the right factor, terms [start, start + terms), into `to` [terms][16].
void pack(const Task &t, int64_t first, int64_t panel, int64_t start, int64_t terms, float *to) {
  const auto &kernels = herd::level().attention->f32;
  const int64_t column = first + panel * BLOCK, columns = std::min(BLOCK, t.n - column);
  if (t.right_transposed)
    kernels.transposed(t.right + column * t.right_stride + start, t.right_stride, columns, terms, to);
  else
    kernels.panels(t.right + start * t.right_stride + column, t.right_stride, terms, columns, to, 0);
}

// A matrix whose rows are contiguous.
at::Tensor dense(const at::Tensor &matrix) {
  return matrix.stride(1) == 1 || matrix.size(1) == 1 ? matrix : matrix.contiguous();
}

Task task(Product &p) {
  p.left.matrix = dense(p.left.matrix);
  p.right.matrix = dense(p.right.matrix);
  const int64_t m = rows_of(p.left), n = columns_of(p.right), k = columns_of(p.left);
  if (!p.out.defined()) {
    p.out = at::empty({m, n}, p.left.matrix.options());
    p.add = false;
  }
  return {p.left.matrix.const_data_ptr<float>(), p.right.matrix.const_data_ptr<float>(), p.left.matrix.stride(0),
          p.right.matrix.stride(0), m, n, k, p.left.transposed, p.right.transposed, p.add, p.out.mutable_data_ptr<float>()};
}

// Whether both tasks have the same right factor, which is then packed once, and results of their own.
bool same_right(const Task &a, const Task &b) {
  return a.out != b.out && a.right == b.right && a.right_stride == b.right_stride && a.right_transposed == b.right_transposed && a.n == b.n && a.k == b.k;
}

// Rows [row, row + rows) of a task.
struct RowBlock {
  const Task *task;
  int64_t row, rows;
};

// Each thread gets as many blocks of a task as the others. All but the last have whole tiles.
void add_blocks(const Task &task, int64_t threads, std::vector<RowBlock> &blocks) {
  const int64_t count = blocks_of(blocks_of(task.m, ROWS), threads) * threads;
  const int64_t rows = std::min(ROWS, blocks_of(blocks_of(task.m, count), TILE) * TILE);
  for (int64_t row = 0; row < task.m; row += rows)
    blocks.push_back({&task, row, std::min(rows, task.m - row)});
}

// Adds the terms [start, start + terms) to a block's columns [first, first + columns). `copy` is memory of this thread.
void compute(const RowBlock &block, int64_t first, int64_t columns, int64_t start, int64_t terms, const float *packed,
             std::vector<float> &copy) {
  const Task &t = *block.task;
  const int64_t rows = block.rows;
  // Element (row, term) lies at left[row * by_row + term * by_term]. Parts of longer rows are copied, since cache lines and pages far
  // apart are slow to read again for each panel.
  const float *left = t.left + block.row * t.left_stride + start;
  int64_t by_row = terms, by_term = 1;
  if (t.left_transposed) {
    copy.resize(ROWS * DEPTH);
    for (int64_t i = 0; i < terms; ++i)
      std::copy_n(t.left + (start + i) * t.left_stride + block.row, rows, copy.data() + i * rows);
    left = copy.data();
    by_row = 1;
    by_term = rows;
  } else if (t.left_stride != terms) {
    copy.resize(ROWS * DEPTH);
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(left + row * t.left_stride, terms, copy.data() + row * terms);
    left = copy.data();
  }
  const auto multiply = herd::level().attention->product;
  const int64_t whole = columns / BLOCK, rest = columns % BLOCK;
  const bool add = t.add || start > 0;
  float *out = t.out + block.row * t.n + first;
  multiply(left, by_row, by_term, rows, packed, DEPTH * BLOCK, BLOCK, whole, terms, out, t.n, add);
  if (rest == 0)
    return;
  // The last panel has fewer columns than a tile.
  float panel[ROWS * BLOCK];
  out += whole * BLOCK;
  for (int64_t row = 0; add && row < rows; ++row)
    std::copy_n(out + row * t.n, rest, panel + row * BLOCK);
  multiply(left, by_row, by_term, rows, packed + whole * DEPTH * BLOCK, 0, BLOCK, 1, terms, panel, BLOCK, add);
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(panel + row * BLOCK, rest, out + row * t.n);
}

// Computes products with the own tiles, in one parallel region.
void own_products(const std::vector<Task> &tasks) {
  if (tasks.empty())
    return;
  const int threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  std::vector<std::vector<RowBlock>> groups;
  int64_t widest = 0;
  for (size_t i = 0; i < tasks.size(); ++i) {
    if (i == 0 || !same_right(tasks[i - 1], tasks[i]))
      groups.emplace_back();
    add_blocks(tasks[i], threads, groups.back());
    widest = std::max(widest, std::min(blocks_of(tasks[i].n, BLOCK) * BLOCK, WIDTH));
  }
  const auto packed = at::empty({widest * DEPTH}, at::kFloat);
  float *const panels = packed.mutable_data_ptr<float>();
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> copy;
    for (const auto &blocks : groups) {
      const Task &task = *blocks[0].task;
      for (int64_t first = 0; first < task.n; first += WIDTH)
        for (int64_t start = 0; start < task.k; start += DEPTH) {
          const int64_t columns = std::min(WIDTH, task.n - first), terms = std::min(DEPTH, task.k - start);
#pragma omp for schedule(static)
          for (int64_t panel = 0; panel < blocks_of(columns, BLOCK); ++panel)
            pack(task, first, panel, start, terms, panels + panel * DEPTH * BLOCK);
#pragma omp for schedule(dynamic)
          for (size_t i = 0; i < blocks.size(); ++i)
            compute(blocks[i], first, columns, start, terms, panels, copy);
        }
    }
  }
}

} // namespace

namespace herd {

void multiply(std::vector<Product> &products) {
  std::vector<Task> tasks;
  for (auto &p : products) {
    TORCH_CHECK(columns_of(p.left) == rows_of(p.right), "a product of ", p.left.matrix.sizes(), p.left.transposed ? " transposed" : "",
                " and ", p.right.matrix.sizes(), p.right.transposed ? " transposed" : "");
    if (is_own(p))
      tasks.push_back(task(p));
    else {
      own_products(tasks);
      tasks.clear();
      uses_onednn(p.left.matrix, p.right.matrix) ? by_onednn(p) : by_libtorch(p);
    }
  }
  own_products(tasks);
}

at::Tensor sum_of(std::vector<Product> &products) {
  if (products.empty())
    return {};
  std::vector<Product> first{products[0]};
  multiply(first);
  std::vector<Product> rest(products.begin() + 1, products.end());
  for (auto &p : rest) {
    p.out = first[0].out;
    p.add = true;
  }
  multiply(rest);
  return first[0].out;
}

bool copies_untransposed(const at::Tensor &left, const at::Tensor &right) {
  return uses_onednn(left, right) && !level().tiles_multiply;
}

at::Tensor times_transposed(const at::Tensor &x, const at::Tensor &w) {
  std::vector<Product> products{{{x}, {w, true}}};
  multiply(products);
  return products[0].out;
}

} // namespace herd

extern "C" {

bool tx_multiplies_transposed() { return herd::level_or_none().tiles_multiply; }
}
