// Attention over packed rows for training on a CPU: range_attention.h as one autograd operator for the whole row. No tensor has
// the size of queries times keys.

#include "common.h"
#include "levels.h"
#include "range_attention.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// `segments` has four numbers per segment (query, length, position, number of spans), `spans` three per span (key, length,
// position).
herd::AttentionPlan plan_of(const at::Tensor &q, const at::Tensor &k, const std::vector<int64_t> &segments,
                            const std::vector<int64_t> &spans, int64_t window) {
  std::vector<herd::RangeSegment> list;
  size_t at = 0;
  for (size_t i = 0; i + 3 < segments.size(); i += 4) {
    list.push_back({segments[i], segments[i + 1], segments[i + 2], {}});
    for (int64_t j = 0; j < segments[i + 3]; ++j, at += 3) {
      TORCH_CHECK(at + 2 < spans.size(), "a segment has more ranges of keys than there are");
      list.back().spans.push_back({spans[at], spans[at + 1], spans[at + 2]});
    }
  }
  return {{q.size(0), k.size(0), q.size(1), k.size(1), q.size(2), window}, std::move(list)};
}

// Number of threads for a kernel: one inside of a parallel region.
int threads() { return at::in_parallel_region() ? 1 : at::get_num_threads(); }

template <typename T> const T *numbers_of(const at::Tensor &x) { return static_cast<const T *>(x.const_data_ptr()); }
template <typename T> T *place_of(at::Tensor &x) { return static_cast<T *>(x.mutable_data_ptr()); }

template <typename T>
void forward_of(const herd::AttentionPlan &plan, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                at::Tensor &out, at::Tensor &normaliser) {
  herd::attention_forward<T>(*herd::level().attention, plan, numbers_of<T>(q), numbers_of<T>(k), numbers_of<T>(v),
                             place_of<T>(out), place_of<float>(normaliser), threads());
}

template <typename T>
void backward_of(const herd::AttentionPlan &plan, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                 const at::Tensor &out, const at::Tensor &normaliser, const at::Tensor &g, at::Tensor &gq, at::Tensor &gk,
                 at::Tensor &gv) {
  herd::attention_backward<T>(*herd::level().attention, plan, numbers_of<T>(q), numbers_of<T>(k), numbers_of<T>(v),
                              numbers_of<T>(out), numbers_of<float>(normaliser), numbers_of<T>(g), place_of<float>(gq),
                              place_of<T>(gk), place_of<T>(gv), threads());
}

struct Attention : torch::autograd::Function<Attention> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            const std::vector<int64_t> &segments, const std::vector<int64_t> &spans, int64_t window) {
    const Plain plain;
    const auto queries = q.contiguous(), keys = k.contiguous(), values = v.contiguous();
    const auto plan = plan_of(q, k, segments, spans, window);
    auto out = at::zeros_like(queries);
    auto normaliser = at::empty({q.size(0), q.size(1)}, q.options().dtype(at::kFloat)).fill_(1e30);
    if (q.scalar_type() == at::kFloat)
      forward_of<float>(plan, queries, keys, values, out, normaliser);
    else
      forward_of<herd::bf16>(plan, queries, keys, values, out, normaliser);
    ctx->save_for_backward({queries, keys, values, out, normaliser});
    ctx->saved_data["segments"] = segments;
    ctx->saved_data["spans"] = spans;
    ctx->saved_data["window"] = window;
    return out;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &normaliser = saved[4];
    const auto plan = plan_of(q, k, ctx->saved_data["segments"].toIntVector(), ctx->saved_data["spans"].toIntVector(),
                              ctx->saved_data["window"].toInt());
    const auto g = grads[0].to(q.scalar_type()).contiguous();
    auto gq = at::zeros_like(q, q.options().dtype(at::kFloat)), gk = at::zeros_like(k), gv = at::zeros_like(v);
    if (q.scalar_type() == at::kFloat)
      backward_of<float>(plan, q, k, v, out, normaliser, g, gq, gk, gv);
    else
      backward_of<herd::bf16>(plan, q, k, v, out, normaliser, g, gq, gk, gv);
    return {gq.to(q.scalar_type()), gk, gv, {}, {}, {}};
  }
};

} // namespace

extern "C" {

// q is [queries, heads, width], k and v are [keys, kv_heads, width]; for segments and spans see plan_of; window 0 means none.
char *tx_range_attention(tensor out, const tensor q, const tensor k, const tensor v, const int64_t *segments, size_t count,
                         const int64_t *spans, size_t span_count, int64_t window) {
  return guarded([&] {
    TORCH_CHECK(q->dim() == 3 && k->sizes() == v->sizes() && k->dim() == 3 && q->size(2) == k->size(2) && k->size(1) > 0 &&
                    q->size(1) % k->size(1) == 0,
                "attention of queries ", q->sizes(), " over keys ", k->sizes(), " and values ", v->sizes());
    const auto kind = q->scalar_type();
    TORCH_CHECK((kind == at::kFloat || kind == at::kBFloat16) && k->scalar_type() == kind && v->scalar_type() == kind &&
                    q->is_cpu() && k->is_cpu() && v->is_cpu(),
                "range attention takes float32 and bfloat16 on a processor, not ", q->options());
    *out = Attention::apply(*q, *k, *v, std::vector<int64_t>(segments, segments + 4 * count),
                            std::vector<int64_t>(spans, spans + 3 * span_count), window);
  });
}
}
