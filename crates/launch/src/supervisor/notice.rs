//! The messages of the supervisor: sentences for people ([`Display`](fmt::Display)), records for programs (serde).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use run::grouped;
use serde::Serialize;

use super::policy::Kind;
use super::signs::{Place, Rank, Step, signal_name};

/// A rank that delays the others, with its place in the work.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// The rank.
    pub rank: Rank,
    /// The machine and device.
    pub place: Place,
    /// The kind of problem.
    pub kind: Kind,
    /// Its step, if known.
    pub step: Option<Step>,
    /// Its phase, if known.
    pub phase: Option<Cow<'static, str>>,
    /// Its micro-batch, if known.
    pub micro_batch: Option<u32>,
    /// The collective that it waits in, and its number.
    pub waiting: Option<(Cow<'static, str>, u64)>,
    /// Time at this place, in seconds.
    pub seconds: f64,
    /// The limit, in seconds.
    pub limit: f64,
    /// Number of times that the limit was learned from; 0 for a fixed one.
    pub learned_from: u64,
}

/// Ranks that wait for others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waiting {
    /// Number of waiting ranks.
    pub ranks: usize,
    /// The operation of the collective that they wait in.
    pub operation: Cow<'static, str>,
    /// The number of that collective.
    pub collective: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Notice {
    /// A program cannot be started.
    NotStarted {
        /// The rank.
        rank: Rank,
        /// Its machine and device.
        place: Place,
        /// The system's reason.
        why: String,
    },
    /// A rank ended unexpectedly.
    Failed {
        /// The rank.
        rank: Rank,
        /// Its machine and device.
        place: Place,
        /// How the process ended.
        end: String,
        /// Its step, if known.
        step: Option<Step>,
        /// Its phase, if known.
        phase: Option<Cow<'static, str>>,
        /// Number of ranks that still run and will be ended.
        others: usize,
    },
    /// Ranks make no progress.
    Stall {
        /// The ranks that are behind; some of them if there are many.
        suspects: Vec<Suspect>,
        /// Number of further ranks that are behind.
        more: usize,
        /// The ranks that wait for them.
        waiting: Option<Waiting>,
    },
    /// A rank is slower than the others.
    Slow {
        /// The rank.
        rank: Rank,
        /// Its machine and device.
        place: Place,
        /// By how many percent its own work takes longer than that of the other ranks.
        percent: u32,
    },
    /// A rank computed wrong numbers.
    Corrupt {
        /// The rank.
        rank: Rank,
        /// Its machine and device.
        place: Place,
        /// The last checkpoint without wrong numbers.
        verified: Step,
    },
    /// The run restarts.
    Restart {
        /// The new attempt's number.
        attempt: u32,
        /// The checkpoint that it resumes from, if one was reported.
        step: Option<Step>,
        /// Whether this checkpoint is newer than that of the previous attempt; none if ranks report none.
        further: Option<bool>,
        /// Seconds until the restart.
        pause: f64,
    },
    /// There is no further restart.
    GivenUp {
        /// The reason.
        why: String,
        /// The number of attempts.
        attempts: u32,
    },
    /// The run saves and restarts for maintenance.
    Drain {
        /// The reason.
        why: String,
    },
    /// The supervisor was asked to stop.
    Stopping {
        /// The signal.
        signal: i32,
        /// Number of running ranks.
        ranks: usize,
        /// Seconds until they are killed.
        grace: f64,
    },
    /// Ranks that did not end in time are killed.
    Killing {
        /// Number of these ranks.
        ranks: usize,
        /// The first of them.
        first: Rank,
        /// Its machine and device.
        place: Place,
        /// Seconds that they had to end.
        grace: f64,
    },
    /// Killed processes that are still there.
    Undead {
        /// Number of these processes.
        ranks: usize,
        /// The first of them.
        first: Rank,
        /// Its machine and device.
        place: Place,
    },
}

/// Formats a rank: `rank 13 (b7, GPU 5)`.
fn named(f: &mut fmt::Formatter<'_>, rank: Rank, place: &Place) -> fmt::Result {
    write!(f, "rank {rank} ({}, {})", place.host, place.device)
}

/// Formats the seconds of a limit: `30`, `0.5`.
fn short(seconds: f64) -> String {
    if (seconds - seconds.round()).abs() < 0.05 { format!("{seconds:.0}") } else { format!("{seconds:.1}") }
}

fn place_in_work(step: Option<Step>, phase: Option<&str>, micro_batch: Option<u32>) -> String {
    let mut text = String::new();
    if let Some(phase) = phase {
        text += phase;
    }
    if let Some(step) = step {
        text += &format!(" of step {}", grouped(step));
    }
    if let Some(micro_batch) = micro_batch {
        text += &format!(", micro-batch {micro_batch}");
    }
    text
}

impl fmt::Display for Suspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        named(f, self.rank, &self.place)?;
        let (seconds, work) = (self.seconds, place_in_work(self.step, self.phase.as_deref(), self.micro_batch));
        let last = if work.is_empty() { String::new() } else { format!(", last seen in {work}") };
        match (self.kind, &self.waiting) {
            (Kind::Silence, _) => write!(f, " has been silent for {seconds:.0} s{last}")?,
            (Kind::Stopped, _) => write!(f, " has been stopped (SIGSTOP) for {seconds:.0} s{last}")?,
            (_, Some((operation, number))) => {
                write!(f, " has waited in {operation} {} for {seconds:.0} s{last}", grouped(*number))?;
            }
            (_, None) => write!(f, " has been in {work} for {seconds:.0} s")?,
        }
        match self.learned_from {
            0 => write!(f, " (limit {} s)", short(self.limit)),
            seen => write!(f, " (limit {} s, learned from {} samples)", short(self.limit), grouped(seen)),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { rank, place, why } => {
                named(f, *rank, place)?;
                write!(f, " cannot be started: {why}")
            }
            Self::Failed { rank, place, end, step, phase, others } => {
                named(f, *rank, place)?;
                write!(f, " {end}")?;
                if phase.is_some() {
                    write!(f, " in {}", place_in_work(*step, phase.as_deref(), None))?;
                }
                match others {
                    0 => Ok(()),
                    1 => f.write_str("; the other rank is terminated"),
                    others => write!(f, "; the other {others} ranks are terminated"),
                }
            }
            Self::Stall { suspects, more, waiting } => {
                for (at, suspect) in suspects.iter().enumerate() {
                    write!(f, "{}{suspect}", if at > 0 { "; " } else { "" })?;
                }
                if *more > 0 {
                    write!(f, "; so have {more} more")?;
                }
                match waiting {
                    None => Ok(()),
                    Some(Waiting { ranks, operation, collective }) => {
                        let verb = if *ranks == 1 { "waits" } else { "wait" };
                        write!(f, "; {ranks} {verb} for it in {operation} {}", grouped(*collective))
                    }
                }
            }
            Self::Slow { rank, place, percent } => {
                named(f, *rank, place)?;
                write!(f, " takes {percent}% longer for its own work than the other ranks")
            }
            Self::Corrupt { rank, place, verified } => {
                named(f, *rank, place)?;
                write!(f, " computed wrong values; the run returns to the checkpoint of step {}", grouped(*verified))
            }
            Self::Restart { attempt, step, further, pause } => {
                write!(f, "restart {attempt}")?;
                match step {
                    Some(step) => write!(f, " from the checkpoint of step {}", grouped(*step))?,
                    None => f.write_str(" from the beginning")?,
                }
                if *further == Some(false) {
                    f.write_str(", without progress since the last start")?;
                }
                if *pause > 0.0 { write!(f, ", in {} s", short(*pause)) } else { Ok(()) }
            }
            Self::GivenUp { why, attempts } => {
                write!(f, "gave up after {attempts} attempt{}: {why}", if *attempts == 1 { "" } else { "s" })
            }
            Self::Drain { why } => write!(f, "{why}: the ranks save, exit and restart"),
            Self::Stopping { signal, ranks, grace } => {
                write!(f, "{} is passed to {ranks} ranks; they have {} s to exit", signal_name(*signal), short(*grace))
            }
            Self::Killing { ranks, first, place, grace } => {
                write!(f, "{ranks} ranks did not exit within {} s and are killed; the first is ", short(*grace))?;
                named(f, *first, place)
            }
            Self::Undead { ranks, first, place } => {
                write!(f, "{ranks} killed ranks still exist (blocked in the kernel); the first is ")?;
                named(f, *first, place)
            }
        }
    }
}

/// Converts a duration into seconds for messages.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
