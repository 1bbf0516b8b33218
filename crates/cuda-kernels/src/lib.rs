//! CUDA kernels as source text. NVRTC compiles them for a GPU's architecture at run time, and the driver API launches them. For
//! tests, an emulation of blocks and threads runs the same text on a CPU. The crate needs neither libtorch, nor CUDA's headers,
//! nor `nvcc`; it opens NVRTC and the driver at run time.
//!
//! - [`source`]: the text of the kernels (`cuda/`) and their names.
//! - [`ops`], [`decoding`]: the launches of each operation: kernel, grid, block, arguments.
//! - [`Nvrtc`], [`compiled`]: compilation, and the cache of compiled kernels.
//! - [`Driver`], [`Kernels`]: the loaded kernels of a GPU, and launches on a stream.
//! - [`Emulator`]: the same launches on the CPU.
//! - [`check`]: compares every kernel's values and gradients with float64 formulas, in the emulation or on a GPU.

pub mod check;
pub mod decoding;
mod driver;
mod emulate;
mod error;
mod images;
mod kernels;
mod launch;
mod locate;
mod nvrtc;
pub mod ops;
mod reference;
pub mod source;

pub use driver::{Api, Driver};
pub use emulate::Emulator;
pub use error::KernelError;
pub use images::{Origin, compiled};
pub use kernels::{Gpu, Kernels};
pub use launch::{Argument, Element, Launch, Limits};
pub use locate::{find_nvrtc, nvrtc_in_cache};
pub use nvrtc::{Architecture, Form, Image, Nvrtc};
