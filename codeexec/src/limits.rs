//! The limits of a program.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one program. All of them apply at the same time, and all are on by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Time limit of the program with all its tests: processor time plus sleep. It does not depend on the load of the
    /// machine.
    pub time: Duration,
    /// Wall-time limit: a backstop for a machine that is too busy to give the program its processor time.
    pub wall: Duration,
    /// Maximum size of the guest's memory in bytes, including the interpreter (CPython: about 70 MB).
    pub memory: usize,
    /// Maximum number of bytes on standard output, and on standard error.
    pub output: usize,
    /// Maximum number of bytes of files in the private in-memory scratch folder.
    pub disk: u64,
}

impl Limits {
    /// Limits with this time, and the matching backstop.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self { time, wall: backstop(time), ..Self::default() }
    }
}

/// Ten times the program's time, and at least half a minute.
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
