// Matrix products of training on a CPU, for results that are tensors of their own or are added to one. The factors may be read
// transposed without a copy.
#pragma once

#include <ATen/ATen.h>

#include <vector>

namespace herd {

// A factor of a product: a matrix [rows, columns], or its transpose.
struct Factor {
  at::Tensor matrix;
  bool transposed = false;
};

// out = left right, or out += left right if `add`. An undefined `out` becomes a new tensor, in which nothing is added.
struct Product {
  Factor left, right;
  at::Tensor out;
  bool add = false;
};

// Computes the products one after the other. float32 products are IEEE float32: none is rounded to a shorter type.
void multiply(std::vector<Product> &products);

// The sum of the products, in their order. Undefined if there are none. Their `out` and `add` are overwritten.
at::Tensor sum_of(std::vector<Product> &products);

// Whether multiply() copies a right factor that is not transposed: a caller with several products of one factor makes the copy once.
bool copies_untransposed(const at::Tensor &left, const at::Tensor &right);

// x w^T
at::Tensor times_transposed(const at::Tensor &x, const at::Tensor &w);

} // namespace herd
