//! What a program may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one program. All of them hold at once, and all of them are on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Wall clock for the program with all its tests, what it sleeps included.
    pub wall: Duration,
    /// Processor time for the program with all its tests.
    pub cpu: Duration,
    /// Largest size of the guest's memory in bytes, the interpreter's own included (CPython: about 70 MB).
    pub memory: usize,
    /// Most bytes on standard output, and the same on standard error.
    pub output: usize,
    /// Most bytes of files in the private in-memory scratch folder.
    pub disk: u64,
}

impl Default for Limits {
    fn default() -> Self {
        let wall = Duration::from_secs(3);
        Self { wall, cpu: wall, memory: 256 << 20, output: 1 << 20, disk: 16 << 20 }
    }
}
