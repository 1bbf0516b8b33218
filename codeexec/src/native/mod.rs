//! The native backend: this machine's own Python in bubblewrap, for programs that need packages which the sandbox
//! lacks, or for full speed. It is used only when asked for, and its verdicts name it.
//!
//! Program and judge are two processes with the same harness as in the sandbox, each in its own namespaces: no
//! network, no view of other processes, and no file system except the interpreter's folders (read-only) and an empty
//! `/tmp` in memory. A seccomp filter refuses new processes and other calls that a program does not need. Unlike the
//! WebAssembly sandbox, it shares the kernel with the host.

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
