// The kernels of fused.cpp on whole tensors, without autograd. The differentiable operators are built from them. All take
// contiguous float32 or bfloat16 tensors on a CPU, or on a GPU that has own kernels (gpu.h).
#pragma once

#include <ATen/ATen.h>

#include <tuple>

namespace herd {

// Whether the kernels support x and other. `own` says whether own kernels may be used on a GPU.
bool fusable(const at::Tensor &x, const at::Tensor &other, bool own);

// RMSNorm of x [..., n] with gain w [n]: the result, and 1 / sqrt(mean square + eps) of each row, float32.
std::tuple<at::Tensor, at::Tensor> norm_forward(const at::Tensor &x, const at::Tensor &w, double eps);

// Gradients of x and of w; a gradient that is not needed is undefined.
std::tuple<at::Tensor, at::Tensor> norm_gradients(const at::Tensor &g, const at::Tensor &x, const at::Tensor &w,
                                                  const at::Tensor &scale, bool need_x, bool need_w);

// silu(a) b
at::Tensor gate_forward(const at::Tensor &a, const at::Tensor &b);

// Gradients of a and of b.
std::tuple<at::Tensor, at::Tensor> gate_gradients(const at::Tensor &g, const at::Tensor &a, const at::Tensor &b);

// For each row t of logits z [rows, vocab]: nll[t] = logsumexp(z[t]) - z[t][label[t]] (float32; 0 where the label is
// negative). With factor (float32, [rows]) z becomes factor[t] (softmax(z[t]) - onehot(label[t])), in place.
void softmax_cross_entropy(at::Tensor &z, const at::Tensor &labels, const at::Tensor &factor, at::Tensor &nll);

} // namespace herd
