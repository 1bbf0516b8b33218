//! The native backend: this machine's own Python in bubblewrap, for programs that need packages which the sandbox
//! lacks, or for full speed. It is used only on request, and its verdicts say so.
//!
//! Program and judge are two processes with the same harness as in the sandbox. Each has its own namespaces: no
//! network, no view of other processes, and a file system with only `/dev`, an empty `/tmp` in memory, and read-only
//! folders of the system and of Python. A seccomp filter refuses new processes and syscalls that programs do not need.
//! Unlike the WebAssembly sandbox, this backend shares the kernel with the host.

mod bubblewrap;
mod process;
mod seccomp;

pub use bubblewrap::Native;

use serde::{Deserialize, Serialize};

/// The backend that runs programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The WebAssembly sandbox
    #[default]
    Wasm,
    /// This machine's own Python in bubblewrap, with weaker isolation
    Native,
}
