//! The native backend: this machine's own Python in bubblewrap, for programs that need packages which the sandbox lacks, or
//! full speed. It is only ever used where it is asked for, and its verdicts say so.
//!
//! Program and judge are two processes with the same harness as in the sandbox, each in namespaces of its own: no network,
//! no other process to see, nothing of the file system but the interpreter's folders (read-only) and an empty `/tmp` in
//! memory. A seccomp filter refuses new processes and what else a program has no need of. The kernel is what it shares with
//! the host, which the WebAssembly sandbox does not.

mod bubblewrap;
mod process;
mod seccomp;

pub use bubblewrap::Native;

use serde::{Deserialize, Serialize};

/// What runs programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// The WebAssembly sandbox
    #[default]
    Wasm,
    /// This machine's own Python in bubblewrap, with less between it and the machine
    Native,
}
