// Attention over packed sequences by libtorch's variable-length flash attention.
#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace herd {

// Packed sequences: cumulative lengths (int32 [sequences + 1], on the device of the tensors), and the length of the longest.
struct Sequences {
  at::Tensor queries, keys;
  int64_t most_queries = 0, most_keys = 0;
  bool causal = true;
  int64_t window = 0; // a query attends to at most this many keys, itself included; 0: no limit
};

// out and logsumexp [heads, queries] (float32) of q [queries, heads, d] over k, v [keys, kv_heads, d].
std::tuple<at::Tensor, at::Tensor> sequences_forward(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                                                     const Sequences &s);

// Gradients of q, k and v. out and logsumexp may be those of a softmax over more keys than k: the gradients are then exact for
// this part of the keys.
std::tuple<at::Tensor, at::Tensor, at::Tensor> sequences_backward(const at::Tensor &g, const at::Tensor &q, const at::Tensor &k,
                                                                  const at::Tensor &v, const at::Tensor &out,
                                                                  const at::Tensor &logsumexp, const Sequences &s);

} // namespace herd
