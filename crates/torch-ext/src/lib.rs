//! C++ operators that `tch` lacks, called through a C interface on `tch`'s tensors: fused operators, attention for packed rows,
//! the packed CPU decoder, own GPU kernels and CUDA graphs. [`init`] loads libtorch's CUDA library if there is one; call it
//! before the first tensor is made.

mod adamw;
mod allocations;
mod attention;
mod catch;
mod cross_entropy;
mod cuda;
pub mod decoder;
mod fused;
mod generation;
mod generator;
mod gpu;
mod graph;
mod ops;
mod parallel;
mod projections;
pub mod sharing;

pub use adamw::{AdamW, fused_adamw};
pub use allocations::{Allocations, keep_tensors, trim_tensors};
pub use attention::{KeyRange, QuerySegment, range_attention, texts_fit, varlen_attention, varlen_fits};
pub use catch::catch;
pub use cross_entropy::{IGNORED, linear_cross_entropy, linear_cross_entropy_sum};
pub use cuda::{CudaLibrary, LIBTORCH, cpu_library, find_cuda_library, init};
pub use fused::{rms_norm, rotate_half, silu_gate};
pub use generation::{
    Drawing, PageTable, Sampled, page_attention, page_attention_fits, sample_tokens, sample_tokens_fits,
};
pub use generator::Generator;
pub use gpu::{GpuKernels, driver, emulated, gpu_kernels, gpu_memory_free, is_deterministic, set_deterministic};
pub use graph::{CudaGraphs, Memory, Recorded, Recorder, Step};
pub use ops::{OpError, backward_from, embedding, linear, take_grad};
pub use parallel::parallel_for;
pub use projections::{InputOp, Projection, multiplies_transposed, projections, trains_fused};
