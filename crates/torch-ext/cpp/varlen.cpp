// Attention over packed rows on a GPU: the segments of range_attention become sequences of libtorch's variable-length flash
// attention. A first, causal call covers every segment's attention to itself. A second call without a mask covers the attention of
// responses to their prompts, over copies of the prompts' keys. The two results are joined by their log-sum-exp. The backward pass
// gives both calls the joined result and log-sum-exp, so that the gradients of both parts are exact.

#include "varlen.h"
#include "common.h"

#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Tokens that no segment covers (padding) are computed as texts of at most this length, and their results set to 0.
constexpr int64_t gap_tokens = 128;

struct Gap {
  int64_t start, length;
};

// The sequences of both calls for the segments of a row.
struct VarlenPlan {
  std::vector<int32_t> own{0};    // first call: cumulative lengths of all segments and gaps
  std::vector<int32_t> behind{0}; // second call: cumulative numbers of the responses' queries, for each prompt
  std::vector<int32_t> before{0}; // second call: cumulative lengths of the prompts
  std::vector<int64_t> queries;   // indices of the responses' queries in the row
  std::vector<int64_t> keys;      // indices of the prompts' keys in the row
  std::vector<Gap> gaps;
  std::string why; // the reason if these segments cannot be computed in this way, else empty
};

// `segments` has four numbers per segment (query, length, position, number of spans), `spans` three per span (key, length,
// position).
VarlenPlan varlen_plan(const std::vector<int64_t> &segments, const std::vector<int64_t> &spans, int64_t tokens,
                       int64_t window) {
  VarlenPlan plan;
  int64_t end = 0, prompt_start = -1, prompt_length = 0;
  size_t at = 0;
  const auto cover = [&](int64_t to) {
    if (end < to)
      plan.gaps.push_back({end, to - end});
    for (; end < to; end = std::min(end + gap_tokens, to))
      plan.own.push_back(static_cast<int32_t>(std::min(end + gap_tokens, to)));
  };
  for (size_t i = 0; i + 3 < segments.size(); i += 4) {
    const int64_t start = segments[i], length = segments[i + 1], position = segments[i + 2], count = segments[i + 3];
    const int64_t *span = spans.data() + at;
    at += 3 * count;
    if (count < 1 || count > 2 || at > spans.size() || start < end) {
      plan.why = "a segment with other ranges than a prompt and itself";
      return plan;
    }
    const int64_t *own = span + 3 * (count - 1);
    const bool itself = own[0] == start && own[1] == length && own[2] == position;
    const bool earlier = count == 1 ? position == 0 : span[1] == position && span[2] == 0 && span[0] + span[1] <= start;
    if (!itself || !earlier || (count == 2 && window > 0)) {
      plan.why = "a segment that sees a part of what stands before it";
      return plan;
    }
    cover(start);
    end = start + length;
    plan.own.push_back(static_cast<int32_t>(end));
    if (count == 1)
      continue;
    if (prompt_start != span[0] || prompt_length != span[1] || plan.behind.size() == 1) {
      prompt_start = span[0];
      prompt_length = span[1];
      plan.behind.push_back(plan.behind.back());
      plan.before.push_back(plan.before.back() + static_cast<int32_t>(prompt_length));
      for (int64_t key = 0; key < prompt_length; ++key)
        plan.keys.push_back(prompt_start + key);
    }
    plan.behind.back() += static_cast<int32_t>(length);
    for (int64_t query = start; query < end; ++query)
      plan.queries.push_back(query);
  }
  cover(tokens);
  return plan;
}

int64_t longest(const std::vector<int32_t> &cumulative) {
  int64_t most = 0;
  for (size_t i = 1; i < cumulative.size(); ++i)
    most = std::max<int64_t>(most, cumulative[i] - cumulative[i - 1]);
  return most;
}

// A VarlenPlan as tensors on the device. Each thread keeps its last one, because all layers of a model ask for the same plan.
struct OnDevice {
  std::vector<int64_t> segments, spans;
  int64_t tokens = -1, window = 0;
  c10::Device device{c10::kCPU};
  herd::Sequences own, cross;
  at::Tensor queries, keys; // int64; undefined without prompts
  std::vector<Gap> gaps;
};

const OnDevice &on_device(const at::Tensor &q, const std::vector<int64_t> &segments, const std::vector<int64_t> &spans,
                          int64_t window) {
  thread_local OnDevice last;
  if (last.tokens == q.size(0) && last.window == window && last.device == q.device() && last.segments == segments &&
      last.spans == spans)
    return last;
  auto plan = varlen_plan(segments, spans, q.size(0), window);
  TORCH_CHECK(plan.why.empty(), "attention of sequences does not take ", plan.why);
  const auto numbers = [&](const auto &list, at::ScalarType kind) {
    return at::tensor(list, at::TensorOptions().dtype(kind)).to(q.device());
  };
  OnDevice now;
  const auto own = numbers(plan.own, at::kInt);
  now.own = {own, own, longest(plan.own), longest(plan.own), true, window};
  if (!plan.queries.empty()) {
    now.cross = {numbers(plan.behind, at::kInt), numbers(plan.before, at::kInt), longest(plan.behind), longest(plan.before),
                 false, 0};
    now.queries = numbers(plan.queries, at::kLong);
    now.keys = numbers(plan.keys, at::kLong);
  }
  now.gaps = plan.gaps;
  now.tokens = q.size(0);
  now.window = window;
  now.device = q.device();
  now.segments = segments;
  now.spans = spans;
  last = std::move(now);
  return last;
}

// Mask of the keys to which each query of a sequence attends, [queries, keys]; the last query is at the position of the last key.
at::Tensor sees(int64_t queries, int64_t keys, const herd::Sequences &s) {
  if (!s.causal)
    return at::ones({queries, keys}, at::kBool);
  const auto distance =
      at::arange(queries, at::kLong).unsqueeze(1) + (keys - queries) - at::arange(keys, at::kLong).unsqueeze(0);
  const auto past = distance.ge(0);
  return s.window > 0 ? past.logical_and(distance.lt(s.window)) : past;
}

// Calls body(first query, number of queries, first key, number of keys) for each sequence that has queries.
template <typename F> void each_sequence(const herd::Sequences &s, F &&body) {
  const auto q = s.queries.cpu(), k = s.keys.cpu();
  for (int64_t i = 0; i + 1 < q.size(0); ++i) {
    const int64_t q0 = q[i].item<int>(), q1 = q[i + 1].item<int>(), k0 = k[i].item<int>(), k1 = k[i + 1].item<int>();
    if (q1 > q0)
      body(q0, q1 - q0, k0, k1 - k0);
  }
}

// Repeats each KV head for the query heads that share it: [heads, keys, d], float32.
at::Tensor repeated(const at::Tensor &k, int64_t heads) {
  return k.to(at::kFloat).transpose(0, 1).repeat_interleave(heads / k.size(1), 0);
}

double scale_of(const at::Tensor &q) { return 1.0 / std::sqrt(static_cast<double>(q.size(2))); }

} // namespace

namespace herd {

// The CPU path computes plain formulas, sequence by sequence. Tests use it to check the plan and the joining of both calls.
std::tuple<at::Tensor, at::Tensor> sequences_forward(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                                                     const Sequences &s) {
  if (q.is_cuda()) {
    const auto left = s.window > 0 ? std::optional<int64_t>(s.window - 1) : std::nullopt;
    const auto right = s.window > 0 ? std::optional<int64_t>(0) : std::nullopt;
    auto all = at::_flash_attention_forward(q, k, v, s.queries, s.keys, s.most_queries, s.most_keys, 0.0,
                                            s.causal && s.window == 0, false, scale_of(q), left, right);
    auto lse = std::get<1>(all);
    TORCH_CHECK(lse.dim() == 2 && lse.size(0) == q.size(1) && lse.size(1) == q.size(0),
                "flash attention's logsumexp is of shape ", lse.sizes(), ", not [heads, queries]");
    return {std::get<0>(all), lse};
  }
  const int64_t heads = q.size(1);
  auto out = at::zeros_like(q);
  auto lse = at::full({heads, q.size(0)}, -INFINITY, q.options().dtype(at::kFloat));
  each_sequence(s, [&](int64_t q0, int64_t ql, int64_t k0, int64_t kl) {
    const auto queries = q.narrow(0, q0, ql).to(at::kFloat).transpose(0, 1);
    const auto keys = repeated(k.narrow(0, k0, kl), heads), values = repeated(v.narrow(0, k0, kl), heads);
    const auto scores = at::matmul(queries, keys.transpose(1, 2)).mul_(scale_of(q)).masked_fill_(sees(ql, kl, s).logical_not(), -INFINITY);
    lse.narrow(1, q0, ql).copy_(at::logsumexp(scores, 2));
    out.narrow(0, q0, ql).copy_(at::matmul(at::softmax(scores, 2), values).transpose(0, 1));
  });
  return {out, lse};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> sequences_backward(const at::Tensor &g, const at::Tensor &q, const at::Tensor &k,
                                                                  const at::Tensor &v, const at::Tensor &out,
                                                                  const at::Tensor &logsumexp, const Sequences &s) {
  if (q.is_cuda()) {
    const auto left = s.window > 0 ? std::optional<int64_t>(s.window - 1) : std::nullopt;
    const auto right = s.window > 0 ? std::optional<int64_t>(0) : std::nullopt;
    // The random state of dropout, which is not used here.
    const auto state = at::zeros({2}, q.options().dtype(at::kUInt64)), unused = at::empty({0}, q.options());
    return at::_flash_attention_backward(g, q, k, v, out, logsumexp, s.queries, s.keys, s.most_queries, s.most_keys, 0.0,
                                         s.causal && s.window == 0, state, unused, scale_of(q), left, right);
  }
  const int64_t heads = q.size(1), groups = heads / k.size(1);
  auto gq = at::zeros_like(q), gk = at::zeros_like(k), gv = at::zeros_like(v);
  each_sequence(s, [&](int64_t q0, int64_t ql, int64_t k0, int64_t kl) {
    const auto part = [&](const at::Tensor &x) { return x.narrow(0, q0, ql).to(at::kFloat).transpose(0, 1); };
    const auto queries = part(q), grads = part(g);
    const auto keys = repeated(k.narrow(0, k0, kl), heads), values = repeated(v.narrow(0, k0, kl), heads);
    const auto scores = at::matmul(queries, keys.transpose(1, 2)).mul_(scale_of(q));
    const auto p = (scores - logsumexp.narrow(1, q0, ql).unsqueeze(2)).exp().masked_fill_(sees(ql, kl, s).logical_not(), 0);
    const auto mean = (grads * part(out)).sum(2, true);
    const auto gs = p * (at::matmul(grads, values.transpose(1, 2)) - mean) * scale_of(q);
    // The gradient of a KV head is the sum over the query heads that share it.
    const auto shared = [&](const at::Tensor &x) {
      return x.view({k.size(1), groups, kl, k.size(2)}).sum(1).transpose(0, 1);
    };
    gq.narrow(0, q0, ql).copy_(at::matmul(gs, keys).transpose(0, 1));
    gk.narrow(0, k0, kl).copy_(shared(at::matmul(gs.transpose(1, 2), queries)));
    gv.narrow(0, k0, kl).copy_(shared(at::matmul(p.transpose(1, 2), grads)));
  });
  return {gq, gk, gv};
}

} // namespace herd

namespace {

struct Varlen : torch::autograd::Function<Varlen> {
  static at::Tensor forward(AutogradContext *ctx, const at::Tensor &q_in, const at::Tensor &k_in, const at::Tensor &v_in,
                            const std::vector<int64_t> &segments, const std::vector<int64_t> &spans, int64_t window) {
    const Plain plain;
    const auto q = q_in.contiguous(), k = k_in.contiguous(), v = v_in.contiguous();
    const auto &plan = on_device(q, segments, spans, window);
    auto [out, lse] = herd::sequences_forward(q, k, v, plan.own);
    if (plan.queries.defined()) {
      const auto [cross, cross_lse] = herd::sequences_forward(q.index_select(0, plan.queries), k.index_select(0, plan.keys),
                                                              v.index_select(0, plan.keys), plan.cross);
      const auto own_lse = lse.index_select(1, plan.queries);
      const auto joined = at::logaddexp(own_lse, cross_lse);
      const auto weight = [&](const at::Tensor &part) { return (part - joined).exp().t().unsqueeze(2); };
      const auto both = out.index_select(0, plan.queries) * weight(own_lse) + cross * weight(cross_lse);
      out.index_copy_(0, plan.queries, both.to(out.scalar_type()));
      lse.index_copy_(1, plan.queries, joined);
    }
    for (const auto &gap : plan.gaps)
      out.narrow(0, gap.start, gap.length).zero_();
    ctx->save_for_backward({q, k, v, out, lse});
    ctx->saved_data["segments"] = segments;
    ctx->saved_data["spans"] = spans;
    ctx->saved_data["window"] = window;
    return out;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    const auto &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &lse = saved[4];
    const auto &plan = on_device(q, ctx->saved_data["segments"].toIntVector(), ctx->saved_data["spans"].toIntVector(),
                                 ctx->saved_data["window"].toInt());
    auto g = grads[0].to(q.scalar_type()).contiguous();
    if (!plan.gaps.empty()) {
      g = g.clone();
      for (const auto &gap : plan.gaps)
        g.narrow(0, gap.start, gap.length).zero_();
    }
    auto [gq, gk, gv] = herd::sequences_backward(g, q, k, v, out, lse, plan.own);
    if (plan.queries.defined()) {
      const auto some = [&](const at::Tensor &x) { return x.index_select(0, plan.queries); };
      const auto [cq, ck, cv] = herd::sequences_backward(some(g), some(q), k.index_select(0, plan.keys),
                                                         v.index_select(0, plan.keys), some(out),
                                                         lse.index_select(1, plan.queries), plan.cross);
      gq.index_add_(0, plan.queries, cq);
      gk.index_add_(0, plan.keys, ck);
      gv.index_add_(0, plan.keys, cv);
    }
    return {gq, gk, gv, {}, {}, {}};
  }
};

} // namespace

extern "C" {

// Same arguments as tx_range_attention.
char *tx_varlen_attention(tensor out, const tensor q, const tensor k, const tensor v, const int64_t *segments, size_t count,
                          const int64_t *spans, size_t span_count, int64_t window) {
  return guarded([&] {
    TORCH_CHECK(q->dim() == 3 && k->sizes() == v->sizes() && k->dim() == 3 && q->size(2) == k->size(2) && k->size(1) > 0 &&
                    q->size(1) % k->size(1) == 0 && q->size(0) == k->size(0),
                "attention of queries ", q->sizes(), " over keys ", k->sizes(), " and values ", v->sizes());
    *out = Varlen::apply(*q, *k, *v, std::vector<int64_t>(segments, segments + 4 * count),
                         std::vector<int64_t>(spans, spans + 3 * span_count), window);
  });
}

// Whether tx_varlen_attention supports these segments.
bool tx_varlen_fits(const int64_t *segments, size_t count, const int64_t *spans, size_t span_count, int64_t tokens,
                    int64_t window) {
  return varlen_plan(std::vector<int64_t>(segments, segments + 4 * count), std::vector<int64_t>(spans, spans + 3 * span_count),
                     tokens, window)
      .why.empty();
}
}
