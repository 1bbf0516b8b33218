//! The interface of the state machine: its events and its actions.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notice::Notice;

/// The index of a process in the run, from 0.
pub type Rank = u32;

/// An optimizer step.
pub type Step = u64;

/// Time since the supervisor began. The state machine has no clock: its driver passes the time.
pub type Time = Duration;

/// The machine and device of a rank, as messages name them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The machine.
    pub host: String,
    /// The device on it, such as `GPU 5`.
    pub device: String,
}

/// A set of ranks. A machine, or a tree of machines, reports in one event what all its ranks have in common, so that 16,384 ranks do not
/// need 16,384 events a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Who {
    /// One rank.
    One(Rank),
    /// Some ranks.
    These(Vec<Rank>),
    /// All ranks but some.
    AllBut(Vec<Rank>),
}

impl Who {
    /// All ranks.
    pub const ALL: Self = Self::AllBut(Vec::new());

    /// Whether a rank is in the set.
    #[must_use]
    pub fn has(&self, rank: Rank) -> bool {
        match self {
            Self::One(one) => *one == rank,
            Self::These(these) => these.contains(&rank),
            Self::AllBut(others) => !others.contains(&rank),
        }
    }
}

/// The place of a rank in its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// The current step.
    #[serde(default)]
    pub step: Step,
    /// The phase of the step: `load`, `forward`, `backward`, `optimizer`, `save`, or any other short name.
    pub phase: Cow<'static, str>,
    /// The micro-batch of the step, for phases that have them.
    #[serde(default)]
    pub micro_batch: Option<u32>,
    /// The collective in which it waits for the other ranks.
    #[serde(default)]
    pub waiting: Option<Cow<'static, str>>,
    /// Number of collectives entered so far; the rank with the fewest is behind.
    #[serde(default)]
    pub collective: u64,
    /// The step of the newest complete checkpoint on disk.
    #[serde(default)]
    pub saved: Option<Step>,
    /// The rank promises a heartbeat at least every so many seconds in any state; then silence is a symptom.
    #[serde(default)]
    pub every: Option<u32>,
    /// The ranks found that this rank's own work takes so many percent longer than that of the others.
    #[serde(default)]
    pub slow: Option<u32>,
    /// The ranks found that this rank has wrong numbers; the step of the newest checkpoint without them.
    #[serde(default)]
    pub corrupt: Option<Step>,
}

impl Beat {
    /// A heartbeat in a phase of a step, waiting for nobody.
    #[must_use]
    pub fn new(step: Step, phase: impl Into<Cow<'static, str>>) -> Self {
        Self {
            step,
            phase: phase.into(),
            micro_batch: None,
            waiting: None,
            collective: 0,
            saved: None,
            every: None,
            slow: None,
            corrupt: None,
        }
    }

    /// Whether both heartbeats are from the same place in the work: a rank that stays at one place makes no progress.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        (self.step, &self.phase, self.micro_batch, &self.waiting, self.collective)
            == (other.step, &other.phase, other.micro_batch, &other.waiting, other.collective)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Exit {
    /// It ended with this exit code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// Its state is unknown: its machine does not answer.
    Lost,
}

impl Exit {
    /// The exit code in a shell's convention: 128 plus the signal's number for a process that a signal ended.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::Lost => 1,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => write!(f, "was killed by {}", signal_name(*signal)),
            Self::Lost => f.write_str("is lost: its machine does not answer"),
        }
    }
}

/// The name of a signal: `SIGKILL` for 9; `signal 40` for numbers without a name here.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// An observation of ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A heartbeat.
    Beat(Beat),
    /// A line of output: the only sign of life of a program without heartbeats.
    Output,
    /// The process ended.
    Exited(Exit),
    /// The process could not be started, for this reason. It is not retried.
    NotStarted(String),
    /// The process was stopped by a signal (SIGSTOP).
    Stopped,
    /// A stopped process goes on (SIGCONT).
    Continued,
    /// The flight recorder of the rank is written.
    Dumped,
    /// The rank's own work takes this many percent longer than that of the others.
    Slow(u32),
    /// The rank computed wrong numbers; checkpoints after this step contain them.
    Corrupt(Step),
}

/// An event that the supervisor handles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An observation of ranks of an attempt. Events of an earlier attempt (a lingering process, a delayed message) are ignored.
    Ranks {
        /// The attempt that the ranks belong to.
        attempt: u32,
        /// The ranks.
        who: Who,
        /// The observation.
        sign: Sign,
    },
    /// Maintenance: save, end, and restart. The text gives the reason.
    Drain(String),
    /// A signal asks the supervisor itself to stop; the signal is forwarded to the ranks.
    Stop(i32),
    /// A signal that is only forwarded (SIGUSR1 saves a checkpoint).
    Forward(i32),
    /// The time named by [`Supervisor::deadline`](super::Supervisor::deadline) has come.
    Tick,
}

/// An action that the supervisor requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start all ranks.
    Start {
        /// The attempt's number, from 0.
        attempt: u32,
        /// The newest checkpoint that they may resume from, if it is not the newest of all. Later ones contain wrong numbers and have to
        /// be removed.
        at_most: Option<Step>,
    },
    /// Ask all ranks to write their flight recorders.
    Dump,
    /// Send a signal to the process groups of ranks.
    Signal {
        /// The signal's number.
        signal: i32,
        /// The ranks that receive it.
        who: Who,
    },
    /// Report a message.
    Say(Notice),
    /// The run has ended: no process is left.
    End(Outcome),
}

/// The exit code of ranks that end because one of them has wrong numbers.
pub const WRONG_NUMBERS: i32 = 76;

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// Every rank ended with exit code 0.
    Success,
    /// No further restart; the exit code says how the first rank failed (124 for a stall).
    Failed(i32),
    /// The supervisor was asked to stop by this signal.
    Stopped(i32),
}
