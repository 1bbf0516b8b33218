// Own kernels on a GPU: what crates/cuda-kernels compiles, launched on libtorch's current stream.
#pragma once

#include <ATen/ATen.h>

namespace herd::gpu {

// The numbers are those of src/gpu.rs, which says which tensors and numbers each takes.
enum class Op : int { Norm = 0, NormBackward, Gate, GateBackward, Rotate, RotateBackward, CrossEntropy, Attention, Sample };

// Whether the kernels compute with x: it is on a GPU whose kernels could be compiled and loaded (the first call does that), or
// this thread emulates a GPU.
bool takes(const at::Tensor &x);

// Whether this thread emulates a GPU.
bool emulated();

// Puts an operation behind what is on the current stream of the device of `on`, whose type is that of the operation. An undefined
// tensor is a null pointer.
void launch(Op op, const at::Tensor &on, at::ArrayRef<at::Tensor> tensors, at::IntArrayRef numbers, double eps = 0);

} // namespace herd::gpu
