// Autograd functions that tch lacks.

#include "common.h"

#include <torch/csrc/autograd/autograd.h>

extern "C" {

// Moves the gradient out of a leaf tensor; `out` is undefined if the leaf has none.
char *tx_take_grad(tensor out, const tensor leaf) {
  return guarded([&] {
    *out = leaf->mutable_grad();
    leaf->mutable_grad() = at::Tensor();
  });
}

// Runs the backward pass from `output`, whose gradient is `gradient`, and adds to the gradients of the leaves.
char *tx_backward_from(const tensor output, const tensor gradient) {
  return guarded([&] { torch::autograd::backward({*output}, {*gradient}); });
}
}
