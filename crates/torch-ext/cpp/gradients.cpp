// What tch lacks of autograd.

#include "common.h"

#include <torch/csrc/autograd/autograd.h>

extern "C" {

// Moves the gradient of a leaf out of it; undefined if there is none.
char *tx_take_grad(tensor out, const tensor leaf) {
  return guarded([&] {
    *out = leaf->mutable_grad();
    leaf->mutable_grad() = at::Tensor();
  });
}

// Gradients of the leaves below output, for its gradient.
char *tx_backward_from(const tensor output, const tensor gradient) {
  return guarded([&] { torch::autograd::backward({*output}, {*gradient}); });
}
}
