// Rows of all ranks as a function of this rank's rows.

#include "common.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>

namespace {

// Gives the gradient of the own rows, on the heap, for that of all rows; null with a message that is freed here.
using Back = tensor (*)(void *context, tensor gradient, char **message);

struct Joined : torch::autograd::Function<Joined> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor & /*own*/, const at::Tensor *all,
                            int64_t back, int64_t context) {
    ctx->saved_data["back"] = back;
    ctx->saved_data["context"] = context;
    return *all;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const auto back = reinterpret_cast<Back>(ctx->saved_data["back"].toInt());
    const auto context = reinterpret_cast<void *>(ctx->saved_data["context"].toInt());
    char *message = nullptr;
    const std::unique_ptr<at::Tensor> own(back(context, &grads[0], &message));
    if (!own) {
      const std::string text(message == nullptr ? "the gradient of rows" : message);
      std::free(message);
      throw std::runtime_error(text);
    }
    return {*own, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

} // namespace

extern "C" {

// `all`, which was made of the rows of all ranks, as a function of `own`. `context` has to live until the backward pass.
char *hd_joined(tensor out, const tensor own, const tensor all, Back back, void *context) {
  return guarded([&] {
    *out = Joined::apply(*own, static_cast<const at::Tensor *>(all), reinterpret_cast<int64_t>(back),
                         reinterpret_cast<int64_t>(context));
  });
}
}
