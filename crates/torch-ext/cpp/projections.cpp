// Linear layers that share one input, fused with the operation before them (RMSNorm, SwiGLU's gate or none), for training on a CPU.
// The matrix products also add low-rank updates. The backward pass recomputes the operation before the layers instead of keeping
// its result, adds the gradients of the shared input up inside the products, and computes nothing for frozen weights.

#include "common.h"
#include "kernels.h"
#include "products.h"

#include <torch/csrc/autograd/custom_function.h>

#include <vector>

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

enum class Before : int64_t { Nothing, Norm, Gate };

// Index of a projection's W [out, in] among the arguments; A [rank, in] and B [out, rank] follow it if there is an update.
struct Place {
  int64_t w;
  bool update;
};

std::vector<Place> places(Before before, const std::vector<double> &scales) {
  std::vector<Place> all;
  int64_t next = before == Before::Nothing ? 1 : 2;
  for (const auto scale : scales) {
    all.push_back({next, scale != 0});
    next += scale != 0 ? 3 : 1;
  }
  return all;
}

// `tensors`: x, then the norm's gain or the gate's second input if there is one, then the tensors of the projections. A scale of 0
// means that the projection has no update.
struct Projections : torch::autograd::Function<Projections> {
  // The input of the projections, and the scales of the rows that RMSNorm keeps for its backward pass.
  static std::tuple<at::Tensor, at::Tensor> input(Before before, const at::Tensor &x, const at::Tensor &second,
                                                  double eps) {
    switch (before) {
    case Before::Norm:
      return herd::norm_forward(x, second, eps);
    case Before::Gate:
      return {herd::gate_forward(x, second), {}};
    default:
      return {x, {}};
    }
  }

  static variable_list forward(AutogradContext *ctx, int64_t code, const at::TensorList &tensors,
                               const std::vector<double> &scales, double eps) {
    const Plain plain;
    const auto before = static_cast<Before>(code);
    const auto width = tensors[0].size(-1);
    const auto flat = [&](const at::Tensor &t) { return t.reshape({-1, width}).contiguous(); };
    variable_list saved{flat(tensors[0])};
    if (before != Before::Nothing)
      saved.push_back(before == Before::Gate ? flat(tensors[1]) : tensors[1].contiguous());
    const auto [in, scale] = input(before, saved[0], saved.back(), eps);
    saved.insert(saved.end(), tensors.begin() + saved.size(), tensors.end());
    auto sizes = tensors[0].sizes().vec();
    variable_list outputs;
    const auto all = places(before, scales);
    std::vector<herd::Product> products;
    for (const auto &place : all)
      products.push_back({{in}, {tensors[place.w], true}});
    herd::multiply(products);
    for (size_t i = 0; i < all.size(); ++i) {
      auto &y = products[i].out;
      if (all[i].update) {
        const auto inner = herd::times_transposed(in, tensors[all[i].w + 1]).mul_(scales[i]);
        std::vector<herd::Product> update{{{inner}, {tensors[all[i].w + 2], true}, y, true}};
        herd::multiply(update);
      }
      sizes.back() = tensors[all[i].w].size(0);
      outputs.push_back(y.view(sizes));
    }
    if (before == Before::Norm)
      saved.push_back(scale);
    ctx->save_for_backward(saved);
    ctx->saved_data["before"] = code;
    ctx->saved_data["scales"] = scales;
    ctx->saved_data["eps"] = eps;
    ctx->saved_data["sizes"] = tensors[0].sizes().vec();
    ctx->set_materialize_grads(false);
    return outputs;
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    const auto before = static_cast<Before>(ctx->saved_data["before"].toInt());
    const auto scales = ctx->saved_data["scales"].toDoubleVector();
    const auto sizes = ctx->saved_data["sizes"].toIntVector();
    const auto &x = saved[0], &second = saved[1];
    const auto need = [&](int64_t tensor) { return ctx->needs_input_grad(tensor); };
    const bool need_in = need(0) || (before != Before::Nothing && need(1));
    const auto in = std::get<0>(input(before, x, second, ctx->saved_data["eps"].toDouble()));
    // One gradient for each argument: code, tensors, scales and eps. RMSNorm's row scales are saved too, but are no argument.
    variable_list out(1 + saved.size() - (before == Before::Norm ? 1 : 0) + 2);
    const auto gradient = [&](int64_t tensor) -> at::Tensor & { return out[1 + tensor]; };
    // Products into gradients of their own, and those added to the gradient of the input. The first of the latter makes it.
    std::vector<herd::Product> own, common;
    std::vector<int64_t> owners;
    const auto give = [&](int64_t tensor, const at::Tensor &g, const at::Tensor &input) {
      if (need(tensor)) {
        own.push_back({{g, true}, {input}});
        owners.push_back(tensor);
      }
    };
    const auto all = places(before, scales);
    for (size_t i = 0; i < all.size(); ++i) {
      if (!grads[i].defined())
        continue;
      const auto at = all[i].w;
      const auto g = grads[i].reshape({-1, saved[at].size(0)}).contiguous();
      if (need_in)
        common.push_back({{g}, {saved[at]}});
      give(at, g, in);
      if (!all[i].update)
        continue;
      const auto &a = saved[at + 1], &b = saved[at + 2];
      if (need(at + 2))
        give(at + 2, g, herd::times_transposed(in, a).mul_(scales[i]));
      if (!need_in && !need(at + 1))
        continue;
      std::vector<herd::Product> inner{{{g}, {b}}}; // gradient of the update's inner values
      herd::multiply(inner);
      const auto gh = inner[0].out.mul_(scales[i]);
      give(at + 1, gh, in);
      if (need_in)
        common.push_back({{gh}, {a}});
    }
    herd::multiply(own);
    for (size_t i = 0; i < own.size(); ++i)
      gradient(owners[i]) = own[i].out;
    const auto gin = herd::sum_of(common);
    if (!gin.defined())
      return out;
    switch (before) {
    case Before::Norm:
      std::tie(gradient(0), gradient(1)) = herd::norm_gradients(gin, x, second, saved.back(), need(0), need(1));
      break;
    case Before::Gate:
      std::tie(gradient(0), gradient(1)) = herd::gate_gradients(gin, x, second);
      gradient(1) = gradient(1).view(sizes);
      break;
    default:
      gradient(0) = gin;
    }
    if (gradient(0).defined())
      gradient(0) = gradient(0).view(sizes);
    return out;
  }
};

} // namespace

extern "C" {

// `before`: 0 no operation, 1 RMSNorm with gain `second`, 2 silu(x) * second. `parts` has three tensors (W, A, B) for each of the
// `count` projections; a scale of 0 means that there is no update. Writes `count` tensors.
char *tx_projections(const tensor *out, int64_t before, const tensor x, const tensor second, const tensor *parts,
                     const double *scales, size_t count, double eps) {
  return guarded([&] {
    TORCH_CHECK(x->is_cpu() && herd::fusable(*x, *parts[0], false), "projections take float32 and bfloat16 on a processor, not ", x->options());
    std::vector<at::Tensor> list{*x};
    if (second)
      list.push_back(*second);
    std::vector<double> factors(scales, scales + count);
    for (size_t i = 0; i < count; ++i) {
      const auto &w = *parts[3 * i];
      TORCH_CHECK(w.dim() == 2 && w.size(1) == x->size(-1), "a projection of ", x->sizes(), " by ", w.sizes());
      for (size_t part = 3 * i; part < 3 * i + (factors[i] != 0 ? 3 : 1); ++part)
        list.push_back(*parts[part]);
    }
    const auto outputs = Projections::apply(before, at::TensorList(list), factors, eps);
    for (size_t i = 0; i < count; ++i)
      *out[i] = outputs[i];
  });
}
}
