// Benchmarks the decoder's matrix products on one core: GFLOP/s, and the share of the core's multiply-add rate in registers, which
// the same run measures.
//
//     cd crates/torch-ext && g++ -std=c++17 -O3 -Wno-psabi -march=x86-64-v3 -DLEVEL=v3 -Icpp benches/kernels.cpp \
//         cpp/decoder_kernels.cpp -o /tmp/kernels && /tmp/kernels
//
// For AVX-512: -march=x86-64-v4 -mprefer-vector-width=512 -DLEVEL=v4. The matrix has the shape of SmolLM2-135M's gate and up
// projections together, [3072, 576].

#include "decoder_kernels.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

namespace {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float vec __attribute__((vector_size(4 * LANES)));

template <typename Work> double billions(double operations, const Work &work) {
  double best = 0;
  for (int repeat = 0; repeat < 7; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, operations / seconds.count() / 1e9);
  }
  return best;
}

// GFLOP/s of ten independent chains of multiply-adds in registers, without loads.
double limit() {
  constexpr int64_t times = 20'000'000;
  return billions(10.0 * LANES * 2 * times, [] {
    vec sums[10] = {};
    vec factor = vec{} + 0.5f;
    for (int64_t i = 0; i < times; ++i) {
      asm volatile("" : "+x"(factor));
#pragma GCC unroll 10
      for (int chain = 0; chain < 10; ++chain)
        sums[chain] = sums[chain] * factor + factor;
    }
    for (vec &sum : sums)
      asm volatile("" : "+x"(sum));
  });
}

template <typename T> double product(const herd::KernelsOf<T> &kernels, int64_t rows) {
  constexpr int64_t n = 3072, k = 576;
  std::vector<T> weights(n * k), blocks(n * k), x(rows * k), out(rows * n);
  for (int64_t block = 0; block < n / herd::BLOCK; ++block)
    kernels.pack(weights.data(), n, k, block, blocks.data() + block * herd::BLOCK * k);
  const herd::Matrix<T> matrix{blocks.data(), nullptr, n, k};
  const int64_t times = std::max<int64_t>(10, 640 / rows);
  return billions(2.0 * rows * n * k * times, [&] {
    for (int64_t i = 0; i < times; ++i)
      kernels.linear(x.data(), k, rows, matrix, 0, n / herd::BLOCK, out.data(), n);
  });
}

} // namespace

int main() {
  const herd::Kernels &kernels = herd::JOIN(kernels_, LEVEL);
  const double most = limit();
  std::printf("level %s, one core: %.0f GFLOP/s of multiply-add\n| rows | f32 | of the limit | bf16 | of the limit |\n"
              "|---|---|---|---|---|\n",
              kernels.level, most);
  for (const int64_t rows : {1, 2, 4, 16, 64}) {
    const double single = product(kernels.f32, rows), half = product(kernels.half, rows);
    std::printf("| %d | %.1f | %.2f | %.1f | %.2f |\n", static_cast<int>(rows), single, single / most, half, half / most);
  }
}
