//! The error type of the crate. Each error is one sentence.

use std::path::PathBuf;

/// An error of compiling or launching a kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no `libnvrtc.so.13`.
    #[error(
        "no libnvrtc.so.13, which compiles kernels for a GPU ({looked}): run `cargo xtask setup --cuda`, or set HERD_NVRTC to \
         the file of a PyTorch 2.11 installation (nvidia/cu13/lib)"
    )]
    NoNvrtc {
        /// The places that were searched.
        looked: String,
    },
    /// A library cannot be opened, or lacks a function.
    #[error("{}: {reason}", path.display())]
    Library {
        /// The library.
        path: PathBuf,
        /// The dynamic linker's message.
        reason: String,
    },
    /// The NVIDIA driver cannot be opened.
    #[error("no NVIDIA driver: {reason}")]
    NoDriver {
        /// The dynamic linker's message.
        reason: String,
    },
    /// `--device` names no device.
    #[error("--device {given}: give cpu or cuda:N")]
    Device {
        /// The value that was given.
        given: String,
    },
    /// NVRTC reports an error in a program.
    #[error("NVRTC {version} does not compile the kernels for {architecture} ({reason}): {log}")]
    Compile {
        /// NVRTC's version.
        version: String,
        /// The architecture, for example `sm_90`.
        architecture: String,
        /// NVRTC's name of the error.
        reason: String,
        /// The compiler's messages.
        log: String,
    },
    /// A call of the driver failed.
    #[error("{call}: the NVIDIA driver answers {name} ({code})")]
    Driver {
        /// The driver function that failed.
        call: &'static str,
        /// The driver's name of the error.
        name: String,
        /// The number of the error.
        code: i32,
    },
    /// A kernel cannot be launched: the emulation found an error, or there is none of this name.
    #[error("{kernel}: {reason}")]
    Kernel {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        reason: String,
    },
    /// The cache folder cannot be found or written to.
    #[error("{}: {reason}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// The system's message.
        reason: String,
    },
}
