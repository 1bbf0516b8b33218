//! CUDA kernels as text: compiled for a GPU's architecture at run time by NVRTC, launched through the driver's interface, and
//! run on a processor by an emulation of blocks and threads behind the same text. Needs neither libtorch, nor CUDA's headers,
//! nor `nvcc`; NVRTC and the driver are opened at run time.
//!
//! - [`source`]: the text of the kernels (`cuda/`) and their names.
//! - [`ops`], [`decoding`]: each operation's launches: kernel, grid, block, arguments.
//! - [`Nvrtc`], [`compiled`]: compilation, and results kept in the cache folder.
//! - [`Driver`], [`Kernels`]: a GPU's module and launches on a stream.
//! - [`Emulator`]: the same launches on the processor.
//! - [`check`]: every kernel's values and gradients held against float64, on either.

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
