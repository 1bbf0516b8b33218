// What the files of this folder share. Every exported function returns nullptr on success or a message allocated with strdup
// that the caller frees. A `tensor` is an `at::Tensor*`, as torch-sys has it; the other handles are on the heap, each with
// its own function that frees it.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <cstring>
#include <exception>

using tensor = at::Tensor *;
using Store = c10::intrusive_ptr<c10d::Store>;
using Group = c10::intrusive_ptr<c10d::Backend>;
using Work = c10::intrusive_ptr<c10d::Work>;
using milliseconds = std::chrono::milliseconds;

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
