//! The restart policy: decides whether a failed run is restarted.
//!
//! - A run that saved a newer checkpoint since its last start restarts, without a maximum.
//! - After a restart without progress there is no other one **if it failed in the same way**: with the same kind of end at the same step
//!   (a fault of the program), or on the same rank as an earlier restart without progress (a fault of one device).
//! - A restart without progress that failed in another way met an independent failure. On 16,384 GPUs, with a failure every 3.1 hours and
//!   about eight minutes from a start to the first checkpoint, this happens to every twentieth restart. It may be repeated a few times in
//!   a row.
//! - The progress of a program without heartbeats is unknown. It has a fixed number of restarts.

use std::time::Duration;

use serde::Serialize;

use super::signs::{Exit, Rank, Step, WRONG_NUMBERS};

/// Settings of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Maximum number of restarts; none: no maximum while they make progress.
    pub restarts: Option<u32>,
    /// Maximum number of restarts of a program that reports no checkpoints.
    pub blind: u32,
    /// Maximum number of consecutive restarts without progress that failed in different ways.
    pub fruitless: u32,
    /// The pause before a restart after restarts without progress, multiplied by their number.
    pub pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { restarts: None, blind: 3, fruitless: 3, pause: Duration::from_secs(10) }
    }
}

/// The symptom of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// A process ended.
    Exit(Exit),
    /// A rank stayed at one place beyond its limit.
    Stall,
    /// A rank sent nothing.
    Silence,
    /// A process was stopped by a signal.
    Stopped,
    /// A rank computed wrong numbers.
    Corrupt,
}

/// A failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The rank that failed first.
    pub rank: Rank,
    /// The symptom.
    pub kind: Kind,
    /// The step, if known.
    pub step: Option<Step>,
}

impl Cause {
    /// Whether both failures presumably have the same cause. `again` says that both ended restarts without progress. If a run made
    /// progress, the rank that failed first says little.
    #[must_use]
    pub fn same(&self, other: &Self, again: bool) -> bool {
        self.kind == other.kind && (self.step == other.step || again && self.rank == other.rank)
    }

    /// The exit code for this failure.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self.kind {
            Kind::Exit(exit) => exit.code(),
            // The exit code of `timeout`.
            Kind::Stall | Kind::Silence | Kind::Stopped => 124,
            Kind::Corrupt => WRONG_NUMBERS,
        }
    }
}

/// The progress of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The attempt's number, from 0.
    pub number: u32,
    /// Whether any rank ever reported a checkpoint, or reported that there is none yet.
    pub reports: bool,
    /// Whether it saved a newer checkpoint than all attempts before.
    pub further: bool,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Start again after a pause.
    Restart(Duration),
    /// Give up, with the reason.
    GiveUp(String),
}

/// The outcome of earlier attempts.
#[derive(Debug, Clone)]
pub(super) struct History {
    policy: Policy,
    restarts: u32,
    fruitless: u32,
    last: Option<Cause>,
}

impl History {
    pub fn new(policy: Policy) -> Self {
        Self { policy, restarts: 0, fruitless: 0, last: None }
    }

    /// Decides after an attempt that failed.
    pub fn decide(&mut self, attempt: Attempt, cause: Cause) -> Decision {
        let last = self.last.replace(cause);
        let most = self.policy.restarts.unwrap_or(if attempt.reports { u32::MAX } else { self.policy.blind });
        if self.restarts >= most {
            return Decision::GiveUp(format!("{} of {most} restarts are used", self.restarts));
        }
        if attempt.reports && !attempt.further && attempt.number > 0 {
            self.fruitless += 1;
            if last.is_some_and(|last| last.same(&cause, self.fruitless > 1)) {
                return Decision::GiveUp("the restart made no progress and failed in the same way".into());
            }
            if self.fruitless > self.policy.fruitless {
                return Decision::GiveUp(format!("{} restarts in a row made no progress", self.fruitless));
            }
        } else {
            self.fruitless = 0;
        }
        self.restarts += 1;
        Decision::Restart(self.policy.pause * self.fruitless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(rank: Rank, step: Step, code: i32) -> Cause {
        Cause { rank, kind: Kind::Exit(Exit::Code(code)), step: Some(step) }
    }

    fn attempt(number: u32, further: bool) -> Attempt {
        Attempt { number, reports: true, further }
    }

    fn restarts(decision: &Decision) -> bool {
        matches!(decision, Decision::Restart(_))
    }

    #[test]
    fn progress_earns_restarts_without_end() {
        let mut history = History::new(Policy::default());
        for number in 0..1000 {
            let decision = history.decide(attempt(number, true), exit(3, 50, 1));
            assert_eq!(decision, Decision::Restart(Duration::ZERO), "attempt {number}");
        }
    }

    #[test]
    fn the_same_failure_without_progress_earns_none() {
        let given_up = Decision::GiveUp("the restart made no progress and failed in the same way".into());
        // The same step on any rank.
        let mut history = History::new(Policy::default());
        assert!(restarts(&history.decide(attempt(0, true), exit(3, 50, 1))));
        assert_eq!(history.decide(attempt(1, false), exit(0, 50, 1)), given_up);
        // The same rank at another step: two restarts without progress.
        let mut history = History::new(Policy::default());
        assert!(restarts(&history.decide(attempt(0, true), exit(3, 50, 1))));
        assert!(restarts(&history.decide(attempt(1, false), exit(3, 49, 1))));
        assert_eq!(history.decide(attempt(2, false), exit(3, 48, 1)), given_up);
        // Another symptom.
        let mut history = History::new(Policy::default());
        assert!(restarts(&history.decide(attempt(0, true), exit(3, 50, 1))));
        assert!(restarts(&history.decide(attempt(1, false), exit(3, 50, 2))));
    }

    #[test]
    fn other_failures_without_progress_earn_a_few() {
        let mut history = History::new(Policy::default());
        assert!(restarts(&history.decide(attempt(0, true), exit(3, 50, 1))));
        for number in 1..=3 {
            let decision = history.decide(attempt(number, false), exit(10 + number, 51 + u64::from(number), 1));
            assert_eq!(decision, Decision::Restart(Duration::from_secs(10) * number));
        }
        let decision = history.decide(attempt(4, false), exit(20, 60, 1));
        assert_eq!(decision, Decision::GiveUp("4 restarts in a row made no progress".into()));
    }

    #[test]
    fn progress_forgives() {
        let mut history = History::new(Policy::default());
        for number in 0..100 {
            let cause = exit(number, u64::from(number), 1);
            assert!(restarts(&history.decide(attempt(number, number % 2 == 0), cause)), "attempt {number}");
        }
    }

    #[test]
    fn a_program_without_reports_has_a_number_of_restarts() {
        let blind = |number| Attempt { number, reports: false, further: false };
        let mut history = History::new(Policy::default());
        for number in 0..3 {
            assert!(restarts(&history.decide(blind(number), exit(1, 0, 9))));
        }
        assert_eq!(history.decide(blind(3), exit(1, 0, 9)), Decision::GiveUp("3 of 3 restarts are used".into()));
        // A given number applies to every program.
        let mut history = History::new(Policy { restarts: Some(0), ..Policy::default() });
        assert_eq!(
            history.decide(attempt(0, true), exit(1, 0, 9)),
            Decision::GiveUp("0 of 0 restarts are used".into())
        );
    }
}
