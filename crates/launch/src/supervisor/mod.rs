//! The supervisor of a run of many processes, as a pure state machine: events in, actions out.
//!
//! The module has neither clock nor processes. `herd launch` drives it with real processes ([`crate::process`]), `herd plan faults` with
//! a virtual clock and 16,384 simulated GPUs ([`crate::faults`]); both run the same code.
//!
//! ```text
//!            Start                 failed, stalled, corrupt            all ended          policy
//!   begin ─────────► Running ──┬──────────────────────────► Ending ─────────────► Pausing ──────► Running
//!                       │      └── stall ──► Dumping ──────►   │                     │
//!                       │ all ended with 0                     │ stop                │ no further restart
//!                       ▼                                      ▼                     ▼
//!                    Success                                Stopped                Failed
//! ```
//!
//! - **One failure ends all ranks.** Collectives need all ranks; the remaining ones would wait for their time-outs.
//! - **A stall is detected from heartbeats**, long before a collective's time-out ([`limits`](Limits)). A rank that waits in a collective
//!   is not behind; the ranks that do not wait are. If all ranks wait, those in the earliest collective are behind.
//! - **Flight recorders are requested before anything is killed**; the ranks have a few seconds to write them.
//! - **Restarts have to make progress** ([`policy`](Policy)).
//! - **Events of earlier attempts are ignored.** Each event of a rank names its attempt.
//!
//! **Several machines.** One supervisor decides for all machines; the others would forward events of their ranks and carry out its
//! actions. Therefore one event may concern many ranks ([`Who`]), a machine that does not answer counts as an exit of its ranks
//! ([`Exit::Lost`]), and every action names ranks instead of processes. Today only the driver for one machine exists.

mod limits;
mod notice;
mod policy;
mod signs;
mod tracks;

use std::sync::Arc;
use std::time::Duration;

pub use limits::{Limit, Limits};
pub use notice::{Notice, Suspect, Waiting};
pub use policy::{Cause, Kind, Policy};
pub use signs::{Action, Beat, Event, Exit, Outcome, Place, Rank, Sign, Step, Time, WRONG_NUMBERS, Who, signal_name};
pub use tracks::LOAD;

use limits::Learned;
use notice::seconds;
use policy::{Attempt, Decision, History};
use tracks::{Late, Tracks};

/// Maximum number of suspects that a message names.
const NAMED: usize = 4;

/// Settings of a supervisor.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The stall limits.
    pub limits: Limits,
    /// The restart policy.
    pub policy: Policy,
    /// The time that ranks have to write flight recorders.
    pub dump: Duration,
    /// The time between SIGTERM and SIGKILL for the remaining ranks after a failure.
    pub failure_grace: Duration,
    /// The time to save and end when the supervisor is asked to stop, or for maintenance.
    pub stop_grace: Duration,
    /// Whether a slow rank is a reason to save and restart (without its device, if the machines have spare ones).
    pub restart_slow: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            policy: Policy::default(),
            dump: Duration::from_secs(5),
            failure_grace: Duration::from_secs(5),
            stop_grace: Duration::from_secs(30),
            restart_slow: false,
        }
    }
}

/// The reason why ranks are being ended.
#[derive(Debug, Clone, PartialEq)]
enum Why {
    Failure(Cause),
    Drain,
    Stop(i32),
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    Idle,
    Running,
    Dumping { cause: Cause, until: Time, missing: usize },
    Ending { why: Why, kill: Time, grace: Duration, killed: bool },
    Pausing { until: Time },
    Ended,
}

/// The state machine.
#[derive(Debug)]
pub struct Supervisor {
    places: Arc<[Place]>,
    settings: Settings,
    state: State,
    attempt: u32,
    tracks: Tracks,
    history: History,
    /// The newest checkpoint.
    saved: Option<Step>,
    /// The newest checkpoint when the attempt began.
    saved_before: Option<Step>,
    /// Checkpoints beyond this one hold wrong numbers.
    at_most: Option<Step>,
    /// The rank that was last reported as slow, and by how many percent.
    slow: Option<(Rank, u32)>,
}

impl Supervisor {
    /// Makes a supervisor for ranks at these places.
    #[must_use]
    pub fn new(places: Arc<[Place]>, settings: Settings) -> Self {
        let tracks = Tracks::new(places.len(), Learned::new(settings.limits.clone()));
        let history = History::new(settings.policy.clone());
        Self {
            places,
            settings,
            state: State::Idle,
            attempt: 0,
            tracks,
            history,
            saved: None,
            saved_before: None,
            at_most: None,
            slow: None,
        }
    }

    /// The number of the current attempt, from 0.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The newest checkpoint that ranks reported.
    #[must_use]
    pub fn saved(&self) -> Option<Step> {
        self.saved
    }

    /// Whether the run has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == State::Ended
    }

    /// Starts the first attempt: the actions to take.
    pub fn begin(&mut self, now: Time) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.state == State::Idle {
            self.start(now, &mut actions);
        }
        actions
    }

    /// The time at which [`Event::Tick`] is needed next.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Idle | State::Ended => None,
            State::Running => self.tracks.deadline(),
            State::Dumping { until, .. } | State::Pausing { until } => Some(*until),
            State::Ending { kill, .. } => Some(*kill),
        }
    }

    /// Handles an event: the actions to take.
    pub fn handle(&mut self, now: Time, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Ranks { attempt, who, sign } => {
                if attempt == self.attempt && !matches!(self.state, State::Idle | State::Pausing { .. } | State::Ended)
                {
                    self.sign(now, &who, sign, &mut actions);
                }
            }
            Event::Drain(why) => self.drain(now, why, &mut actions),
            Event::Stop(signal) => self.stop(now, signal, &mut actions),
            Event::Forward(signal) => {
                if self.state == State::Running {
                    actions.push(Action::Signal { signal, who: self.tracks.who_runs() });
                }
            }
            Event::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    fn start(&mut self, now: Time, actions: &mut Vec<Action>) {
        self.saved_before = self.saved;
        self.slow = None;
        self.tracks.restart(now);
        self.state = State::Running;
        actions.push(Action::Start { attempt: self.attempt, at_most: self.at_most });
    }

    fn sign(&mut self, now: Time, who: &Who, sign: Sign, actions: &mut Vec<Action>) {
        match sign {
            Sign::Beat(beat) => {
                if beat.saved > self.saved {
                    self.saved = beat.saved;
                    // Newer checkpoints than the bad ones are valid again.
                    if self.at_most.is_some_and(|at_most| beat.saved > Some(at_most)) {
                        self.at_most = None;
                    }
                }
                self.tracks.beat(now, who, &beat);
                if let Some(verified) = beat.corrupt {
                    self.sign(now, who, Sign::Corrupt(verified), actions);
                } else if let (Some(percent), Some(rank)) = (beat.slow, self.tracks.first_of(who)) {
                    // Every heartbeat of a slow rank repeats this; only a change is reported.
                    if self.slow.replace((rank, percent)) != Some((rank, percent)) {
                        self.sign(now, who, Sign::Slow(percent), actions);
                    }
                }
            }
            Sign::Output => self.tracks.heard(now, who),
            Sign::Stopped => self.tracks.stopped(now, who),
            Sign::Continued => self.tracks.continued(now, who),
            Sign::Exited(exit) => self.exited(now, who, exit, actions),
            Sign::NotStarted(why) => self.not_started(now, who, why, actions),
            Sign::Dumped => {
                if let State::Dumping { missing, .. } = &mut self.state {
                    *missing = missing.saturating_sub(self.tracks.count(who));
                    if *missing == 0 {
                        self.tick_at_once(now, actions);
                    }
                }
            }
            Sign::Slow(percent) => {
                let Some(rank) = self.tracks.first_of(who).filter(|_| self.state == State::Running) else { return };
                actions.push(Action::Say(Notice::Slow { rank, place: self.place(rank), percent }));
                if self.settings.restart_slow {
                    self.drain(now, format!("rank {rank} is slow"), actions);
                }
            }
            Sign::Corrupt(verified) => {
                let Some(rank) = self.tracks.first_of(who).filter(|_| self.state == State::Running) else { return };
                actions.push(Action::Say(Notice::Corrupt { rank, place: self.place(rank), verified }));
                self.saved = self.saved.min(Some(verified));
                self.at_most = Some(verified);
                let step = self.tracks.place_of(rank).map(|beat| beat.step);
                self.kill(now, Why::Failure(Cause { rank, kind: Kind::Corrupt, step }), actions);
            }
        }
    }

    fn place(&self, rank: Rank) -> Place {
        let unknown = || Place { host: "?".into(), device: "?".into() };
        self.places.get(rank as usize).cloned().unwrap_or_else(unknown)
    }

    fn exited(&mut self, now: Time, who: &Who, exit: Exit, actions: &mut Vec<Action>) {
        let Some(rank) = self.tracks.first_of(who) else { return };
        if matches!(who, Who::One(_)) && self.tracks.exit(rank).is_some() {
            return;
        }
        self.tracks.exited(who, exit);
        if self.state == State::Running && exit != Exit::Code(0) {
            let beat = self.tracks.place_of(rank);
            let (step, phase) = (beat.map(|beat| beat.step), beat.map(|beat| beat.phase.clone()));
            let others = self.tracks.running();
            let notice = Notice::Failed { rank, place: self.place(rank), end: exit.to_string(), step, phase, others };
            actions.push(Action::Say(notice));
            self.end(now, Why::Failure(Cause { rank, kind: Kind::Exit(exit), step }), libc::SIGTERM, actions);
        }
        if self.tracks.running() == 0 {
            self.all_ended(now, actions);
        }
    }

    /// The program itself cannot be started; another attempt would fail too.
    fn not_started(&mut self, now: Time, who: &Who, why: String, actions: &mut Vec<Action>) {
        let Some(rank) = self.tracks.first_of(who) else { return };
        self.tracks.exited(who, Exit::Code(127));
        if !matches!(self.state, State::Ended) {
            actions.push(Action::Say(Notice::NotStarted { rank, place: self.place(rank), why }));
            self.settings.policy.restarts = Some(0);
            self.history = History::new(self.settings.policy.clone());
            let cause = Cause { rank, kind: Kind::Exit(Exit::Code(127)), step: None };
            self.kill(now, Why::Failure(cause), actions);
        }
        if self.tracks.running() == 0 {
            self.all_ended(now, actions);
        }
    }

    /// Signals the remaining ranks and gives them time to end.
    fn end(&mut self, now: Time, why: Why, signal: i32, actions: &mut Vec<Action>) {
        let grace = match why {
            Why::Failure(_) => self.settings.failure_grace,
            Why::Drain | Why::Stop(_) => self.settings.stop_grace,
        };
        if self.tracks.running() > 0 {
            actions.push(Action::Signal { signal, who: self.tracks.who_runs() });
        }
        self.state = State::Ending { why, kill: now + grace, grace, killed: false };
    }

    /// Kills the remaining ranks.
    fn kill(&mut self, now: Time, why: Why, actions: &mut Vec<Action>) {
        if self.tracks.running() > 0 {
            actions.push(Action::Signal { signal: libc::SIGKILL, who: self.tracks.who_runs() });
        }
        self.state = State::Ending { why, kill: now + UNDEAD, grace: UNDEAD, killed: true };
    }

    fn drain(&mut self, now: Time, why: String, actions: &mut Vec<Action>) {
        if self.state == State::Running {
            actions.push(Action::Say(Notice::Drain { why }));
            self.end(now, Why::Drain, libc::SIGTERM, actions);
        }
    }

    fn stop(&mut self, now: Time, signal: i32, actions: &mut Vec<Action>) {
        match &mut self.state {
            State::Idle | State::Pausing { .. } => self.over(Outcome::Stopped(signal), actions),
            State::Running => {
                let (ranks, grace) = (self.tracks.running(), seconds(self.settings.stop_grace));
                actions.push(Action::Say(Notice::Stopping { signal, ranks, grace }));
                self.end(now, Why::Stop(signal), signal, actions);
            }
            State::Dumping { .. } => self.kill(now, Why::Stop(signal), actions),
            // A second request does not wait.
            State::Ending { why: Why::Stop(_), killed: false, .. } => self.kill(now, Why::Stop(signal), actions),
            State::Ending { why, .. } => *why = Why::Stop(signal),
            State::Ended => {}
        }
    }

    fn tick_at_once(&mut self, now: Time, actions: &mut Vec<Action>) {
        if let State::Dumping { until, .. } = &mut self.state {
            *until = now;
        }
        self.tick(now, actions);
    }

    fn tick(&mut self, now: Time, actions: &mut Vec<Action>) {
        match self.state.clone() {
            State::Idle | State::Ended => {}
            State::Running => self.look(now, actions),
            State::Dumping { cause, until, .. } if now >= until => self.kill(now, Why::Failure(cause), actions),
            State::Pausing { until } if now >= until => self.start(now, actions),
            State::Ending { why, kill, grace, killed } if now >= kill => {
                let ranks = self.tracks.running();
                let first = self.tracks.first_running().unwrap_or_default();
                let place = self.place(first);
                actions.push(Action::Say(if killed {
                    Notice::Undead { ranks, first, place }
                } else {
                    Notice::Killing { ranks, first, place, grace: seconds(grace) }
                }));
                self.kill(now, why, actions);
            }
            State::Dumping { .. } | State::Pausing { .. } | State::Ending { .. } => {}
        }
    }

    /// Checks for ranks over their limit.
    fn look(&mut self, now: Time, actions: &mut Vec<Action>) {
        let late = self.tracks.late(now);
        let Some(first) = late.first() else { return };
        let cause = Cause { rank: first.rank, kind: first.kind, step: first.beat.as_ref().map(|beat| beat.step) };
        let (ranks, beat) = self.tracks.waiting(&late);
        let waiting = beat.filter(|_| ranks > 0).map(|beat| Waiting {
            ranks,
            operation: beat.waiting.clone().unwrap_or_default(),
            collective: beat.collective,
        });
        let suspects = late.iter().take(NAMED).map(|late| self.suspect(now, late)).collect();
        actions.push(Action::Say(Notice::Stall { suspects, more: late.len().saturating_sub(NAMED), waiting }));
        actions.push(Action::Dump);
        // A program without heartbeats has no recorder to answer.
        let dump = if self.tracks.any_beats { self.settings.dump } else { Duration::ZERO };
        self.state = State::Dumping { cause, until: now + dump, missing: self.tracks.running() };
    }

    fn suspect(&self, now: Time, late: &Late) -> Suspect {
        let beat = late.beat.as_ref();
        Suspect {
            rank: late.rank,
            place: self.place(late.rank),
            kind: late.kind,
            step: beat.map(|beat| beat.step),
            phase: beat.map(|beat| beat.phase.clone()),
            micro_batch: beat.and_then(|beat| beat.micro_batch),
            waiting: beat.and_then(|beat| beat.waiting.clone().map(|operation| (operation, beat.collective))),
            seconds: seconds(now.saturating_sub(late.since)),
            limit: seconds(late.limit.time),
            learned_from: late.limit.seen,
        }
    }

    fn all_ended(&mut self, now: Time, actions: &mut Vec<Action>) {
        match self.state.clone() {
            State::Running if self.tracks.all_succeeded() => self.over(Outcome::Success, actions),
            State::Ending { why: Why::Stop(signal), .. } => self.over(Outcome::Stopped(signal), actions),
            State::Ending { why: Why::Drain, .. } => {
                self.attempt += 1;
                self.start(now, actions);
            }
            State::Ending { why: Why::Failure(cause), .. } | State::Dumping { cause, .. } => {
                self.decide(now, cause, actions);
            }
            State::Idle | State::Running | State::Pausing { .. } | State::Ended => {}
        }
    }

    fn decide(&mut self, now: Time, cause: Cause, actions: &mut Vec<Action>) {
        let reports = self.tracks.any_beats;
        let further = self.saved > self.saved_before;
        match self.history.decide(Attempt { number: self.attempt, reports, further }, cause) {
            Decision::GiveUp(why) => {
                actions.push(Action::Say(Notice::GivenUp { why, attempts: self.attempt + 1 }));
                self.over(Outcome::Failed(cause.code()), actions);
            }
            Decision::Restart(pause) => {
                self.attempt += 1;
                let notice = Notice::Restart {
                    attempt: self.attempt,
                    step: self.saved,
                    further: reports.then_some(further),
                    pause: seconds(pause),
                };
                actions.push(Action::Say(notice));
                if pause.is_zero() {
                    self.start(now, actions);
                } else {
                    self.state = State::Pausing { until: now + pause };
                }
            }
        }
    }

    fn over(&mut self, outcome: Outcome, actions: &mut Vec<Action>) {
        self.state = State::Ended;
        actions.push(Action::End(outcome));
    }
}

/// Killed processes that still exist after this time are reported.
const UNDEAD: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
