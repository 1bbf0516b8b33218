//! What can go wrong, each as one sentence.

use std::path::PathBuf;

/// An error of compiling or launching a kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No `libnvrtc.so.13` anywhere.
    #[error(
        "no libnvrtc.so.13, which compiles kernels for a GPU ({looked}): run `cargo xtask setup --cuda`, or set HERD_NVRTC to \
         the file of a PyTorch 2.11 installation (nvidia/cu13/lib)"
    )]
    NoNvrtc {
        /// The places, as text.
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
    /// No driver.
    #[error("no NVIDIA driver: {reason}")]
    NoDriver {
        /// The dynamic linker's message.
        reason: String,
    },
    /// NVRTC refused a program.
    #[error("NVRTC {version} does not compile the kernels for {architecture} ({reason}): {log}")]
    Compile {
        /// NVRTC's version.
        version: String,
        /// The architecture, as `sm_90`.
        architecture: String,
        /// NVRTC's name of the error.
        reason: String,
        /// Its messages.
        log: String,
    },
    /// A call of the driver failed.
    #[error("{call}: the NVIDIA driver answers {name} ({code})")]
    Driver {
        /// The function.
        call: &'static str,
        /// The driver's name of the error.
        name: String,
        /// Its number.
        code: i32,
    },
    /// The emulation found a fault.
    #[error("{kernel}: {reason}")]
    Emulation {
        /// The kernel.
        kernel: String,
        /// The fault.
        reason: String,
    },
    /// The cache folder.
    #[error("{}: {reason}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}
