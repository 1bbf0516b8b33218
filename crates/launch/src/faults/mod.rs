//! `herd plan faults`: estimates the effective training time of a run, with the real supervisor's state machine under a virtual clock.
//!
//! [`Mix`] describes the failures (by default the 54 days of the Llama 3 paper) and [`Practice`] how a run saves, detects failures and
//! restarts. [`simulate`] is a simulated cluster that sends the [`Supervisor`](crate::supervisor::Supervisor) what real ranks would send.
//! [`formula`] has Young's interval and a first-order formula; tests compare the simulation with them.

pub mod command;
pub mod formula;
mod mix;
mod practice;
mod world;

pub use mix::{Cause, Mix, Shows};
pub use practice::Practice;
pub use world::{Run, Setting, Shares, retell, simulate, simulate_with};

/// Simulates several runs with consecutive seeds from `seed`, on all processors. The result does not depend on the number of processors.
#[must_use]
pub fn simulate_all(setting: &Setting, practice: &Practice, seed: u64, runs: u32) -> Vec<Run> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(runs.max(1) as usize);
    let one = |thread: usize| -> Vec<(u32, Run)> {
        let mine = (0..runs).skip(thread).step_by(threads);
        mine.map(|run| (run, simulate(setting, practice, seed + u64::from(run)))).collect()
    };
    let mut all: Vec<(u32, Run)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        let join = |handle: std::thread::ScopedJoinHandle<'_, Vec<(u32, Run)>>| match handle.join() {
            Ok(runs) => runs,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        handles.into_iter().flat_map(join).collect()
    });
    all.sort_by_key(|(run, _)| *run);
    all.into_iter().map(|(_, run)| run).collect()
}

/// The mean of the runs' shares.
#[must_use]
pub fn mean(runs: &[Run]) -> Shares {
    let mean =
        |get: fn(&Shares) -> f64| runs.iter().map(|run| get(&run.shares)).sum::<f64>() / runs.len().max(1) as f64;
    Shares {
        effective: mean(|shares| shares.effective),
        lost: mean(|shares| shares.lost),
        saving: mean(|shares| shares.saving),
        noticing: mean(|shares| shares.noticing),
        restarting: mean(|shares| shares.restarting),
    }
}
