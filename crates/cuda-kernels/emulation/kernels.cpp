// Compiles the kernels of ../cuda for the emulation, and launches them by name.

#include "emulate.h"

#include "../cuda/common.cuh"
#include "../cuda/cross_entropy.cu"
#include "../cuda/paged_attention.cu"
#include "../cuda/rms_norm.cu"
#include "../cuda/rotate.cu"
#include "../cuda/sample.cu"
#include "../cuda/silu_gate.cu"

namespace {

std::string dispatch(const std::string &name, Dim grid, Dim threads, void **values, uint64_t order) {
#define KERNEL(NAME)                                                                                                   \
  if (name == #NAME "_f32")                                                                                            \
    return emulation::launch(NAME##_f32, grid, threads, values, order);                                                \
  if (name == #NAME "_bf16")                                                                                           \
    return emulation::launch(NAME##_bf16, grid, threads, values, order);
  KERNEL(rms_norm)
  KERNEL(rms_norm_backward)
  KERNEL(rms_norm_gain)
  KERNEL(sum_strips)
  KERNEL(silu_gate)
  KERNEL(silu_gate_backward)
  KERNEL(rotate)
  KERNEL(rotate_backward)
  KERNEL(cross_entropy)
  KERNEL(paged_attention)
  KERNEL(paged_attention_single)
  KERNEL(paged_attention_narrow)
  KERNEL(merge_parts)
  KERNEL(sample)
#undef KERNEL
  return "there is no kernel of this name";
}

} // namespace

// Returns 0 on success; otherwise writes a NUL-terminated error to `message`, which has `room` bytes, and returns 1.
extern "C" int herd_emulate_kernel(const char *name, unsigned grid_x, unsigned grid_y, unsigned block_x, unsigned block_y,
                                   void **values, uint64_t order, char *message, size_t room) {
  const auto trouble = dispatch(name, {grid_x, grid_y}, {block_x, block_y}, values, order);
  if (trouble.empty())
    return 0;
  std::strncpy(message, trouble.c_str(), room - 1);
  message[room - 1] = 0;
  return 1;
}
