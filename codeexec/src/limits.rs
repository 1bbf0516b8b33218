//! Resource limits of a program.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Resource limits of one program. All limits apply at the same time, and all are on by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time limit of the program with all its tests: processor time plus sleep, so it does not depend on the machine's
    /// load.
    pub time: Duration,
    /// Wall-time limit: a backstop for a machine that is too busy to give the program its processor time.
    pub wall: Duration,
    /// Maximum size in bytes of the guest's linear memory, including the interpreter (CPython: about 70 MB). The native
    /// backend limits the address space.
    pub memory: usize,
    /// Maximum number of bytes on each of standard output and standard error.
    pub output: usize,
    /// Maximum number of bytes that the program may store in its in-memory file system.
    pub disk: u64,
}

impl Limits {
    /// The default limits with another time limit and its matching wall-time limit.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self { time, wall: backstop(time), ..Self::default() }
    }
}

/// The wall-time limit for a time limit: ten times as long, and at least 30 s.
#[must_use]
pub fn backstop(time: Duration) -> Duration {
    time.saturating_mul(10).max(Duration::from_secs(30))
}

impl Default for Limits {
    fn default() -> Self {
        let time = Duration::from_secs(3);
        Self { time, wall: backstop(time), memory: 256 << 20, output: 1 << 20, disk: 16 << 20 }
    }
}
