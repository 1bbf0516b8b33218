//! What the supervisor says: sentences for people ([`Display`](fmt::Display)), records for programs (serde).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use run::grouped;
use serde::Serialize;

use super::policy::Kind;
use super::signs::{Place, Rank, Step, signal_name};

/// A rank that holds the others up, and where it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// Which.
    pub rank: Rank,
    /// Where it computes.
    pub place: Place,
    /// What is wrong with it.
    pub kind: Kind,
    /// Its step, if it said so.
    pub step: Option<Step>,
    /// Its phase, if it said so.
    pub phase: Option<Cow<'static, str>>,
    /// Its micro-batch, if it said so.
    pub micro_batch: Option<u32>,
    /// The collective that it waits in, and its number.
    pub waiting: Option<(Cow<'static, str>, u64)>,
    /// Since when, in seconds.
    pub seconds: f64,
    /// The limit, in seconds.
    pub limit: f64,
    /// How many times the limit was learned from; 0 for a fixed one.
    pub learned_from: u64,
}

/// Ranks that wait for others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waiting {
    /// How many.
    pub ranks: usize,
    /// In which collective.
    pub operation: Cow<'static, str>,
    /// The collective's number.
    pub collective: u64,
}

/// Something to say.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Notice {
    /// A program cannot be started.
    NotStarted {
        /// Which rank.
        rank: Rank,
        /// Where.
        place: Place,
        /// The system's reason.
        why: String,
    },
    /// A rank ended too early.
    Failed {
        /// Which.
        rank: Rank,
        /// Where it computed.
        place: Place,
        /// How it ended.
        end: String,
        /// Its step, if it said so.
        step: Option<Step>,
        /// Its phase, if it said so.
        phase: Option<Cow<'static, str>>,
        /// Ranks that still run, and are ended.
        others: usize,
    },
    /// Ranks make no progress.
    Stall {
        /// Who is behind: some of them if there are many.
        suspects: Vec<Suspect>,
        /// Further ones.
        more: usize,
        /// Who waits for them.
        waiting: Option<Waiting>,
    },
    /// A rank is slower than the others.
    Slow {
        /// Which.
        rank: Rank,
        /// Where it computes.
        place: Place,
        /// Its own work takes this many percent longer than the other ranks'.
        percent: u32,
    },
    /// A rank computed wrong numbers.
    Corrupt {
        /// Which.
        rank: Rank,
        /// Where it computes.
        place: Place,
        /// The last checkpoint without them.
        verified: Step,
    },
    /// The run begins again.
    Restart {
        /// The new attempt's number.
        attempt: u32,
        /// The checkpoint that it goes on from, if one was reported.
        step: Option<Step>,
        /// Whether that is a newer one than at the attempt before; none where nothing is reported.
        further: Option<bool>,
        /// Seconds until then.
        pause: f64,
    },
    /// There is no further restart.
    GivenUp {
        /// Why.
        why: String,
        /// The attempts that there were.
        attempts: u32,
    },
    /// Maintenance.
    Drain {
        /// Why.
        why: String,
    },
    /// Asked to stop.
    Stopping {
        /// By this signal.
        signal: i32,
        /// Ranks that run.
        ranks: usize,
        /// Seconds that they have.
        grace: f64,
    },
    /// Ranks are killed that did not end in time.
    Killing {
        /// How many.
        ranks: usize,
        /// The first of them.
        first: Rank,
        /// Where that is.
        place: Place,
        /// Seconds that they had.
        grace: f64,
    },
    /// Killed processes that are still there.
    Undead {
        /// How many.
        ranks: usize,
        /// The first of them.
        first: Rank,
        /// Where that is.
        place: Place,
    },
}

/// `rank 13 (b7, GPU 5)`.
fn named(f: &mut fmt::Formatter<'_>, rank: Rank, place: &Place) -> fmt::Result {
    write!(f, "rank {rank} ({}, {})", place.host, place.device)
}

/// Seconds of a limit: `30`, `0.5`.
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

/// Seconds of a time, for notices.
pub(super) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}
