//! Failures on real processes, and how well the simulation predicts their cost. Takes minutes:
//!
//!     cargo test -p launch --test faults -- --ignored --nocapture
//!
//! `HERD_FAULT_SECONDS` is the length of the run (default 60), `HERD_FAULT_SEED` draws its failures.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use launch::faults::{Cause, Mix, Practice, Setting, Shows, mean, retell, simulate_with};
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
/// Mean seconds between failures.
const BETWEEN: f64 = 5.0;

/// The failures: for each its time in seconds and its symptom. Deaths and stops have the paper's proportions of crashes and hangs, 358
/// and 49.
fn drawn(seconds: f64) -> Vec<(f64, Shows)> {
    let seed = std::env::var("HERD_FAULT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut at, mut all) = (0.0, Vec::new());
    loop {
        at -= (1.0 - rng.random::<f64>()).ln() * BETWEEN;
        if at >= seconds {
            return all;
        }
        all.push((at, if rng.random::<f64>() < 358.0 / 407.0 { Shows::Crash } else { Shows::Stopped }));
    }
}

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

fn start(folder: &Path, steps: u64) -> Child {
    let toy = Path::new(LAUNCH).parent().unwrap().join("examples/toy");
    let milliseconds = |seconds: f64| format!("{:.0}", seconds * 1000.0);
    Command::new(LAUNCH)
        .args(["run", "--processes", "4", "--lowest-limit", "1", "--failure-grace", "0.5", "--"])
        .arg(toy)
        .arg("--folder")
        .arg(folder)
        .args(["--steps", &steps.to_string(), "--step-ms", &milliseconds(STEP), "--load-ms", &milliseconds(LOAD)])
        .args(["--save-every", &format!("{:.0}", SAVE_EVERY / STEP), "--save-ms", &milliseconds(SAVE)])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The duration of a step and of a start on this machine, from two undisturbed runs.
fn undisturbed() -> (f64, f64) {
    let time = |steps: u64| {
        let dir = tempfile::tempdir().unwrap();
        let begin = Instant::now();
        assert!(start(dir.path(), steps).wait().unwrap().success());
        begin.elapsed().as_secs_f64()
    };
    let (short, long) = (time(20), time(80));
    let step = (long - short) / 60.0 - SAVE * STEP / SAVE_EVERY;
    (step, short - 20.0 * step - 2.0 * SAVE)
}

#[test]
#[ignore = "takes minutes of a quiet machine"]
fn the_simulation_predicts_effective_time() {
    let seconds: f64 = std::env::var("HERD_FAULT_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let (step, load) = undisturbed();
    let failures = drawn(seconds);
    let dir = tempfile::tempdir().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let (mut launcher, begin, mut given_up) = (start(dir.path(), 1_000_000), Instant::now(), 0);
    let mut next = failures.iter().peekable();
    while begin.elapsed().as_secs_f64() < seconds {
        if let Some((_, shows)) = next.next_if(|(at, _)| begin.elapsed().as_secs_f64() >= *at) {
            let ranks = ranks(launcher.id());
            let signal = if *shows == Shows::Crash { libc::SIGKILL } else { libc::SIGSTOP };
            if !ranks.is_empty() {
                // SAFETY: a process of this test's launcher.
                unsafe { libc::kill(ranks[rng.random_range(0..ranks.len())], signal) };
            }
        }
        std::thread::sleep(Duration::from_millis(5));
        // A person starts again what the supervisor gave up, at once.
        if launcher.try_wait().unwrap().is_some() {
            given_up += 1;
            launcher = start(dir.path(), 1_000_000);
        }
    }
    // Saved steps count; on average, half an interval is not yet saved.
    let saved: f64 = std::fs::read_to_string(dir.path().join("state")).unwrap().parse().unwrap();
    let elapsed = begin.elapsed().as_secs_f64();
    // SAFETY: a signal to a child.
    unsafe { libc::kill(i32::try_from(launcher.id()).unwrap(), libc::SIGTERM) };
    launcher.wait().unwrap();
    let measured = (saved * step + SAVE_EVERY / 2.0) / elapsed;

    let cause = |name: &str, count: f64, shows: Shows| Cause { name: name.into(), count, shows };
    let count = elapsed / BETWEEN;
    let mix = Mix {
        gpus: f64::from(RANKS),
        days: elapsed / 86_400.0,
        planned: 0.0,
        cause: vec![
            cause("killed", count * 358.0 / 407.0, Shows::Crash),
            cause("stopped", count * 49.0 / 407.0, Shows::Stopped),
        ],
    };
    let days = elapsed / 86_400.0;
    let setting = Setting { gpus: RANKS, days, step, mix, slow_factor: 2.0, person: 0.0, gone: 0.02 };
    let practice = Practice {
        name: "test".into(),
        interval: SAVE_EVERY * step / STEP,
        stop: SAVE,
        write: 0.0,
        restart: load,
        exit_seen: Some(0.005),
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
    let told = retell(&setting, &practice, &settings, &failures);
    let others: Vec<_> = (0..64).map(|seed| simulate_with(&setting, &practice, &settings, seed)).collect();
    let all: Vec<f64> = others.iter().map(|run| run.shares.effective).collect();
    let middle = mean(&others).effective;
    let spread = (all.iter().map(|one| (one - middle).powi(2)).sum::<f64>() / 63.0).sqrt();
    let foretold = told.shares.effective;
    println!(
        "a step of {step:.4} s and a start of {load:.3} s; {} failures in {elapsed:.0} s, given up {given_up} times (simulated {}): \
         effective {measured:.3} measured, {foretold:.3} simulated with the same failures, {middle:.3} (standard deviation \
         {spread:.3}) with others",
        failures.len(),
        told.given_up
    );
    assert!((measured - foretold).abs() < 0.03, "{measured} measured, {foretold} simulated");
}
