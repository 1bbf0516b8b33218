// See gpu.h. The bridge to the kernels: the Rust side (src/gpu.rs) registers its two functions after it has loaded libtorch's CUDA
// library, or before it emulates a GPU.

#include "gpu.h"
#include "common.h"

#include <ATen/Context.h>
#include <c10/core/DeviceGuard.h>

#include <dlfcn.h>

#include <vector>

namespace {

using Ready = bool (*)(int64_t device);
// Returns nullptr, or a message from strdup. Device -1 is the emulation on the CPU.
using Run = char *(*)(int64_t device, void *stream, int op, bool bf16, const uint64_t *addresses, const int64_t *numbers,
                      double eps);

struct Bridge {
  Ready ready = nullptr;
  Run run = nullptr;
};

Bridge &bridge() {
  static Bridge only;
  return only;
}

thread_local bool emulating = false;

// libtorch's current stream of a device, from the C function that libtorch_cuda.so exports.
void *current_stream(int64_t device) {
  using Get = int32_t (*)(int32_t, void **);
  static const auto get = reinterpret_cast<Get>(dlsym(RTLD_DEFAULT, "aoti_torch_get_current_cuda_stream"));
  TORCH_CHECK(get, "this libtorch_cuda.so does not tell its current stream (aoti_torch_get_current_cuda_stream)");
  void *stream = nullptr;
  TORCH_CHECK(get(static_cast<int32_t>(device), &stream) == 0, "no current stream on GPU ", device);
  return stream;
}

} // namespace

namespace herd::gpu {

bool takes(const at::Tensor &x) {
  if (x.is_cuda())
    return bridge().ready && bridge().ready(x.get_device());
  return emulating && x.is_cpu();
}

bool emulated() { return emulating; }

void launch(Op op, const at::Tensor &on, at::ArrayRef<at::Tensor> tensors, at::IntArrayRef list, double eps) {
  TORCH_CHECK(bridge().run, "the kernels for a GPU are not registered");
  std::vector<uint64_t> addresses;
  for (const auto &tensor : tensors) {
    TORCH_CHECK(!tensor.defined() || (tensor.is_contiguous() && tensor.device() == on.device()), "a kernel on ",
                on.device(), " was given a tensor that is not contiguous, or on ", tensor.device());
    addresses.push_back(tensor.defined() ? reinterpret_cast<uint64_t>(tensor.data_ptr()) : 0);
  }
  const c10::DeviceGuard guard(on.device());
  const int64_t device = on.is_cuda() ? on.get_device() : -1;
  void *stream = on.is_cuda() ? current_stream(device) : nullptr;
  char *message = bridge().run(device, stream, static_cast<int>(op), on.scalar_type() == at::kBFloat16, addresses.data(),
                               list.data(), eps);
  if (message) {
    const std::string text = message;
    free(message);
    TORCH_CHECK(false, text);
  }
}

} // namespace herd::gpu

extern "C" {

// herd::gpu::takes(*x); false if it throws.
bool tx_gpu_takes(const tensor x) {
  try {
    return herd::gpu::takes(*x);
  } catch (const std::exception &) {
    return false;
  }
}

// herd::gpu::launch, for operators without a gradient.
char *tx_gpu_launch(int op, const tensor on, const tensor *tensors, size_t count, const int64_t *numbers, size_t number_count,
                    double eps) {
  return guarded([&] {
    std::vector<at::Tensor> list;
    for (size_t i = 0; i < count; ++i)
      list.push_back(tensors[i] ? *tensors[i] : at::Tensor());
    herd::gpu::launch(static_cast<herd::gpu::Op>(op), *on, list, at::IntArrayRef(numbers, number_count), eps);
  });
}

// Turns libtorch's deterministic algorithms on or off: operators that have a deterministic variant use it (flash attention's
// backward pass, for example), operators that have none throw. Unlike PyTorch's default, new memory is not filled, because no
// operator here reads memory that it has not written.
char *tx_gpu_deterministic(bool on) {
  return guarded([&] {
    auto &context = at::globalContext();
    context.setDeterministicAlgorithms(on, false);
    context.setDeterministicFillUninitializedMemory(false);
    context.setDeterministicCuDNN(on);
  });
}

bool tx_gpu_is_deterministic() { return at::globalContext().deterministicAlgorithms(); }

// Called once per process.
void tx_gpu_register(Ready ready, Run run) { bridge() = {ready, run}; }

// cuBLAS products of bfloat16 must not reduce in bfloat16; they may split the reduction (split-K).
char *tx_gpu_settings() {
  return guarded([] { at::globalContext().setAllowBF16ReductionCuBLAS(false, true); });
}

bool tx_gpu_emulated() { return emulating; }

// Sets whether operators on CPU tensors run the emulated GPU kernels in this thread. Returns the previous setting.
bool tx_gpu_emulate(bool on) {
  const bool before = emulating;
  emulating = on;
  return before;
}
}
