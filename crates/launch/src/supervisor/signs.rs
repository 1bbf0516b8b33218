//! What reaches the supervisor, and what it asks for: the whole interface of the state machine.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::notice::Notice;

/// A process among all of a run, from 0.
pub type Rank = u32;

/// An optimizer step.
pub type Step = u64;

/// Time since the supervisor began. The state machine has no clock: whoever drives it says what time it is.
pub type Time = Duration;

/// Where a rank computes, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The machine.
    pub host: String,
    /// The device on it, such as `GPU 5`.
    pub device: String,
}

/// Ranks that something is said about. A machine, or a tree of machines, says in one event what all of its ranks have in
/// common, so that 16,384 ranks do not need 16,384 events a step.
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

    /// Whether a rank is among them.
    #[must_use]
    pub fn has(&self, rank: Rank) -> bool {
        match self {
            Self::One(one) => *one == rank,
            Self::These(these) => these.contains(&rank),
            Self::AllBut(others) => !others.contains(&rank),
        }
    }
}

/// Where a rank is in its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beat {
    /// The step that it works on.
    #[serde(default)]
    pub step: Step,
    /// The part of the step: `load`, `forward`, `backward`, `optimizer`, `save`; any short name will do.
    pub phase: Cow<'static, str>,
    /// The micro-batch of the step, for phases that have them.
    #[serde(default)]
    pub micro_batch: Option<u32>,
    /// The collective that it waits in for the other ranks.
    #[serde(default)]
    pub waiting: Option<Cow<'static, str>>,
    /// Collectives entered so far: who has the fewest is behind.
    #[serde(default)]
    pub collective: u64,
    /// The newest checkpoint that is whole on the disk, by its step.
    #[serde(default)]
    pub saved: Option<Step>,
    /// The rank promises a heartbeat at least every so many seconds, whatever it does: silence is a sign then.
    #[serde(default)]
    pub every: Option<u32>,
    /// The ranks have found that this one takes so many percent longer for its own work than the others.
    #[serde(default)]
    pub slow: Option<u32>,
    /// The ranks have found that this one has wrong numbers; the newest checkpoint without them, by its step.
    #[serde(default)]
    pub corrupt: Option<Step>,
}

impl Beat {
    /// In a phase of a step, waiting for nobody.
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

    /// Whether the other beat is from the same place in the work: a rank that stays at one place makes no progress.
    #[must_use]
    pub fn same_place(&self, other: &Self) -> bool {
        (self.step, &self.phase, self.micro_batch, &self.waiting, self.collective)
            == (other.step, &other.phase, other.micro_batch, &other.waiting, other.collective)
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Nothing is known of it any more: its machine does not answer.
    Lost,
}

impl Exit {
    /// The exit code as shells give it: 128 and the signal's number for a process that a signal ended.
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

/// `SIGKILL` for 9; `signal 40` for numbers without a name here.
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

/// What is seen of ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sign {
    /// A heartbeat.
    Beat(Beat),
    /// A line of output: the only sign of life of a program without heartbeats.
    Output,
    /// The process ended.
    Exited(Exit),
    /// The process could not be started, and why. It is not tried again.
    NotStarted(String),
    /// The process was stopped by a signal (SIGSTOP).
    Stopped,
    /// A stopped process goes on (SIGCONT).
    Continued,
    /// The flight recorder of the rank is written.
    Dumped,
    /// The rank takes this many percent longer for its own work than the others.
    Slow(u32),
    /// The rank computed wrong numbers; checkpoints after this step hold them.
    Corrupt(Step),
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something is seen of ranks of an attempt. What comes from an earlier attempt than the present one is ignored: a
    /// process that lingers, a message that was under way.
    Ranks {
        /// The attempt that the ranks belong to.
        attempt: u32,
        /// Which ranks.
        who: Who,
        /// What is seen.
        sign: Sign,
    },
    /// Maintenance: save, end, and start again. The text says why.
    Drain(String),
    /// The supervisor itself is asked to stop by a signal, which goes on to the ranks.
    Stop(i32),
    /// A signal that is only passed on (SIGUSR1 saves a checkpoint).
    Forward(i32),
    /// The time that [`Supervisor::deadline`](super::Supervisor::deadline) named has come.
    Tick,
}

/// What the supervisor asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start all ranks.
    Start {
        /// The attempt's number, from 0.
        attempt: u32,
        /// The newest checkpoint that they may continue from, if not the newest of all. Later ones hold wrong numbers and
        /// have to be removed.
        at_most: Option<Step>,
    },
    /// Ask all ranks to write their flight recorders.
    Dump,
    /// Send a signal to the process groups of ranks.
    Signal {
        /// The signal's number.
        signal: i32,
        /// To whom.
        who: Who,
    },
    /// Say something to people.
    Say(Notice),
    /// All is over: nothing runs any more.
    End(Outcome),
}

/// The exit code of ranks that end because one of them has wrong numbers.
pub const WRONG_NUMBERS: i32 = 76;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Outcome {
    /// Every rank ended with exit code 0.
    Success,
    /// No further restart; the exit code says how the first rank failed (124 for a stall).
    Failed(i32),
    /// Ended because the supervisor was asked to, by this signal.
    Stopped(i32),
}
