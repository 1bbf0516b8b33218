// Attention of texts back to back by libtorch's flash attention for sequences of various lengths.
#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace herd {

// Sequences back to back: cumulative lengths, int32 [sequences + 1] on the device of the tensors, and the longest.
struct Sequences {
  at::Tensor queries, keys;
  int64_t most_queries = 0, most_keys = 0;
  bool causal = true;
  int64_t window = 0; // a query sees so many keys at most, itself included; 0: no limit
};

// out and logsumexp [heads, queries] (float32) of q [queries, heads, d] over k, v [keys, kv_heads, d].
std::tuple<at::Tensor, at::Tensor> sequences_forward(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                                                     const Sequences &s);

// dq, dk, dv; out and logsumexp may be of more keys than these.
std::tuple<at::Tensor, at::Tensor, at::Tensor> sequences_backward(const at::Tensor &g, const at::Tensor &q, const at::Tensor &k,
                                                                  const at::Tensor &v, const at::Tensor &out,
                                                                  const at::Tensor &logsumexp, const Sequences &s);

} // namespace herd
