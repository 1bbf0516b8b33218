// The operators between a decoder's matrix products, each in one pass over memory: RMSNorm, SwiGLU's gate, rotary embedding; and
// the softmax cross-entropy of logits. For float32 and bfloat16 on a CPU, and on a GPU if own kernels compile for it (gpu.h) and
// `own` is set; all other tensors use the plain formula. In bfloat16, forward passes round where the plain formula rounds;
// backward passes round once.

#include "common.h"
#include "gpu.h"
#include "kernels.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

// One compiled copy for each instruction-set level; the dynamic linker chooses the copy.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

namespace {

using bf16 = uint16_t;

INLINE float bits_to_float(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

INLINE uint32_t float_to_bits(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  return bits;
}

INLINE float wide(float x) { return x; }
INLINE float wide(bf16 x) { return bits_to_float(static_cast<uint32_t>(x) << 16); }

INLINE void put(float &out, float x) { out = x; }
INLINE void put(bf16 &out, float x) {
  const uint32_t bits = float_to_bits(x);
  const uint32_t nearest_even = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  out = static_cast<bf16>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : nearest_even);
}

// x rounded to type T.
template <typename T> INLINE float rounded(float x) {
  T narrow;
  put(narrow, x);
  return wide(narrow);
}

// e^x to 2 units in the last place (the polynomial of Cephes' expf), in arithmetic that compilers can vectorize.
INLINE float exponential(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  const int32_t n = static_cast<int32_t>(x * 1.44269504f + (x >= 0.0f ? 0.5f : -0.5f));
  const float k = static_cast<float>(n);
  const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * bits_to_float(static_cast<uint32_t>(n + 127) << 23);
}

// RMSNorm of rows [begin, end) of width n.
template <typename T>
INLINE void norm_rows(const T *x, const T *w, T *y, float *scale, int64_t begin, int64_t end, int64_t n, float eps) {
  for (int64_t row = begin; row < end; ++row) {
    const T *in = x + row * n;
    T *out = y + row * n;
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i)
      sum += wide(in[i]) * wide(in[i]);
    const float s = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
    scale[row] = s;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      put(out[i], rounded<T>(wide(in[i]) * s) * wide(w[i]));
  }
}

// Gradients of norm_rows: adds to gw (float32), writes gx. Either may be null.
template <typename T>
INLINE void norm_rows_backward(const T *g, const T *x, const T *w, const float *scale, T *gx, float *gw, int64_t begin,
                               int64_t end, int64_t n) {
  for (int64_t row = begin; row < end; ++row) {
    const T *in = x + row * n, *grad = g + row * n;
    const float s = scale[row];
    if (gw) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i)
        gw[i] += wide(grad[i]) * rounded<T>(wide(in[i]) * s);
    }
    if (gx) {
      T *out = gx + row * n;
      float dot = 0;
#pragma omp simd reduction(+ : dot)
      for (int64_t i = 0; i < n; ++i)
        dot += wide(grad[i]) * wide(w[i]) * wide(in[i]);
      const float c = dot * s * s * s / static_cast<float>(n);
#pragma omp simd
      for (int64_t i = 0; i < n; ++i)
        put(out[i], wide(grad[i]) * wide(w[i]) * s - wide(in[i]) * c);
    }
  }
}

template <typename T> INLINE void gate_range(const T *a, const T *b, T *y, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float x = wide(a[i]);
    put(y[i], rounded<T>(x / (1.0f + exponential(-x))) * wide(b[i]));
  }
}

template <typename T>
INLINE void gate_range_backward(const T *g, const T *a, const T *b, T *ga, T *gb, int64_t begin, int64_t end) {
#pragma omp simd
  for (int64_t i = begin; i < end; ++i) {
    const float x = wide(a[i]), grad = wide(g[i]);
    const float sigmoid = 1.0f / (1.0f + exponential(-x));
    put(gb[i], grad * x * sigmoid);
    put(ga[i], grad * wide(b[i]) * sigmoid * (1.0f + x * (1.0f - sigmoid)));
  }
}

// softmax_cross_entropy (kernels.h) of rows [begin, end) of n logits. Reads each row up to three times while it is in the cache.
template <typename T>
INLINE void cross_entropy_rows(T *z, const int64_t *label, const float *factor, float *nll, int64_t begin, int64_t end,
                               int64_t n) {
  for (int64_t row = begin; row < end; ++row) {
    T *at = z + row * n;
    float high = -INFINITY;
#pragma omp simd reduction(max : high)
    for (int64_t i = 0; i < n; ++i)
      high = wide(at[i]) > high ? wide(at[i]) : high;
    // float32 sums over blocks, added up in float64: one float32 sum over a whole vocabulary would lose digits.
    double total = 0;
    for (int64_t block = 0; block < n; block += 1024) {
      const int64_t stop = block + 1024 < n ? block + 1024 : n;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = block; i < stop; ++i)
        sum += exponential(wide(at[i]) - high);
      total += sum;
    }
    const bool counts = label[row] >= 0;
    nll[row] = counts ? (high - wide(at[label[row]])) + static_cast<float>(std::log(total)) : 0.0f;
    if (!factor)
      continue;
    const float f = counts ? factor[row] : 0.0f, share = static_cast<float>(f / total);
    const float target = counts ? wide(at[label[row]]) : 0.0f;
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      put(at[i], exponential(wide(at[i]) - high) * share);
    if (counts)
      put(at[label[row]], exponential(target - high) * share - f);
  }
}

// Rotary embedding of tokens [begin, end) of x [tokens, heads, 2 half]; cosine and sine are [tokens, 2 half].
template <typename T>
INLINE void rotate_tokens(const T *x, const T *cosine, const T *sine, T *y, int64_t begin, int64_t end, int64_t heads,
                          int64_t half) {
  for (int64_t token = begin; token < end; ++token) {
    const T *c = cosine + token * 2 * half, *s = sine + token * 2 * half;
    for (int64_t head = 0; head < heads; ++head) {
      const T *in = x + (token * heads + head) * 2 * half;
      T *out = y + (token * heads + head) * 2 * half;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const float a = wide(in[i]), b = wide(in[i + half]);
        put(out[i], rounded<T>(a * wide(c[i])) - rounded<T>(b * wide(s[i])));
        put(out[i + half], rounded<T>(b * wide(c[i + half])) + rounded<T>(a * wide(s[i + half])));
      }
    }
  }
}

template <typename T>
INLINE void rotate_tokens_backward(const T *g, const T *cosine, const T *sine, T *gx, int64_t begin, int64_t end,
                                   int64_t heads, int64_t half) {
  for (int64_t token = begin; token < end; ++token) {
    const T *c = cosine + token * 2 * half, *s = sine + token * 2 * half;
    for (int64_t head = 0; head < heads; ++head) {
      const T *in = g + (token * heads + head) * 2 * half;
      T *out = gx + (token * heads + head) * 2 * half;
#pragma omp simd
      for (int64_t i = 0; i < half; ++i) {
        const float a = wide(in[i]), b = wide(in[i + half]);
        put(out[i], a * wide(c[i]) + b * wide(s[i + half]));
        put(out[i + half], b * wide(c[i + half]) - a * wide(s[i]));
      }
    }
  }
}

} // namespace

// target_clones does not work on function templates, so each element type has plain functions.
namespace herd_kernels {

#define KERNELS(T)                                                                                                     \
  CLONES void norm(const T *x, const T *w, T *y, float *scale, int64_t begin, int64_t end, int64_t n, float eps) {     \
    norm_rows(x, w, y, scale, begin, end, n, eps);                                                                     \
  }                                                                                                                    \
  CLONES void norm_backward(const T *g, const T *x, const T *w, const float *scale, T *gx, float *gw, int64_t begin,   \
                            int64_t end, int64_t n) {                                                                  \
    norm_rows_backward(g, x, w, scale, gx, gw, begin, end, n);                                                         \
  }                                                                                                                    \
  CLONES void gate(const T *a, const T *b, T *y, int64_t begin, int64_t end) { gate_range(a, b, y, begin, end); }      \
  CLONES void gate_backward(const T *g, const T *a, const T *b, T *ga, T *gb, int64_t begin, int64_t end) {            \
    gate_range_backward(g, a, b, ga, gb, begin, end);                                                                  \
  }                                                                                                                    \
  CLONES void cross_entropy(T *z, const int64_t *label, const float *factor, float *nll, int64_t begin, int64_t end,    \
                            int64_t n) {                                                                               \
    cross_entropy_rows(z, label, factor, nll, begin, end, n);                                                          \
  }                                                                                                                    \
  CLONES void rotate(const T *x, const T *c, const T *s, T *y, int64_t begin, int64_t end, int64_t heads,              \
                     int64_t half) {                                                                                   \
    rotate_tokens(x, c, s, y, begin, end, heads, half);                                                                \
  }                                                                                                                    \
  CLONES void rotate_backward(const T *g, const T *c, const T *s, T *gx, int64_t begin, int64_t end, int64_t heads,    \
                              int64_t half) {                                                                          \
    rotate_tokens_backward(g, c, s, gx, begin, end, heads, half);                                                      \
  }

KERNELS(float)
KERNELS(bf16)

} // namespace herd_kernels

namespace {

using namespace herd_kernels;

template <typename T> T *data(const at::Tensor &t) { return static_cast<T *>(t.data_ptr()); }

// Calls body with a null pointer of the element type.
template <typename F> void by_type(const at::Tensor &t, F &&body) {
  if (t.scalar_type() == at::kFloat)
    body(static_cast<float *>(nullptr));
  else
    body(static_cast<bf16 *>(nullptr));
}

} // namespace

namespace herd {

bool fusable(const at::Tensor &x, const at::Tensor &other, bool own) {
  return x.numel() > 0 && x.scalar_type() == other.scalar_type() && x.device() == other.device() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) &&
         ((x.is_cpu() && !gpu::emulated()) || (own && gpu::takes(x)));
}

std::tuple<at::Tensor, at::Tensor> norm_forward(const at::Tensor &x, const at::Tensor &w, double eps) {
  const int64_t n = w.numel(), rows = x.numel() / n;
  auto y = at::empty_like(x);
  auto scale = at::empty({rows}, x.options().dtype(at::kFloat));
  if (gpu::takes(x)) {
    gpu::launch(gpu::Op::Norm, x, {x, w, y, scale}, {rows, n}, eps);
    return {y, scale};
  }
  by_type(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    at::parallel_for(0, rows, 1 + 16384 / n, [&](int64_t begin, int64_t end) {
      norm(data<T>(x), data<T>(w), data<T>(y), data<float>(scale), begin, end, n, static_cast<float>(eps));
    });
  });
  return {y, scale};
}

std::tuple<at::Tensor, at::Tensor> norm_gradients(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w,
                                                  const at::Tensor &scale, bool need_x, bool need_w) {
  const int64_t n = w.numel(), rows = x.numel() / n, parts = at::get_num_threads();
  at::Tensor gx, gw;
  if (need_x)
    gx = at::empty_like(x);
  if (gpu::takes(x)) {
    const int64_t strips = std::min<int64_t>((rows + 63) / 64, 256);
    if (need_w)
      gw = at::empty_like(w);
    const auto sums = at::empty({need_w ? strips : 0, n}, x.options().dtype(at::kFloat));
    gpu::launch(gpu::Op::NormBackward, x, {g, x, w, scale, gx, gw, sums}, {rows, n, strips});
    return {gx, gw};
  }
  // One sum per part of the rows; the parts are then added in order, so that every run gives the same bits.
  if (need_w)
    gw = at::zeros({parts, n}, x.options().dtype(at::kFloat));
  by_type(x, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    at::parallel_for(0, parts, 1, [&](int64_t first, int64_t last) {
      for (int64_t part = first; part < last; ++part)
        norm_backward(data<T>(g), data<T>(x), data<T>(w), data<float>(scale), gx.defined() ? data<T>(gx) : nullptr,
                      gw.defined() ? data<float>(gw) + part * n : nullptr, rows * part / parts,
                      rows * (part + 1) / parts, n);
    });
  });
  return {gx, gw.defined() ? gw.sum(0).to(w.scalar_type()) : gw};
}

at::Tensor gate_forward(const at::Tensor &a, const at::Tensor &b) {
  auto y = at::empty_like(a);
  if (gpu::takes(a)) {
    gpu::launch(gpu::Op::Gate, a, {a, b, y}, {a.numel()});
    return y;
  }
  by_type(a, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    at::parallel_for(0, a.numel(), 16384, [&](int64_t begin, int64_t end) {
      gate(data<T>(a), data<T>(b), data<T>(y), begin, end);
    });
  });
  return y;
}

std::tuple<at::Tensor, at::Tensor> gate_gradients(const at::Tensor &g, const at::Tensor &a, const at::Tensor &b) {
  auto ga = at::empty_like(a), gb = at::empty_like(b);
  if (gpu::takes(a)) {
    gpu::launch(gpu::Op::GateBackward, a, {g, a, b, ga, gb}, {a.numel()});
    return {ga, gb};
  }
  by_type(a, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    at::parallel_for(0, a.numel(), 16384, [&](int64_t begin, int64_t end) {
      gate_backward(data<T>(g), data<T>(a), data<T>(b), data<T>(ga), data<T>(gb), begin, end);
    });
  });
  return {ga, gb};
}

void softmax_cross_entropy(at::Tensor &z, const at::Tensor &labels, const at::Tensor &factor, at::Tensor &nll) {
  const int64_t n = z.size(1);
  if (gpu::takes(z)) {
    gpu::launch(gpu::Op::CrossEntropy, z, {z, labels, factor, nll}, {z.size(0), n});
    return;
  }
  by_type(z, [&](auto *type) {
    using T = std::remove_pointer_t<decltype(type)>;
    at::parallel_for(0, z.size(0), 1, [&](int64_t begin, int64_t end) {
      cross_entropy(data<T>(z), data<int64_t>(labels), factor.defined() ? data<float>(factor) : nullptr,
                    data<float>(nll), begin, end, n);
    });
  });
}

} // namespace herd

namespace {

using herd::fusable;

struct Norm : torch::autograd::Function<Norm> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &input, const at::Tensor &weight,
                            double eps) {
    const Plain plain;
    const auto x = input.contiguous(), w = weight.contiguous();
    const auto [y, scale] = herd::norm_forward(x, w, eps);
    ctx->save_for_backward({x, w, scale});
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    const auto [gx, gw] = herd::norm_gradients(grads[0].contiguous(), saved[0], saved[1], saved[2],
                                               ctx->needs_input_grad(0), ctx->needs_input_grad(1));
    return {gx, gw, {}};
  }
};

struct Gate : torch::autograd::Function<Gate> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &gate_in, const at::Tensor &up) {
    const Plain plain;
    const auto a = gate_in.contiguous(), b = up.contiguous();
    ctx->save_for_backward({a, b});
    return herd::gate_forward(a, b);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    const auto [ga, gb] = herd::gate_gradients(grads[0].contiguous(), saved[0], saved[1]);
    return {ga, gb};
  }
};

struct Rotate : torch::autograd::Function<Rotate> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &input, const at::Tensor &cosine,
                            const at::Tensor &sine) {
    const Plain plain;
    ctx->save_for_backward({cosine.contiguous(), sine.contiguous()});
    return over_tokens(input.contiguous(), cosine.contiguous(), sine.contiguous(), false);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    return {over_tokens(grads[0].contiguous(), saved[0], saved[1], true), {}, {}};
  }

  static at::Tensor over_tokens(const at::Tensor &x, const at::Tensor &c, const at::Tensor &s, bool back) {
    const int64_t tokens = x.size(0) * x.size(1), heads = x.size(2), half = x.size(3) / 2;
    auto y = at::empty_like(x);
    if (herd::gpu::takes(x)) {
      herd::gpu::launch(back ? herd::gpu::Op::RotateBackward : herd::gpu::Op::Rotate, x, {x, c, s, y}, {tokens, heads, half});
      return y;
    }
    by_type(x, [&](auto *type) {
      using T = std::remove_pointer_t<decltype(type)>;
      at::parallel_for(0, tokens, 1 + 16384 / (heads * half * 2), [&](int64_t begin, int64_t end) {
        if (back)
          rotate_backward(data<T>(x), data<T>(c), data<T>(s), data<T>(y), begin, end, heads, half);
        else
          rotate(data<T>(x), data<T>(c), data<T>(s), data<T>(y), begin, end, heads, half);
      });
    });
    return y;
  }
};

} // namespace

extern "C" {

char *tx_rms_norm(tensor out, const tensor x, const tensor weight, double eps, bool own) {
  return guarded([&] {
    TORCH_CHECK(weight->dim() == 1 && x->dim() >= 1 && x->size(-1) == weight->size(0), "rms_norm of ", x->sizes(),
                " with a weight of ", weight->sizes());
    if (fusable(*x, *weight, own)) {
      *out = Norm::apply(*x, *weight, eps);
      return;
    }
    const auto wide = x->to(at::kFloat);
    const auto normal = wide * at::rsqrt((wide * wide).mean(-1, true) + eps);
    *out = normal.to(x->scalar_type()) * *weight;
  });
}

char *tx_silu_gate(tensor out, const tensor gate, const tensor up, bool own) {
  return guarded([&] {
    *out = fusable(*gate, *up, own) && gate->sizes() == up->sizes() ? Gate::apply(*gate, *up) : at::silu(*gate) * *up;
  });
}

char *tx_rotate_half(tensor out, const tensor x, const tensor cosine, const tensor sine, bool own) {
  return guarded([&] {
    const bool fits = x->dim() == 4 && cosine->dim() == 4 && cosine->sizes() == sine->sizes() && x->size(3) % 2 == 0 &&
                      cosine->size(0) == x->size(0) && cosine->size(1) == x->size(1) && cosine->size(2) == 1 &&
                      cosine->size(3) == x->size(3);
    if (fits && fusable(*x, *cosine, own) && fusable(*x, *sine, own)) {
      *out = Rotate::apply(*x, *cosine, *sine);
      return;
    }
    const auto halves = x->chunk(2, -1);
    *out = *x * *cosine + at::cat({-halves[1], halves[0]}, -1) * *sine;
  });
}
}
