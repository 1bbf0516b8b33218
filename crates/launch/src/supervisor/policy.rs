//! Whether a failed run is started again.
//!
//! - A run that saved a newer checkpoint since its last start restarts, without a maximum.
//! - A restart without progress earns no other **when it failed in the same way**: with the same kind of end at the same step (a
//!   fault of the program), or on the same rank as another restart without progress before it (a fault of one device).
//! - A restart without progress that failed in another way was hit by an independent failure. At 16,384 GPUs, with a failure
//!   each 3.1 hours and about eight minutes from a start to the first checkpoint, every twentieth restart is. It may be repeated
//!   a few times in a row.
//! - The progress of a program without heartbeats is unknown. It has a number of restarts.

use std::time::Duration;

use serde::Serialize;

use super::signs::{Exit, Rank, Step, WRONG_NUMBERS};

/// Settings of the policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Restarts at most; none: as many as get further.
    pub restarts: Option<u32>,
    /// Restarts of a program that reports no checkpoints.
    pub blind: u32,
    /// Restarts in a row that got no further and failed in different ways.
    pub fruitless: u32,
    /// The pause before a restart after one that got no further, times their number.
    pub pause: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { restarts: None, blind: 3, fruitless: 3, pause: Duration::from_secs(10) }
    }
}

/// How a failure shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// A process ended.
    Exit(Exit),
    /// A rank stayed at one place beyond its limit.
    Stall,
    /// No sign of life.
    Silence,
    /// Stopped by a signal.
    Stopped,
    /// Wrong numbers.
    Corrupt,
}

/// A failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// Which rank was first.
    pub rank: Rank,
    /// How.
    pub kind: Kind,
    /// At which step, if that is known.
    pub step: Option<Step>,
}

impl Cause {
    /// Whether both are presumably the same fault. `again` says that both ended restarts without progress; the failure of a run
    /// that made progress says little about the rank that failed first.
    #[must_use]
    pub fn same(&self, other: &Self, again: bool) -> bool {
        self.kind == other.kind && (self.step == other.step || again && self.rank == other.rank)
    }

    /// The exit code that stands for it.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self.kind {
            Kind::Exit(exit) => exit.code(),
            // As `timeout` ends.
            Kind::Stall | Kind::Silence | Kind::Stopped => 124,
            Kind::Corrupt => WRONG_NUMBERS,
        }
    }
}

/// What an attempt reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attempt {
    /// From 0.
    pub number: u32,
    /// Whether any rank ever reported a checkpoint, or that there is none yet.
    pub reports: bool,
    /// Whether it saved a newer checkpoint than all before.
    pub further: bool,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Start again after a pause.
    Restart(Duration),
    /// Give up, and why.
    GiveUp(String),
}

/// What the attempts before reached.
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

    /// After an attempt that failed.
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
        // At the same step, on any rank.
        let mut history = History::new(Policy::default());
        assert!(restarts(&history.decide(attempt(0, true), exit(3, 50, 1))));
        assert_eq!(history.decide(attempt(1, false), exit(0, 50, 1)), given_up);
        // On the same rank at another step: twice without progress.
        let mut history = History::new(Policy::default());
        assert!(restarts(&history.decide(attempt(0, true), exit(3, 50, 1))));
        assert!(restarts(&history.decide(attempt(1, false), exit(3, 49, 1))));
        assert_eq!(history.decide(attempt(2, false), exit(3, 48, 1)), given_up);
        // In another way.
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
        // A number that is given holds for every program.
        let mut history = History::new(Policy { restarts: Some(0), ..Policy::default() });
        assert_eq!(
            history.decide(attempt(0, true), exit(1, 0, 9)),
            Decision::GiveUp("0 of 0 restarts are used".into())
        );
    }
}
