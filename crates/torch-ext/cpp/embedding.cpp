// Rows of an embedding table.

#include "common.h"

#include <torch/csrc/autograd/custom_function.h>

namespace {

// As at::embedding, but the gradient of a narrow table is added up in float32 and rounded once: a token that stands some
// thousands of times in a batch would otherwise lose most of its gradient, since a sum in bfloat16 stops growing once it is
// 256 times its next term.
struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &table, const at::Tensor &ids) {
    ctx->save_for_backward({ids});
    ctx->saved_data["rows"] = table.size(0);
    return at::embedding(table, ids);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const auto ids = ctx->get_saved_variables()[0];
    const auto rows = ctx->saved_data["rows"].toInt();
    const auto &g = grads[0];
    if (g.scalar_type() == at::kFloat || g.scalar_type() == at::kDouble)
      return {at::embedding_dense_backward(g, ids, rows, -1, false), at::Tensor()};
    // Only the rows that stand in the batch exist in float32.
    const auto [present, places] = at::_unique(ids.reshape({-1}), /*sorted=*/true, /*return_inverse=*/true);
    const auto wide = g.reshape({-1, g.size(-1)}).to(at::kFloat);
    const auto sums = at::embedding_dense_backward(wide, places, present.size(0), -1, false);
    auto gradient = at::zeros({rows, g.size(-1)}, g.options());
    return {gradient.index_copy_(0, present, sums.to(g.scalar_type())), at::Tensor()};
  }
};

} // namespace

extern "C" {

char *tx_embedding(tensor out, const tensor table, const tensor ids) {
  return guarded([&] {
    TORCH_CHECK(table->dim() == 2 && ids->scalar_type() == at::kLong, "an embedding of ids of ", ids->scalar_type(),
                " in a table of ", table->sizes());
    *out = Embedding::apply(*table, *ids);
  });
}
}
