//! The little C++ that `tch` lacks, behind a C interface on the same tensors, and what has to happen before the first
//! tensor: finding the CUDA kernels of libtorch, if there are any.

mod cuda;
mod ops;

pub use cuda::{CudaLibrary, cpu_library, find_cuda_library, init};
pub use ops::{OpError, linear};
