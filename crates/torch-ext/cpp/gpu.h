// Own GPU kernels: launches the kernels of crates/cuda-kernels on libtorch's current stream.
#pragma once

#include <ATen/ATen.h>

namespace herd::gpu {

// `plan` in src/gpu.rs uses the same numbers, and says which tensors and numbers each operation takes.
enum class Op : int { Norm = 0, NormBackward, Gate, GateBackward, Rotate, RotateBackward, CrossEntropy, Attention, Sample };

// Whether own GPU kernels can be launched on x: x is on a GPU for which the kernels compile and load (the first call does both),
// or x is on a CPU and this thread emulates a GPU.
bool takes(const at::Tensor &x);

// Whether this thread emulates a GPU.
bool emulated();

// Launches an operation on the current stream of the device of `on`; the type of `on` selects the kernel's element type. An
// undefined tensor is passed as a null pointer.
void launch(Op op, const at::Tensor &on, at::ArrayRef<at::Tensor> tensors, at::IntArrayRef numbers, double eps = 0);

} // namespace herd::gpu
