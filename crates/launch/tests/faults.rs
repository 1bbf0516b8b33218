//! Failures on real processes, and how well the simulation foretells their cost. Takes minutes and wants a quiet machine:
//!
//!     cargo test -p launch --test faults -- --ignored --nocapture
//!
//! `HERD_FAULT_SECONDS` is the length of the run (default 60).

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use launch::faults::{Cause, Mix, Practice, Setting, Shows, mean, simulate_with};
use launch::supervisor::{Limits, Settings};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const LAUNCH: &str = env!("CARGO_BIN_EXE_launch");
const RANKS: u32 = 4;
/// Seconds.
const STEP: f64 = 0.1;
const LOAD: f64 = 0.5;
const SAVE_EVERY: f64 = 1.0;
const SAVE: f64 = 0.02;
/// Between failures.
const BETWEEN: f64 = 5.0;

/// The ranks of a launcher, by their processes' numbers.
fn ranks(launcher: u32) -> Vec<i32> {
    let of = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        // The launcher's guard has the launcher's name.
        let (name, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let toy = name.ends_with("(toy");
        (fields.next()?.parse() == Ok(launcher) && toy && state != "Z").then_some(pid)
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(of).collect()
}

#[test]
#[ignore = "takes minutes of a quiet machine, and does not hold yet: see the log of 30 November"]
fn the_simulation_foretells_effective_time() {
    let seconds: f64 = std::env::var("HERD_FAULT_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let dir = tempfile::tempdir().unwrap();
    let toy = Path::new(LAUNCH).parent().unwrap().join("examples/toy");
    let milliseconds = |seconds: f64| format!("{:.0}", seconds * 1000.0);
    let mut launcher = Command::new(LAUNCH)
        .args(["run", "-n", "4", "--lowest-limit", "1", "--failure-grace", "0.5", "--"])
        .arg(toy)
        .arg("--folder")
        .arg(dir.path())
        .args(["--steps", "1000000", "--step-ms", &milliseconds(STEP), "--load-ms", &milliseconds(LOAD)])
        .args(["--save-every", &format!("{:.0}", SAVE_EVERY / STEP), "--save-ms", &milliseconds(SAVE)])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    // Deaths and hangs in the paper's proportions: 358 and 49.
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (mut failures, mut next) = (0, 0.0);
    let draw = |rng: &mut ChaCha8Rng| -(1.0 - rng.random::<f64>()).ln() * BETWEEN;
    next += draw(&mut rng);
    while begin.elapsed().as_secs_f64() < seconds {
        if begin.elapsed().as_secs_f64() >= next {
            let ranks = ranks(launcher.id());
            let signal = if rng.random::<f64>() < 358.0 / 407.0 { libc::SIGKILL } else { libc::SIGSTOP };
            if !ranks.is_empty() {
                // SAFETY: a process of this test's launcher.
                unsafe { libc::kill(ranks[rng.random_range(0..ranks.len())], signal) };
                failures += 1;
            }
            next += draw(&mut rng);
        }
        std::thread::sleep(Duration::from_millis(5));
        assert!(launcher.try_wait().unwrap().is_none(), "the launcher ended");
    }
    // What is saved counts, and half an interval that is not on average.
    let saved: f64 = std::fs::read_to_string(dir.path().join("state")).unwrap().parse().unwrap();
    let elapsed = begin.elapsed().as_secs_f64();
    // SAFETY: a signal to a child.
    unsafe { libc::kill(i32::try_from(launcher.id()).unwrap(), libc::SIGTERM) };
    launcher.wait().unwrap();
    let measured = (saved * STEP + SAVE_EVERY / 2.0) / elapsed;

    let cause = |name: &str, count: f64, shows: Shows| Cause { name: name.into(), count, shows };
    let count = elapsed / BETWEEN;
    let mix = Mix {
        gpus: f64::from(RANKS),
        days: elapsed / 86_400.0,
        planned: 0.0,
        cause: vec![
            cause("killed", count * 358.0 / 407.0, Shows::Crash),
            cause("stopped", count * 49.0 / 407.0, Shows::Hang),
        ],
    };
    // Long enough for a mean.
    let setting = Setting { gpus: RANKS, days: 0.1, step: STEP, mix, slow_factor: 2.0, person: 0.0, gone: 0.05 };
    let practice = Practice {
        name: "test".into(),
        interval: SAVE_EVERY,
        stop: SAVE,
        write: 0.0,
        restart: LOAD,
        exit_seen: Some(0.01),
        fixed_limit: None,
        slow_seen: 0.0,
        corrupt_seen: 0.0,
    };
    let second = Duration::from_secs(1);
    let settings = Settings {
        limits: Limits { floor: second, silence: second, stopped: second, ..Limits::default() },
        // These ranks end with SIGTERM.
        failure_grace: Duration::ZERO,
        ..Settings::default()
    };
    let runs: Vec<_> = (0..4).map(|seed| simulate_with(&setting, &practice, &settings, seed)).collect();
    let foretold = mean(&runs).effective;
    println!("{failures} failures in {elapsed:.0} s: effective {measured:.3} measured, {foretold:.3} simulated");
    assert!((measured - foretold).abs() < 0.03, "{measured} measured, {foretold} simulated");
}
