// Embedding look-up with a float32 sum of gradients.

#include "common.h"
#include "gpu.h"

#include <torch/csrc/autograd/custom_function.h>

namespace {

// at::embedding, but the gradient of a table narrower than float32 is summed in float32 and rounded once. A sum in bfloat16 stops
// growing once it is 256 times the next term, so a token that occurs thousands of times in a batch would lose most of its
// gradient.
struct Embedding : torch::autograd::Function<Embedding> {
  static at::Tensor forward(torch::autograd::AutogradContext *ctx, const at::Tensor &table, const at::Tensor &ids) {
    const Plain plain;
    ctx->save_for_backward({ids});
    ctx->saved_data["rows"] = table.size(0);
    return at::embedding(table, ids);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    const Plain plain;
    const auto ids = ctx->get_saved_variables()[0];
    const auto rows = ctx->saved_data["rows"].toInt();
    const auto &g = grads[0];
    if (g.scalar_type() == at::kFloat || g.scalar_type() == at::kDouble)
      return {at::embedding_dense_backward(g, ids, rows, -1, false), at::Tensor()};
    if (g.is_cuda() || herd::gpu::emulated())
      return {without_count(g, ids, rows), at::Tensor()};
    // The float32 sums have rows only for the ids in the batch.
    const auto [present, places] = at::_unique(ids.reshape({-1}), /*sorted=*/true, /*return_inverse=*/true);
    const auto wide = g.reshape({-1, g.size(-1)}).to(at::kFloat);
    const auto sums = at::embedding_dense_backward(wide, places, present.size(0), -1, false);
    auto gradient = at::zeros({rows, g.size(-1)}, g.options());
    return {gradient.index_copy_(0, present, sums.to(g.scalar_type())), at::Tensor()};
  }

  // The same gradient without a synchronization of host and GPU: the host does not read the number of different ids. The float32
  // sums have as many rows as there are tokens. The rows that belong to no id are 0; they are copied to an extra row after the
  // table, which is cut off.
  static at::Tensor without_count(const at::Tensor &g, const at::Tensor &ids, int64_t rows) {
    const auto wide = g.reshape({-1, g.size(-1)}).to(at::kFloat);
    const int64_t tokens = wide.size(0);
    auto gradient = at::zeros({rows + 1, g.size(-1)}, g.options());
    if (tokens > 0) {
      const auto [sorted, order] = ids.reshape({-1}).sort();
      auto first = at::zeros_like(sorted);
      first.slice(0, 1).copy_(sorted.slice(0, 1).ne(sorted.slice(0, 0, tokens - 1)));
      const auto groups = first.cumsum(0);
      const auto present = at::full_like(sorted, rows).scatter_(0, groups, sorted);
      const auto places = at::empty_like(order).scatter_(0, order, groups);
      const auto sums = at::embedding_dense_backward(wide, places, tokens, -1, false);
      gradient.index_copy_(0, present, sums.to(g.scalar_type()));
    }
    return gradient.narrow(0, 0, rows);
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
