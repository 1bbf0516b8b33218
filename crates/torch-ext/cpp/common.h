// What the files of this folder share. They are behind a C interface on the tensors that torch-sys uses (a `tensor` is an
// `at::Tensor*`). Every exported function returns nullptr on success or a message allocated with strdup that the caller frees.
#pragma once

#include <ATen/ATen.h>

#include <cstring>
#include <exception>
#include <optional>

using tensor = at::Tensor *;

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

// Whether products of x and w go through oneDNN by name: float32 on a processor.
bool uses_onednn(const at::Tensor &x, const at::Tensor &w);

// x w^T + b in IEEE float32 through oneDNN; no autograd.
at::Tensor onednn_linear(const at::Tensor &x, const at::Tensor &w, const std::optional<at::Tensor> &b);
