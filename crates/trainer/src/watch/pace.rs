//! Finds the process that is slower than the others.
//!
//! In a step all processes wait for the slowest one, so the time of a step says nothing about a single process. Instead the time of each
//! process for its own micro-batches is compared, outside of collectives and per operation.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Number of last steps that are compared.
const WINDOW: usize = 20;
/// Number of these in which a process must be behind to count as slow; independent noise does not reach it.
const MOST: usize = 16;
/// It counts as slow until at most this many of them show it behind.
const FEW: usize = 10;
/// A process is behind in a step if its own work takes longer than the median of the others by this share.
const BEHIND: f64 = 0.15;

/// A comparison of the processes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RankTimes {
    /// The process with the most time per operation, over the last steps.
    pub slowest: usize,
    /// By how many percent it is slower than the median of the others.
    pub behind: f64,
    /// The share of the step spent in collectives (waiting and exchanging), averaged over all processes.
    pub waiting: f64,
}

/// A process that was slow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlowRank {
    /// The rank.
    pub rank: usize,
    /// Its machine and process.
    pub place: String,
    /// The step at which it was reported.
    pub step: u64,
    /// By how many percent it was slower then.
    pub percent: f64,
}

/// A change of the slow process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    /// A process is slow, by this percentage.
    Slow(usize, f64),
    /// This process is no longer slow.
    Gone(usize),
}

/// The speeds of all processes in the last steps.
pub(crate) struct Paces {
    /// For each process, how far it was behind in the last steps in which it had work.
    behind: Vec<VecDeque<f64>>,
    slow: Option<usize>,
}

impl Paces {
    /// Starts with no steps for this number of processes.
    pub fn new(processes: usize) -> Self {
        Self { behind: vec![VecDeque::new(); processes], slow: None }
    }

    /// Adds a step: for each process the seconds of its own work, and the amount of work.
    pub fn add(&mut self, step: &[(f64, f64)]) {
        let paces: Vec<Option<f64>> = step.iter().map(|&(s, work)| (work > 0.0).then(|| s / work)).collect();
        for (rank, pace) in paces.iter().enumerate() {
            let Some(pace) = pace else { continue };
            let others = paces.iter().enumerate().filter(|(other, _)| *other != rank).filter_map(|(_, pace)| *pace);
            let Some(usual) = median(others.collect()).filter(|usual| *usual > 0.0) else { continue };
            let window = &mut self.behind[rank];
            window.push_back(pace / usual - 1.0);
            if window.len() > WINDOW {
                window.pop_front();
            }
        }
    }

    /// The process that is furthest behind, and by how many percent.
    pub fn slowest(&self) -> Option<(usize, f64)> {
        let middle = |window: &VecDeque<f64>| median(window.iter().copied().collect());
        let all = self.behind.iter().enumerate().filter_map(|(rank, window)| Some((rank, middle(window)?)));
        all.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(rank, behind)| (rank, 100.0 * behind))
    }

    /// Reports whether a process has become slow, or the slow one no longer is.
    pub fn change(&mut self) -> Option<Change> {
        let count = |rank: usize| self.behind[rank].iter().filter(|behind| **behind > BEHIND).count();
        if let Some(rank) = self.slow {
            if count(rank) > FEW {
                return None;
            }
            self.slow = None;
            return Some(Change::Gone(rank));
        }
        let (rank, percent) = self.slowest().filter(|(rank, _)| count(*rank) >= MOST)?;
        self.slow = Some(rank);
        Some(Change::Slow(rank, percent))
    }
}

pub(crate) fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    let middle = all.len() / 2;
    match all.len() {
        0 => None,
        length if length % 2 == 1 => Some(all[middle]),
        _ => Some(f64::midpoint(all[middle - 1], all[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Simulates steps of processes whose times vary by `noise`, with one slower by `slow` from step 30 to 99.
    fn changes(processes: usize, noise: f64, slow: Option<(usize, f64)>, seed: u64) -> Vec<(u64, Change)> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut paces = Paces::new(processes);
        let mut found = Vec::new();
        for step in 0..200_u64 {
            let one = |rank: usize| {
                let factor = slow.filter(|(which, _)| *which == rank && (30..100).contains(&step));
                let work = f64::from(rng.random_range(1..4_u8));
                let time = 1.0 + noise * rng.random_range(-1.0..1.0_f64) + factor.map_or(0.0, |(_, slow)| slow);
                (work * time, work)
            };
            let times: Vec<(f64, f64)> = (0..processes).map(one).collect();
            paces.add(&times);
            found.extend(paces.change().map(|change| (step, change)));
        }
        found
    }

    #[test]
    fn a_slow_process_is_named_and_noise_is_not() {
        for processes in [2, 4, 16] {
            for seed in 0..20 {
                // Micro-batches have different sizes, and times vary by up to 20%.
                assert_eq!(changes(processes, 0.2, None, seed), [], "{processes} processes, seed {seed}");
                let found = changes(processes, 0.2, Some((1, 0.5)), seed);
                let [(named, Change::Slow(1, percent)), (over, Change::Gone(1))] = found[..] else {
                    panic!("{processes} processes, seed {seed}: {found:?}")
                };
                assert!((40..60).contains(&named) && (100..125).contains(&over), "{found:?}");
                assert!((25.0..75.0).contains(&percent), "{percent}");
            }
        }
    }

    #[test]
    fn a_process_without_work_says_nothing() {
        let mut paces = Paces::new(3);
        assert_eq!(paces.slowest(), None);
        for _ in 0..30 {
            paces.add(&[(1.0, 1.0), (3.0, 1.5), (0.0, 0.0)]);
        }
        assert_eq!(paces.slowest(), Some((1, 100.0)));
        assert_eq!(paces.change(), Some(Change::Slow(1, 100.0)));
        assert_eq!(paces.change(), None);
    }
}
