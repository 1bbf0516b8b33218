//! The little C++ that `tch` lacks, behind a C interface on the same tensors, and what has to happen before the first
//! tensor: finding the CUDA kernels of libtorch, if there are any.

mod adamw;
mod cross_entropy;
mod cuda;
mod fused;
mod ops;

pub use adamw::{AdamW, fused_adamw};
pub use cross_entropy::{IGNORED, linear_cross_entropy, linear_cross_entropy_sum};
pub use cuda::{CudaLibrary, cpu_library, find_cuda_library, init};
pub use fused::{rms_norm, rotate_half, silu_gate};
pub use ops::{OpError, linear};
