// One fused AdamW step over many tensors.

#include "common.h"

#include <c10/core/GradMode.h>

#include <vector>

namespace {

std::vector<at::Tensor> list(const tensor *tensors, size_t count) {
  std::vector<at::Tensor> out;
  out.reserve(count);
  for (size_t i = 0; i < count; ++i)
    out.push_back(*tensors[i]);
  return out;
}

} // namespace

extern "C" {

// `step` counts from 1 and is the same for all tensors.
char *tx_fused_adamw(const tensor *params, const tensor *grads, const tensor *exp_avgs, const tensor *exp_avg_sqs,
                     size_t count, double step, double lr, double beta1, double beta2, double eps,
                     double weight_decay) {
  return guarded([&] {
    if (count == 0)
      return;
    c10::NoGradGuard no_grad;
    const auto p = list(params, count);
    const std::vector<at::Tensor> steps(count, at::full({}, step, p[0].options().dtype(at::kFloat)));
    at::_fused_adamw_(p, list(grads, count), list(exp_avgs, count), list(exp_avg_sqs, count), {}, steps, lr, beta1,
                      beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}
}
