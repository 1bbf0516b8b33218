// Linear layers: float32 on a CPU through oneDNN, everything else through at::linear.

#include "common.h"
#include "products.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

bool uses_onednn(const at::Tensor &x, const at::Tensor &w) {
  return x.device().is_cpu() && x.scalar_type() == at::kFloat && w.scalar_type() == at::kFloat && x.numel() > 0;
}

// y = x w^T + b through oneDNN in IEEE float32. libtorch sends float32 products to MKL, which takes slow paths on AMD CPUs
// (docs/decisions.md, "float32 products through oneDNN"). The operator mkldnn::_linear_pointwise, which PyTorch's Inductor uses,
// runs oneDNN on the CPUs of every vendor.
at::Tensor onednn_linear(const at::Tensor &x, const at::Tensor &w, const std::optional<at::Tensor> &b) {
  using Signature = at::Tensor(const at::Tensor &, const at::Tensor &, const std::optional<at::Tensor> &,
                               std::string_view, c10::List<std::optional<at::Scalar>>,
                               std::optional<std::string_view>);
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Signature>();
  return op.call(x, w, b, "none", c10::List<std::optional<at::Scalar>>(), "");
}

namespace {

struct Float32Linear : torch::autograd::Function<Float32Linear> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &x, const at::Tensor &w) {
    const Plain plain;
    ctx->save_for_backward({x, w});
    return onednn_linear(x, w, std::nullopt);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    const auto &x = saved[0], &w = saved[1];
    const auto g = grads[0].reshape({-1, w.size(0)}).contiguous();
    const bool need_x = ctx->needs_input_grad(0);
    std::vector<herd::Product> products;
    if (need_x)
      products.push_back({{g}, {w}});
    if (ctx->needs_input_grad(1))
      products.push_back({{g, true}, {x.reshape({-1, w.size(1)})}});
    herd::multiply(products);
    return {need_x ? products.front().out.view(x.sizes()) : at::Tensor(),
            products.size() > (need_x ? 1 : 0) ? products.back().out : at::Tensor()};
  }
};

} // namespace

extern "C" {

char *tx_linear(tensor out, const tensor x, const tensor w, const tensor b) {
  return guarded([&] {
    const bool graph = at::GradMode::is_enabled() && (x->requires_grad() || w->requires_grad());
    const std::optional<at::Tensor> bias = b ? std::make_optional(*b) : std::nullopt;
    if (!uses_onednn(*x, *w))
      *out = at::linear(*x, *w, bias);
    else if (!graph && !(bias && bias->requires_grad()))
      *out = onednn_linear(*x, *w, bias);
    else {
      *out = Float32Linear::apply(*x, *w);
      if (bias)
        *out = *out + *bias;
    }
  });
}
}
