// Declarations that all files of this folder share. The exported functions form a C interface on the tensors that torch-sys uses
// (a `tensor` is an `at::Tensor*`). A function that returns `char *` returns nullptr on success, or a message allocated with
// strdup that the caller frees.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <cstring>
#include <exception>
#include <optional>

using tensor = at::Tensor *;

// While it lives, operators are called without the layers of autograd and view tracking, which cost microseconds in each call. For the
// bodies of autograd functions, whose operators are not recorded anyway.
using Plain = at::AutoDispatchBelowADInplaceOrView;

template <typename F> char *guarded(F &&body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error &e) {
    return strdup(e.what_without_backtrace());
  } catch (const std::exception &e) {
    return strdup(e.what());
  }
}

// Whether the product of x and w is sent to oneDNN explicitly: float32 on a CPU.
bool uses_onednn(const at::Tensor &x, const at::Tensor &w);

// x w^T + b in IEEE float32 through oneDNN; no autograd.
at::Tensor onednn_linear(const at::Tensor &x, const at::Tensor &w, const std::optional<at::Tensor> &b);
