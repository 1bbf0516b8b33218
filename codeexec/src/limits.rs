//! What a program may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The limits of one program. All of them hold at once, and all of them are on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The program's time with all its tests: its processor time and what it sleeps. It does not depend on what else the
    /// machine does.
    pub time: Duration,
    /// Real time: a backstop for a machine that is too busy to give the program its processor time.
    pub wall: Duration,
    /// Largest size of the guest's memory in bytes, the interpreter's own included (CPython: about 70 MB).
    pub memory: usize,
    /// Most bytes on standard output, and the same on standard error.
    pub output: usize,
    /// Most bytes of files in the private in-memory scratch folder.
    pub disk: u64,
}

impl Limits {
    /// So much time, with the backstop that belongs to it.
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self { time, wall: backstop(time), ..Self::default() }
    }
}

/// Ten times the program's time, and half a minute at least.
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
