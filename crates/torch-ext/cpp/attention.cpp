// Attention of rows that hold several texts back to back, for training on a processor: one operator for the whole row, so
// that gradients are written in place, with the arithmetic in float32.

#include "common.h"
#include "kernels.h"

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Tokens [start, start + length) see themselves causally, and all of [shared, shared + before).
struct Segment {
  int64_t start, length, shared, before;
};

std::vector<Segment> read(const std::vector<int64_t> &flat) {
  std::vector<Segment> segments;
  for (size_t i = 0; i + 3 < flat.size(); i += 4)
    segments.push_back({flat[i], flat[i + 1], flat[i + 2], flat[i + 3]});
  return segments;
}

// [1, heads, length, width] in float32 of x [tokens, heads, width]
at::Tensor part(const at::Tensor &x, int64_t start, int64_t length) {
  return x.narrow(0, start, length).to(at::kFloat).transpose(0, 1).unsqueeze(0);
}

// Keys or values that a segment sees.
at::Tensor seen(const at::Tensor &x, const Segment &s) {
  const auto own = part(x, s.start, s.length);
  return s.before ? at::cat({part(x, s.shared, s.before), own}, 2) : own;
}

std::optional<at::Tensor> mask(const Segment &s) {
  if (!s.before)
    return std::nullopt;
  const auto hidden = at::full({s.length, s.before + s.length}, -std::numeric_limits<float>::infinity());
  return hidden.triu(s.before + 1);
}

// Calls body for every segment, those that share keys in one thread; over threads where that keeps them all busy.
template <typename F> void over_segments(const std::vector<Segment> &segments, F &&body) {
  std::vector<std::pair<size_t, size_t>> families;
  std::vector<int64_t> work;
  for (size_t i = 0; i < segments.size(); ++i) {
    if (families.empty() || !segments[i].before) {
      families.emplace_back(i, i);
      work.push_back(0);
    }
    ++families.back().second;
    work.back() += segments[i].length * (segments[i].length + 2 * segments[i].before);
  }
  const size_t threads = at::get_num_threads();
  const auto total = std::accumulate(work.begin(), work.end(), int64_t{0});
  const auto largest = work.empty() ? 0 : *std::max_element(work.begin(), work.end());
  if (threads == 1 || largest * static_cast<int64_t>(threads) * 2 > total) {
    for (const auto &segment : segments)
      body(segment);
    return;
  }
  // The largest first, each to the thread that has least.
  std::vector<size_t> order(families.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return work[a] > work[b]; });
  std::vector<std::vector<size_t>> shares(threads);
  std::vector<int64_t> load(threads);
  for (const auto family : order) {
    const auto least = std::min_element(load.begin(), load.end()) - load.begin();
    shares[least].push_back(family);
    load[least] += work[family];
  }
  at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    // What a thread is told about gradients is not told to the others.
    const at::AutoDispatchBelowADInplaceOrView no_autograd;
    for (int64_t thread = begin; thread < end; ++thread)
      for (const auto family : shares[thread])
        for (size_t i = families[family].first; i < families[family].second; ++i)
          body(segments[i]);
  });
}

// x [tokens, kv_heads, width] with each head repeated for the queries that share it
at::Tensor repeated(const at::Tensor &x, int64_t group) {
  return group == 1 ? x.contiguous() : x.repeat_interleave(group, 1);
}

at::Tensor summed(const at::Tensor &x, int64_t group) {
  return group == 1 ? x : x.view({x.size(0), x.size(1) / group, group, x.size(2)}).sum(2);
}

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            const std::vector<int64_t> &flat) {
    const auto group = q.size(1) / k.size(1);
    const auto queries = q.contiguous(), keys = repeated(k, group), values = repeated(v, group);
    auto out = at::zeros_like(queries);
    auto normaliser = at::zeros({q.size(0), q.size(1)}, q.options().dtype(at::kFloat));
    over_segments(read(flat), [&](const Segment &s) {
      const auto [o, l] = at::_scaled_dot_product_flash_attention_for_cpu(
          part(queries, s.start, s.length), seen(keys, s), seen(values, s), 0.0, !s.before, mask(s));
      out.narrow(0, s.start, s.length).copy_(o.squeeze(0).transpose(0, 1));
      normaliser.narrow(0, s.start, s.length).copy_(l.squeeze(0).transpose(0, 1));
    });
    ctx->save_for_backward({queries, k, v, out, normaliser});
    ctx->saved_data["segments"] = flat;
    return out;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto &q = saved[0], &out = saved[3], &normaliser = saved[4];
    const auto group = q.size(1) / saved[1].size(1);
    const auto keys = repeated(saved[1], group), values = repeated(saved[2], group), g = grads[0].contiguous();
    auto gq = at::zeros_like(q), gk = at::zeros_like(q), gv = at::zeros_like(q);
    const auto add = [](at::Tensor &sum, const at::Tensor &gradient, const Segment &s) {
      const auto turned = gradient.squeeze(0).transpose(0, 1);
      sum.narrow(0, s.start, s.length).add_(turned.narrow(0, s.before, s.length));
      if (s.before)
        sum.narrow(0, s.shared, s.before).add_(turned.narrow(0, 0, s.before));
    };
    over_segments(read(ctx->saved_data["segments"].toIntVector()), [&](const Segment &s) {
      const auto l = normaliser.narrow(0, s.start, s.length).transpose(0, 1).unsqueeze(0);
      const auto [dq, dk, dv] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          part(g, s.start, s.length), part(q, s.start, s.length), seen(keys, s), seen(values, s),
          part(out, s.start, s.length), l, 0.0, !s.before, mask(s));
      gq.narrow(0, s.start, s.length).copy_(dq.squeeze(0).transpose(0, 1));
      add(gk, dk, s);
      add(gv, dv, s);
    });
    return {gq, summed(gk, group), summed(gv, group), {}};
  }
};

} // namespace

extern "C" {

// q is [tokens, heads, width], k and v [tokens, kv_heads, width]; four numbers a segment: start, length, shared, before.
char *tx_segment_attention(tensor out, const tensor q, const tensor k, const tensor v, const int64_t *segments,
                           size_t count) {
  return guarded([&] {
    TORCH_CHECK(q->dim() == 3 && k->sizes() == v->sizes() && k->dim() == 3 && q->size(1) % k->size(1) == 0,
                "attention of queries ", q->sizes(), " over keys ", k->sizes(), " and values ", v->sizes());
    for (size_t i = 0; i < count; ++i)
      TORCH_CHECK(segments[4 * i] + segments[4 * i + 1] <= q->size(0), "a segment ends behind the last token");
    *out = Attention::apply(*q, *k, *v, std::vector<int64_t>(segments, segments + 4 * count));
  });
}

// Moves the gradient of a leaf out of it; undefined if there is none.
char *tx_take_grad(tensor out, const tensor leaf) {
  return guarded([&] {
    *out = leaf->mutable_grad();
    leaf->mutable_grad() = at::Tensor();
  });
}
}
