//! A simulated cluster with a virtual clock, controlled by the real [`Supervisor`].
//!
//! The simulation models a run on many GPUs (steps, checkpoints, failures of the mix). The supervisor sees only what real ranks send:
//! heartbeats and ends of processes. Its actions are carried out, and every second is accounted for.
//!
//! Simplifications: a failed device is replaced at once (spare machines exist), failures are independent, all steps are equally long, and
//! a checkpoint that is being written during a failure is lost.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::mix::{Mix, Shows};
use super::practice::Practice;
use crate::supervisor::{Action, Beat, Event, Exit, LOAD, Place, Rank, Settings, Sign, Step, Supervisor, Who};

/// The settings of a simulation.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Number of GPUs, with one rank each.
    pub gpus: u32,
    /// Simulated days.
    pub days: f64,
    /// Seconds of a step.
    pub step: f64,
    /// The failure mix.
    pub mix: Mix,
    /// Factor by which a slow device lengthens all steps.
    pub slow_factor: f64,
    /// Seconds until an operator restarts a run after the supervisor gave up.
    pub person: f64,
    /// Seconds from SIGKILL to the end of the processes.
    pub gone: f64,
}

/// Shares of the total time by activity. They add up to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Shares {
    /// Steps whose result was kept.
    pub effective: f64,
    /// Steps that were repeated after a restart.
    pub lost: f64,
    /// Stops for checkpoints.
    pub saving: f64,
    /// Time from a failure to the end of the last process, and the time lost to slow devices.
    pub noticing: f64,
    /// Time from the start to the first step, pauses, and waiting for an operator.
    pub restarting: f64,
}

/// The result of one simulated run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Run {
    /// The shares of the time.
    pub shares: Shares,
    /// Number of unexpected failures.
    pub failures: u32,
    /// Number of planned interruptions.
    pub planned: u32,
    /// Number of starts after the first.
    pub restarts: u32,
    /// Number of times that the supervisor gave up.
    pub given_up: u32,
}

/// Microseconds since the start.
type Micros = u64;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Loaded,
    StepDone,
    SaveDone,
    Written(Step),
    Failure,
    Planned,
    /// The supervisor sees the end of a rank's process.
    ExitSeen(Rank),
    /// All processes have ended.
    Gone(i32),
    SlowSeen(Rank),
    CorruptSeen(Rank),
    Person,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Down,
    Loading,
    Stepping,
    Saving,
    /// A rank is gone or stalled; the others wait for it.
    Hung,
}

/// Seconds spent in each state.
#[derive(Debug, Default)]
struct Books {
    stepping: f64,
    slow: f64,
    saving: f64,
    noticing: f64,
    restarting: f64,
}

struct World<'a> {
    setting: &'a Setting,
    practice: &'a Practice,
    settings: &'a Settings,
    rng: ChaCha8Rng,
    /// The scheduled failures, if they are given rather than drawn.
    told: Option<VecDeque<(Micros, Shows)>>,
    supervisor: Supervisor,
    now: Micros,
    queue: BinaryHeap<Reverse<(Micros, u64, u32, What)>>,
    number: u64,
    /// Counts starts and ends of the processes; events scheduled for an earlier epoch are ignored.
    epoch: u32,
    state: State,
    since: Micros,
    done: Step,
    unsaved: Step,
    /// Steps of complete checkpoints, in order.
    checkpoints: Vec<Step>,
    writing: Option<(Step, Micros)>,
    /// A slow device is in the run.
    slow_device: bool,
    /// Whether the current step is a slow one.
    slow: bool,
    /// The slow device is left out at the next start.
    replacing: bool,
    /// The last step with right numbers, if a device computes wrong ones.
    right: Option<Step>,
    /// The ranks were asked to save and end.
    draining: bool,
    books: Books,
    run: Run,
}

fn micros(seconds: f64) -> Micros {
    // Days are far below 2^53 microseconds.
    (seconds * 1e6).round().max(0.0) as Micros
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / 1e6
}

/// An event that cannot reach the supervisor while nothing runs is retried after this time.
const MINUTE: Micros = 60_000_000;

/// Simulates one run. The same arguments give the same result.
#[must_use]
pub fn simulate(setting: &Setting, practice: &Practice, seed: u64) -> Run {
    simulate_with(setting, practice, &practice.settings(setting.step), seed)
}

/// The same as [`simulate`], with other settings of the supervisor.
#[must_use]
pub fn simulate_with(setting: &Setting, practice: &Practice, settings: &Settings, seed: u64) -> Run {
    live(setting, practice, settings, seed, None)
}

/// The same as [`simulate_with`], with given failures instead of random ones: their times in seconds, in order, and their symptoms. This
/// compares a simulation with a real run without random differences.
#[must_use]
pub fn retell(setting: &Setting, practice: &Practice, settings: &Settings, failures: &[(f64, Shows)]) -> Run {
    let told = failures.iter().map(|(after, shows)| (micros(*after), *shows)).collect();
    live(setting, practice, settings, 0, Some(told))
}

fn live(
    setting: &Setting,
    practice: &Practice,
    settings: &Settings,
    seed: u64,
    told: Option<VecDeque<(Micros, Shows)>>,
) -> Run {
    let place = Place { host: "h".into(), device: "GPU".into() };
    let places: Arc<[Place]> = std::iter::repeat_n(place, setting.gpus as usize).collect();
    let supervisor = Supervisor::new(Arc::clone(&places), settings.clone());
    let mut world = World {
        setting,
        practice,
        settings,
        rng: ChaCha8Rng::seed_from_u64(seed),
        told,
        supervisor,
        now: 0,
        queue: BinaryHeap::new(),
        number: 0,
        epoch: 0,
        state: State::Down,
        since: 0,
        done: 0,
        unsaved: 0,
        checkpoints: Vec::new(),
        writing: None,
        slow_device: false,
        slow: false,
        replacing: false,
        right: None,
        draining: false,
        books: Books::default(),
        run: Run::default(),
    };
    world.live(micros(setting.days * 86_400.0), &places);
    world.run
}

impl World<'_> {
    fn live(&mut self, horizon: Micros, places: &Arc<[Place]>) {
        self.plan_failure();
        self.plan_maintenance();
        let actions = self.supervisor.begin(Duration::ZERO);
        self.carry_out(actions);
        while let Some(Reverse((at, ..))) = self.queue.peek() {
            let due = self.supervisor.deadline().map(|due| micros(due.as_secs_f64()).max(self.now));
            if let Some(due) = due.filter(|due| due <= at) {
                if due >= horizon {
                    break;
                }
                self.now = due;
                self.tell(Event::Tick);
                continue;
            }
            if *at >= horizon {
                break;
            }
            let Some(Reverse((at, _, epoch, what))) = self.queue.pop() else { break };
            self.now = at;
            let lasting =
                matches!(what, What::Failure | What::Planned | What::SlowSeen(_) | What::CorruptSeen(_) | What::Person);
            if !lasting && epoch != self.epoch {
                continue;
            }
            if what == What::Person {
                self.supervisor = Supervisor::new(Arc::clone(places), self.settings.clone());
                let actions = self.supervisor.begin(Duration::from_micros(self.now));
                self.carry_out(actions);
            } else {
                self.happen(what);
            }
        }
        self.now = horizon;
        self.enter(self.state);
        let total = self.setting.days * 86_400.0;
        let useful = self.done as f64 * self.setting.step;
        // In slow steps, the time that a healthy device would have taken counts as stepping.
        let share = |seconds: f64| seconds / total;
        self.run.shares = Shares {
            effective: share(useful),
            lost: share(self.books.stepping - useful),
            saving: share(self.books.saving),
            noticing: share(self.books.noticing + self.books.slow),
            restarting: share(self.books.restarting),
        };
    }

    fn push(&mut self, after: Micros, what: What) {
        self.number += 1;
        self.queue.push(Reverse((self.now + after, self.number, self.epoch, what)));
    }

    /// Draws the time until the next event of a Poisson process with this mean interval.
    fn draw(&mut self, mean: f64) -> Micros {
        let uniform: f64 = self.rng.random();
        micros((-(1.0 - uniform).ln() * mean).min(1e11))
    }

    fn plan_failure(&mut self) {
        if let Some(told) = &self.told {
            if let Some((at, _)) = told.front() {
                self.push(at.saturating_sub(self.now), What::Failure);
            }
            return;
        }
        let mean = self.setting.mix.between_failures(self.setting.gpus);
        let after = self.draw(mean);
        self.push(after, What::Failure);
    }

    fn plan_maintenance(&mut self) {
        let mean = self.setting.mix.between_planned(self.setting.gpus);
        let after = self.draw(mean);
        self.push(after, What::Planned);
    }

    /// Accounts the elapsed time to the state that ends.
    fn enter(&mut self, state: State) {
        let passed = seconds(self.now - self.since);
        match self.state {
            State::Down | State::Loading => self.books.restarting += passed,
            State::Stepping => {
                let work = if self.slow { passed / self.setting.slow_factor } else { passed };
                self.books.stepping += work;
                self.books.slow += passed - work;
            }
            State::Saving => self.books.saving += passed,
            State::Hung => self.books.noticing += passed,
        }
        self.since = self.now;
        self.state = state;
    }

    fn tell(&mut self, event: Event) {
        let actions = self.supervisor.handle(Duration::from_micros(self.now), event);
        self.carry_out(actions);
    }

    fn show(&mut self, who: Who, sign: Sign) {
        let attempt = self.supervisor.attempt();
        self.tell(Event::Ranks { attempt, who, sign });
    }

    fn beat(&mut self, phase: &'static str, who: Who, waiting: Option<&'static str>) {
        let beat = Beat {
            waiting: waiting.map(Into::into),
            saved: self.checkpoints.last().copied(),
            ..Beat::new(self.done + 1, phase)
        };
        self.show(who, Sign::Beat(beat));
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Start { at_most, .. } => self.start(at_most),
                // Flight recorders are not read here, but take their full time.
                Action::Dump | Action::Say(_) => {}
                Action::Signal { signal: libc::SIGKILL, .. } => self.end(libc::SIGKILL),
                Action::Signal { .. } => match self.state {
                    State::Stepping | State::Saving => self.draining = true,
                    State::Loading => self.end(libc::SIGTERM),
                    // Ranks that wait for a dead one do not finish their step.
                    State::Hung | State::Down => {}
                },
                Action::End(_) => {
                    self.run.given_up += 1;
                    let after = micros(self.setting.person);
                    self.push(after, What::Person);
                }
            }
        }
    }

    fn start(&mut self, at_most: Option<Step>) {
        if self.now > 0 {
            self.run.restarts += 1;
        }
        if let Some(at_most) = at_most {
            self.checkpoints.retain(|step| *step <= at_most);
        }
        self.epoch += 1;
        self.enter(State::Loading);
        if std::mem::take(&mut self.replacing) {
            self.slow_device = false;
        }
        self.done = self.checkpoints.last().copied().unwrap_or(0);
        self.right = self.right.map(|right| right.min(self.done));
        self.unsaved = 0;
        self.writing = None;
        self.draining = false;
        self.push(micros(self.practice.restart), What::Loaded);
        self.beat(LOAD, Who::ALL, None);
    }

    /// All processes end.
    fn end(&mut self, signal: i32) {
        self.epoch += 1;
        self.writing = None;
        self.push(micros(self.setting.gone), What::Gone(signal));
    }

    fn step(&mut self) {
        self.enter(State::Stepping);
        self.slow = self.slow_device;
        let factor = if self.slow { self.setting.slow_factor } else { 1.0 };
        self.push(micros(self.setting.step * factor), What::StepDone);
        self.beat("step", Who::ALL, None);
    }

    fn save(&mut self) {
        self.enter(State::Saving);
        // There is one writer: the previous checkpoint has to be on disk first.
        let wait = self.writing.map_or(0, |(_, at)| at.saturating_sub(self.now));
        self.push(wait + micros(self.practice.stop), What::SaveDone);
        self.beat("save", Who::ALL, None);
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Loaded => self.step(),
            What::StepDone => {
                self.done += 1;
                self.unsaved += 1;
                let due = self.unsaved as f64 * self.setting.step >= self.practice.interval - self.setting.step / 2.0;
                if due || self.draining { self.save() } else { self.step() }
            }
            What::SaveDone => {
                self.unsaved = 0;
                let write = micros(self.practice.write);
                if write == 0 {
                    // The checkpoint is complete when training continues, and the next heartbeat reports it.
                    self.happen(What::Written(self.done));
                } else {
                    self.writing = Some((self.done, self.now + write));
                    self.push(write, What::Written(self.done));
                }
                // Ranks that end wait for the pending write.
                if !self.draining {
                    self.step();
                }
            }
            What::Written(step) => {
                self.writing = None;
                self.checkpoints.push(step);
                if self.draining {
                    self.beat("save", Who::ALL, None);
                    self.end(libc::SIGTERM);
                }
            }
            What::Failure => {
                self.fail();
                self.plan_failure();
            }
            What::Planned => {
                if matches!(self.state, State::Stepping | State::Saving) {
                    self.run.planned += 1;
                    self.tell(Event::Drain("maintenance".into()));
                    self.plan_maintenance();
                } else {
                    self.push(MINUTE, What::Planned);
                }
            }
            What::ExitSeen(rank) => self.show(Who::One(rank), Sign::Exited(Exit::Code(1))),
            What::Gone(signal) => {
                self.enter(State::Down);
                let exit = if signal == libc::SIGTERM { Exit::Code(0) } else { Exit::Signal(signal) };
                self.show(Who::ALL, Sign::Exited(exit));
            }
            What::SlowSeen(rank) => {
                if matches!(self.state, State::Stepping | State::Saving) && !self.draining {
                    self.replacing = true;
                    self.show(Who::One(rank), Sign::Slow(100));
                } else {
                    self.push(MINUTE, What::SlowSeen(rank));
                }
            }
            What::CorruptSeen(rank) => {
                let Some(right) = self.right else { return };
                if matches!(self.state, State::Stepping | State::Saving) && !self.draining {
                    let verified = self.checkpoints.iter().rev().find(|step| **step <= right).copied().unwrap_or(0);
                    self.right = None;
                    self.enter(State::Hung);
                    self.show(Who::One(rank), Sign::Corrupt(verified));
                } else {
                    self.push(MINUTE, What::CorruptSeen(rank));
                }
            }
            What::Person => {}
        }
    }

    fn fail(&mut self) {
        self.run.failures += 1;
        let number: f64 = self.rng.random();
        let rank: Rank = self.rng.random_range(0..self.setting.gpus);
        let told = self.told.as_mut().and_then(VecDeque::pop_front);
        match told.map_or_else(|| self.setting.mix.pick(number), |(_, shows)| shows) {
            Shows::Slow if !self.slow_device => {
                // The slow device takes effect in the next step.
                self.slow_device = true;
                self.push(micros(self.practice.slow_seen), What::SlowSeen(rank));
            }
            Shows::Silent if self.right.is_none() => {
                self.right = Some(self.done);
                self.push(micros(self.practice.corrupt_seen), What::CorruptSeen(rank));
            }
            Shows::Slow | Shows::Silent => {}
            shows @ (Shows::Crash | Shows::Hang | Shows::Stopped) => {
                // No processes run, or they are stalled already.
                if matches!(self.state, State::Down | State::Hung) {
                    return;
                }
                let phase = match self.state {
                    State::Loading => LOAD,
                    State::Saving => "save",
                    _ => "step",
                };
                self.epoch += 1;
                self.writing = None;
                self.enter(State::Hung);
                if shows == Shows::Crash
                    && let Some(after) = self.practice.exit_seen
                {
                    self.push(micros(after), What::ExitSeen(rank));
                }
                self.beat(phase, Who::AllBut(vec![rank]), Some("all_reduce"));
                if shows == Shows::Stopped {
                    self.show(Who::One(rank), Sign::Stopped);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
