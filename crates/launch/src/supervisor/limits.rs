//! Stall limits: how long a rank may stay at one place of its work, learned from the run itself.
//!
//! The limit of a phase is `10 x median` of the observed times, at least 30 s and at most the median plus 10 minutes. A median of a few
//! times is already useful, so rare phases (loading, saving) are learned as well. Before that, a generous limit applies. The first step
//! after a start is a separate phase: it selects kernels and reserves memory.

use std::borrow::Cow;
use std::time::Duration;

use super::signs::Beat;

/// Number of times kept for each phase.
const WINDOW: usize = 64;
/// Maximum number of distinct phases; further names that a program invents are not learned.
const PHASES: usize = 64;

/// Settings of the limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// One fixed limit for everything except loading, like the time-out of a collective; nothing is learned.
    pub fixed: Option<Duration>,
    /// The lowest limit.
    pub floor: Duration,
    /// The factor over the median.
    pub factor: u32,
    /// The most by which a limit exceeds the median.
    pub slack: Duration,
    /// The limit of a phase that is not yet learned.
    pub first: Duration,
    /// Number of times after which a phase is learned.
    pub enough: usize,
    /// The limit for silence of a rank that promises regular heartbeats; at least three of its intervals.
    pub silence: Duration,
    /// The limit for a process that was stopped by a signal.
    pub stopped: Duration,
    /// The limit without output, for a program without heartbeats; none: no limit.
    pub output: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fixed: None,
            floor: Duration::from_secs(30),
            factor: 10,
            slack: Duration::from_secs(600),
            first: Duration::from_secs(1800),
            enough: 3,
            silence: Duration::from_secs(30),
            stopped: Duration::from_secs(30),
            output: None,
        }
    }
}

/// The kind of a place in the work.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    name: Cow<'static, str>,
    first: bool,
    waiting: bool,
}

/// The observed times of a phase, in order of arrival and sorted.
#[derive(Debug, Clone, Default)]
struct Window {
    ring: Vec<Duration>,
    sorted: Vec<Duration>,
    next: usize,
    seen: u64,
}

impl Window {
    fn add(&mut self, time: Duration) {
        self.seen += 1;
        if self.ring.len() < WINDOW {
            self.ring.push(time);
        } else {
            let old = std::mem::replace(&mut self.ring[self.next], time);
            self.next = (self.next + 1) % WINDOW;
            let at = self.sorted.partition_point(|other| *other < old);
            self.sorted.remove(at);
        }
        let at = self.sorted.partition_point(|other| *other < time);
        self.sorted.insert(at, time);
    }

    fn median(&self) -> Duration {
        self.sorted[self.sorted.len() / 2]
    }
}

/// A limit, and the number of times it was learned from (0: not learned).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The longest allowed stay at one place.
    pub time: Duration,
    /// Number of observed times of the phase.
    pub seen: u64,
}

/// The observed times of every phase.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    limits: Limits,
    phases: Vec<(Key, Window)>,
}

impl Learned {
    pub fn new(limits: Limits) -> Self {
        Self { limits, phases: Vec::new() }
    }

    pub fn settings(&self) -> &Limits {
        &self.limits
    }

    fn find(&self, beat: &Beat, first: bool) -> Option<usize> {
        let waiting = beat.waiting.is_some();
        let name = beat.waiting.as_ref().unwrap_or(&beat.phase);
        self.phases.iter().position(|(key, _)| key.waiting == waiting && key.first == first && key.name == *name)
    }

    /// Records that a rank left this place after `time`.
    pub fn add(&mut self, beat: &Beat, first: bool, time: Duration) {
        let at = self.find(beat, first).or_else(|| {
            let name = beat.waiting.clone().unwrap_or_else(|| beat.phase.clone());
            let key = Key { name, first, waiting: beat.waiting.is_some() };
            (self.phases.len() < PHASES).then(|| {
                self.phases.push((key, Window::default()));
                self.phases.len() - 1
            })
        });
        if let Some(at) = at {
            self.phases[at].1.add(time);
        }
    }

    /// The limit at a place.
    pub fn limit(&self, beat: &Beat, first: bool) -> Limit {
        if let Some(time) = self.limits.fixed.filter(|_| beat.phase != super::LOAD) {
            return Limit { time, seen: 0 };
        }
        let window = self.find(beat, first).map(|at| &self.phases[at].1);
        match window.filter(|window| window.sorted.len() >= self.limits.enough.max(1)) {
            None => Limit { time: self.limits.first, seen: 0 },
            Some(window) => {
                let median = window.median();
                let time = (median * self.limits.factor).min(median + self.limits.slack).max(self.limits.floor);
                Limit { time, seen: window.seen }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_limit_is_learned_by_phase() {
        let mut learned = Learned::new(Limits::default());
        let forward = Beat::new(7, "forward");
        assert_eq!(learned.limit(&forward, false), Limit { time: seconds(1800), seen: 0 });
        for time in [6, 5, 7, 400, 6] {
            learned.add(&forward, false, seconds(time));
        }
        assert_eq!(learned.limit(&forward, false), Limit { time: seconds(60), seen: 5 });
        // Other phases, the first step, and waiting in a phase are learned separately.
        assert_eq!(learned.limit(&Beat::new(7, "save"), false).seen, 0);
        assert_eq!(learned.limit(&forward, true).seen, 0);
        assert_eq!(learned.limit(&Beat { waiting: Some("forward".into()), ..forward.clone() }, false).seen, 0);
        // The limit is never below the floor, and never far above a long phase.
        let (short, long) = (Beat::new(7, "optimizer"), Beat::new(0, "load"));
        for _ in 0..3 {
            learned.add(&short, false, Duration::from_millis(20));
            learned.add(&long, false, seconds(300));
        }
        assert_eq!(learned.limit(&short, false).time, seconds(30));
        assert_eq!(learned.limit(&long, false).time, seconds(900));
    }

    #[test]
    fn old_times_are_forgotten() {
        let mut learned = Learned::new(Limits::default());
        let beat = Beat::new(0, "forward");
        for time in (0..WINDOW).map(|_| 10).chain((0..WINDOW).map(|_| 20)) {
            learned.add(&beat, false, seconds(time));
        }
        assert_eq!(learned.limit(&beat, false), Limit { time: seconds(200), seen: 2 * WINDOW as u64 });
    }

    #[test]
    fn a_program_that_invents_phases_is_not_followed_for_ever() {
        let mut learned = Learned::new(Limits::default());
        for n in 0..10_000 {
            learned.add(&Beat::new(0, format!("phase {n}")), false, seconds(1));
        }
        assert_eq!(learned.phases.len(), PHASES);
    }
}
