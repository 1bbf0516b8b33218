// Cross-entropy of a linear output head in chunks of tokens, so that the logits of all tokens never exist at once. The
// log-sum-exp is float32.

#include "common.h"
#include "gpu.h"
#include "kernels.h"
#include "products.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace {

constexpr int64_t ignored = -100;

// Outputs of one pass over the chunks. Tensors that are undefined before the pass are not computed.
struct Pass {
  at::Tensor nll;         // [tokens] float32
  at::Tensor grad_hidden; // [tokens, width] like hidden
  at::Tensor grad_weight; // [vocab, width] float32
};

// Computes nll[t] = logsumexp(z) - z[label] with z = weight hidden[t] for each token t, and the gradients of
// sum(token_weights * nll), from dz = token_weights[t] (softmax(z) - onehot(label)).
void over_chunks(const at::Tensor &hidden, const at::Tensor &weight, const at::Tensor &labels,
                 const at::Tensor &token_weights, int64_t chunk, bool own, Pass &pass) {
  const int64_t tokens = hidden.size(0);
  herd::Factor turned{weight};
  if (pass.grad_hidden.defined() && herd::copies_untransposed(hidden, weight))
    turned = {weight.t().contiguous(), true}; // once for all chunks
  for (int64_t start = 0; start < tokens; start += chunk) {
    const int64_t length = std::min(chunk, tokens - start);
    const auto h = hidden.narrow(0, start, length);
    const auto label = labels.narrow(0, start, length);
    const auto counts = label.ne(ignored);
    const auto target = label.clamp_min(0).unsqueeze(1);
    auto z = herd::times_transposed(h, weight);
    const bool gradients = pass.grad_hidden.defined() || pass.grad_weight.defined();
    at::Tensor factor;
    if (gradients) {
      factor = token_weights.defined() ? token_weights.narrow(0, start, length).to(at::kFloat).contiguous()
                                       : at::ones({length}, z.options().dtype(at::kFloat));
    }
    at::Tensor g;
    if (herd::fusable(z, z, own)) {
      auto nll = at::empty({length}, z.options().dtype(at::kFloat));
      herd::softmax_cross_entropy(z, at::where(counts, label, -1).contiguous(), factor, nll);
      if (pass.nll.defined())
        pass.nll.narrow(0, start, length).copy_(nll);
      g = z;
    } else {
      auto log_probs = at::log_softmax(z.to(at::kFloat), 1);
      z.reset();
      if (pass.nll.defined())
        pass.nll.narrow(0, start, length).copy_(log_probs.gather(1, target).squeeze(1).neg_().mul_(counts));
      if (gradients) {
        auto dz = log_probs.exp_();
        dz.scatter_add_(1, target, at::full({1, 1}, -1.0, dz.options()).expand_as(target));
        g = dz.mul_(factor.mul(counts).unsqueeze(1)).to(hidden.scalar_type());
      }
    }
    if (!gradients)
      continue;
    std::vector<herd::Product> products;
    if (pass.grad_hidden.defined())
      products.push_back({{g}, turned, pass.grad_hidden.narrow(0, start, length)});
    if (pass.grad_weight.defined())
      products.push_back({{g, true}, {h}, pass.grad_weight, true});
    herd::multiply(products);
  }
}

at::Tensor zeros_f32(const at::Tensor &like) { return at::zeros(like.sizes(), like.options().dtype(at::kFloat)); }

// The nll of each token, so that any function of it can follow. The backward pass recomputes the logits of each chunk.
struct PerToken : torch::autograd::Function<PerToken> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &hidden, const at::Tensor &weight,
                            const at::Tensor &labels, int64_t chunk, bool own) {
    const Plain plain;
    Pass pass{at::empty({hidden.size(0)}, hidden.options().dtype(at::kFloat)), {}, {}};
    over_chunks(hidden, weight, labels, {}, chunk, own, pass);
    ctx->save_for_backward({hidden, weight, labels});
    ctx->saved_data["chunk"] = chunk;
    ctx->saved_data["own"] = own;
    return pass.nll;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const Plain plain;
    const auto saved = ctx->get_saved_variables();
    const auto &hidden = saved[0], &weight = saved[1];
    Pass pass;
    if (ctx->needs_input_grad(0))
      pass.grad_hidden = at::empty_like(hidden);
    if (ctx->needs_input_grad(1))
      pass.grad_weight = zeros_f32(weight);
    over_chunks(hidden, weight, saved[2], grads[0], ctx->saved_data["chunk"].toInt(), ctx->saved_data["own"].toBool(),
                pass);
    const auto grad_weight = pass.grad_weight.defined() ? pass.grad_weight.to(weight.scalar_type()) : at::Tensor();
    return {pass.grad_hidden, grad_weight, {}, {}, {}};
  }
};

// The weighted sum of nll over tokens. The forward pass also computes the gradients, so no logits are computed twice.
struct WeightedSum : torch::autograd::Function<WeightedSum> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &hidden, const at::Tensor &weight,
                            const at::Tensor &labels, const std::optional<at::Tensor> &token_weights, int64_t chunk,
                            bool own, bool grad_hidden, bool grad_weight) {
    const Plain plain;
    Pass pass{at::empty({hidden.size(0)}, hidden.options().dtype(at::kFloat)), {}, {}};
    if (grad_hidden)
      pass.grad_hidden = at::empty_like(hidden);
    if (grad_weight)
      pass.grad_weight = zeros_f32(weight);
    over_chunks(hidden, weight, labels, token_weights.value_or(at::Tensor()), chunk, own, pass);
    if (grad_hidden)
      ctx->saved_data["grad_hidden"] = pass.grad_hidden;
    if (grad_weight)
      ctx->saved_data["grad_weight"] = pass.grad_weight;
    ctx->saved_data["kind"] = static_cast<int64_t>(weight.scalar_type());
    const auto nll = token_weights ? pass.nll.mul_(*token_weights) : pass.nll;
    return nll.sum(at::kDouble).to(at::kFloat);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const Plain plain;
    // On a GPU the incoming gradient stays on the device: reading it would make the host wait for the GPU in every micro-batch.
    const bool stays = grads[0].is_cuda() || herd::gpu::takes(grads[0]);
    const double factor = stays ? 1 : grads[0].item<double>();
    const auto kind = static_cast<at::ScalarType>(ctx->saved_data["kind"].toInt());
    // In place, so that the gradient of the head [vocab, width] is not stored twice.
    const auto scaled = [&](const char *name) {
      const auto saved = ctx->saved_data.find(name);
      if (saved == ctx->saved_data.end())
        return at::Tensor();
      const auto gradient = saved->second.toTensor();
      ctx->saved_data.erase(saved);
      if (stays)
        return gradient.to(at::kFloat).mul_(grads[0].to(at::kFloat)).to(kind);
      return gradient.mul_(factor).to(kind);
    };
    TORCH_CHECK(!ctx->saved_data.count("used"), "the gradients of a linear cross-entropy can be taken once");
    ctx->saved_data["used"] = true;
    return {scaled("grad_hidden"), scaled("grad_weight"), {}, {}, {}, {}, {}, {}};
  }
};

} // namespace

extern "C" {

char *tx_linear_cross_entropy(tensor out, const tensor hidden, const tensor weight, const tensor labels,
                              int64_t chunk, bool own) {
  return guarded([&] { *out = PerToken::apply(*hidden, *weight, *labels, chunk, own); });
}

char *tx_linear_cross_entropy_sum(tensor out, const tensor hidden, const tensor weight, const tensor labels,
                                  const tensor token_weights, int64_t chunk, bool own) {
  return guarded([&] {
    const bool graph = at::GradMode::is_enabled();
    *out = WeightedSum::apply(*hidden, *weight, *labels, token_weights ? std::make_optional(*token_weights) : std::nullopt, chunk, own,
                              graph && hidden->requires_grad(), graph && weight->requires_grad());
  });
}
}
