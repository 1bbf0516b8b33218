//! How long a rank may stay at one place of its work before that is a stall, learned from the run itself.
//!
//! The limit of a phase is `10 x median` of the times seen, at least 30 s and at most the median plus 10 minutes. The median of
//! a few times is already useful, so that a phase that happens seldom (loading, saving) is learned as well. Until then a
//! generous limit holds. The first step after a start is a phase of its own: kernels are chosen and memory is reserved in it.

use std::borrow::Cow;
use std::time::Duration;

use super::signs::Beat;

/// Times kept of each phase.
const WINDOW: usize = 64;
/// Phases that are told apart; a program that invents new names is not followed further.
const PHASES: usize = 64;

/// Settings of the limits.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// One limit for everything but loading, nothing learned: what a collective's time-out is.
    pub fixed: Option<Duration>,
    /// The lowest limit.
    pub floor: Duration,
    /// Times the median.
    pub factor: u32,
    /// The most that a limit is above the median.
    pub slack: Duration,
    /// Before a phase is learned.
    pub first: Duration,
    /// Times that make a phase known.
    pub enough: usize,
    /// Between two heartbeats of a rank that promises them regularly, if three of them are missing.
    pub silence: Duration,
    /// For a process that was stopped by a signal.
    pub stopped: Duration,
    /// Without output, for a program without heartbeats; none: any time.
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

/// A kind of place in the work.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    name: Cow<'static, str>,
    first: bool,
    waiting: bool,
}

/// Times of a phase, kept in order of time and in order of length.
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

/// A limit, and how many times it was learned from (0: not learned).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// The longest stay at one place.
    pub time: Duration,
    /// Times seen of the phase.
    pub seen: u64,
}

/// What is known of each phase.
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

    /// A rank left this place after `time`.
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

    /// The longest stay at a place.
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
        // Other phases, the first step, and waiting in a phase are not the same.
        assert_eq!(learned.limit(&Beat::new(7, "save"), false).seen, 0);
        assert_eq!(learned.limit(&forward, true).seen, 0);
        assert_eq!(learned.limit(&Beat { waiting: Some("forward".into()), ..forward.clone() }, false).seen, 0);
        // Never below the floor, never far above a long phase.
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
