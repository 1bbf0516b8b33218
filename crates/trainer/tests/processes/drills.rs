//! Runs of minutes under failures, with real processes. They print what they measure:
//!
//!     cargo build -p launch && cargo test -p trainer --test processes -- --ignored --nocapture --test-threads 1 NAME
//!
//! `HERD_TORCHRUN` names torchrun for the one that needs it, `HERD_DRILL_SECONDS` the length of the one with all faults.

use std::fs;
use std::io::Read as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::faulty::{Place, SETTINGS, Settings, ended};
use launch::faults::{Cause, Mix, Practice, Setting, Shows, retell};
use launch::supervisor::{Limits, Settings as Supervisor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The ranks among the children of a launcher, in the order in which they were started.
fn ranks(launcher: u32) -> Vec<i32> {
    let is_rank = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let parent = format!("PPid:\t{launcher}");
        String::from_utf8_lossy(&words).contains("--exact\0child")
            && status.lines().any(|line| line == parent)
            && !status.contains("State:\tZ")
            && !String::from_utf8_lossy(&words).contains("run\0-n")
    };
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut all: Vec<i32> = all.filter(is_rank).collect();
    all.sort_unstable();
    all
}

fn signal(pid: i32, signal: i32) {
    // SAFETY: a signal to a process that our own child has started.
    unsafe { libc::kill(pid, signal) };
}

/// Reads what a launcher says, so that it never waits for a reader.
fn listen(child: &mut Child) -> std::thread::JoinHandle<String> {
    let mut pipe = child.stderr.take().unwrap();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Kills random ranks at random moments: 12 of 4 ranks, then, after a stop, 8 of 2 ranks. The bytes have to be those of a run of
/// one process.
fn kills(name: &str, words: impl Fn(usize) -> Vec<String>, seed: u64) {
    let place = Place::new();
    let settings = Settings { steps: 500, checkpoint_steps: 5, check_weights: Some(50), step_ms: 40, ..SETTINGS };
    let expected = place.undisturbed(&Settings { step_ms: 0, ..settings.clone() });
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (begin, mut given_up, mut killed) = (Instant::now(), 0, 0);
    for (size, goal) in [(4, 12), (2, 20)] {
        let start = || {
            let words = words(size);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut child = place.launched("killed", &settings, &words).stderr(Stdio::piped()).spawn().unwrap();
            let text = listen(&mut child);
            (child, text)
        };
        let (mut launcher, mut text) = start();
        loop {
            let pause = Instant::now() + Duration::from_millis(rng.random_range(300..2500));
            while Instant::now() < pause && launcher.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            if let Some(status) = launcher.try_wait().unwrap() {
                let said = text.join().unwrap();
                if status.success() {
                    break;
                }
                assert!(killed > 0, "{said}");
                given_up += 1;
                eprintln!("{name}: the launcher gave up: {}", said.lines().last().unwrap_or_default());
                (launcher, text) = start();
                continue;
            }
            let all = ranks(launcher.id());
            if killed < goal && !all.is_empty() {
                signal(all[rng.random_range(0..all.len())], libc::SIGKILL);
                killed += 1;
            } else if killed == goal && size == 4 {
                // The rest by two processes.
                signal(i32::try_from(launcher.id()).unwrap(), libc::SIGTERM);
                launcher.wait().unwrap();
                break;
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{name}: {killed} SIGKILLs to random ranks of 4, then of 2, in {seconds:.0} s; started again by hand {given_up} times"
    );
    assert_eq!(killed, 20);
    assert_eq!(place.bytes("killed", settings.steps), expected, "{name}: the bytes differ");
}

#[test]
#[ignore = "takes minutes"]
fn twenty_kills_under_the_supervisor() {
    let launch = test_support::program("launch").expect("cargo build -p launch");
    kills(
        "herd launch",
        |size| {
            ["run", "--processes", &size.to_string(), "--"].iter().fold(
                vec![launch.display().to_string()],
                |mut all, word| {
                    all.push((*word).to_owned());
                    all
                },
            )
        },
        7,
    );
}

#[test]
#[ignore = "needs torchrun, and takes minutes"]
fn twenty_kills_under_torchrun() {
    let torchrun = std::env::var("HERD_TORCHRUN").expect("HERD_TORCHRUN names torchrun");
    let words = |size: usize| {
        let flags = format!(
            "--nnodes 1 --nproc-per-node {size} --master-addr 127.0.0.1 --master-port 29513 --max-restarts 20 --monitor-interval 0.1 --no-python"
        );
        std::iter::once(torchrun.clone()).chain(flags.split(' ').map(str::to_owned)).collect()
    };
    kills("torchrun", words, 8);
}

/// The memory of each of 1, 2 and 4 processes that train a model of 72 million weights. Of masters, moments and gradient sums each
/// process has its share, so with more processes even the largest one holds less.
#[test]
#[ignore = "takes a minute and two gigabytes"]
fn memory_of_a_rank() {
    let place = Place::of(1024, 8);
    let settings = Settings { steps: 2, checkpoint_steps: 0, check_weights: None, ..SETTINGS };
    let mut before = f64::INFINITY;
    for size in [1, 2, 4] {
        let mut most = 0.0_f64;
        for (code, text) in place.ranks(&format!("memory-{size}"), size, &settings) {
            assert_eq!(code, Some(0), "{text}");
            let held = text.lines().find(|line| line.contains("MB at most")).unwrap();
            println!("{size} processes: {held}");
            let number = held.split_whitespace().find_map(|word| word.parse::<f64>().ok().filter(|n| *n > 100.0));
            most = most.max(number.unwrap());
        }
        assert!(most < 0.95 * before, "{size} processes hold up to {most} MB, fewer of them {before}");
        before = most;
    }
}

/// Kinds of faults in the paper's proportions as far as so few can be: of 358 crashes, 49 hangs, 6 slow, 6 silent.
const KINDS: [(&str, u32); 9] = [
    ("kill", 6),
    ("exit", 3),
    ("disk", 1),
    ("store", 1),
    ("stop", 2),
    ("slow", 1),
    ("flip", 1),
    ("file", 1),
    ("nan", 1),
];

/// A byte of the newest checkpoint's moments.
fn spoil(place: &Place) {
    let folder = place.path("drill").join("run/checkpoints");
    let step = |entry: fs::DirEntry| entry.file_name().to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let newest = fs::read_dir(&folder).unwrap().flatten().filter_map(step).max();
    let Some(newest) = newest else { return };
    let file = folder.join(format!("step-{newest}/state/moments.safetensors"));
    if let Ok(mut bytes) = fs::read(&file) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file, bytes).ok();
    }
}

#[test]
#[ignore = "takes minutes"]
fn all_faults_cost_what_the_simulation_says() {
    let launch = test_support::program("launch").expect("cargo build -p launch");
    let seconds: f64 = std::env::var("HERD_DRILL_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300.0);
    let between = 20.0;
    let (step_ms, save_every) = (150, 8);
    let place = Place::new();
    let settings = Settings { checkpoint_steps: save_every, step_ms, steps: 0, ..SETTINGS };
    let words =
        [launch.to_str().unwrap(), "run", "--processes", "4", "--lowest-limit", "2", "--failure-grace", "1", "--"];
    let time = |steps: u64| {
        let begin = Instant::now();
        let settings = Settings { steps, ..settings.clone() };
        let (code, text) = ended(place.launched(&format!("calm-{steps}"), &settings, &words).spawn().unwrap());
        assert_eq!(code, Some(0), "{text}");
        begin.elapsed().as_secs_f64()
    };
    let (short, long) = (time(16), time(64));
    // The step time includes its share of a checkpoint.
    let step = (long - short) / 48.0;
    let load = short - 16.0 * step;
    let steps = (seconds / step) as u64;
    let settings = Settings { steps, ..settings };
    let expected = place.undisturbed(&Settings { step_ms: 0, ..settings.clone() });

    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let bag: Vec<&str> = KINDS.iter().flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count as usize)).collect();
    let (begin, mut given_up, mut told) = (Instant::now(), 0, Vec::new());
    let start = || {
        let mut child = place.launched("drill", &settings, &words).spawn().unwrap();
        let text = listen(&mut child);
        (child, text)
    };
    let (mut launcher, mut text) = start();
    let mut said = String::new();
    let mut next = between * rng.random_range(0.5..1.5);
    let mut order: Vec<&str> = Vec::new();
    loop {
        std::thread::sleep(Duration::from_millis(5));
        if let Some(status) = launcher.try_wait().unwrap() {
            said += &text.join().unwrap();
            if status.success() {
                break;
            }
            given_up += 1;
            (launcher, text) = start();
        }
        let now = begin.elapsed().as_secs_f64();
        if now < next {
            continue;
        }
        next = now + between * rng.random_range(0.5..1.5);
        if order.is_empty() {
            order.clone_from(&bag);
        }
        let kind = order.swap_remove(rng.random_range(0..order.len()));
        let rank = rng.random_range(0..4_usize);
        let all = ranks(launcher.id());
        match kind {
            "kill" | "store" | "stop" => {
                let which = if kind == "store" { 0 } else { rank };
                if let Some(pid) = all.get(which) {
                    signal(*pid, if kind == "stop" { libc::SIGSTOP } else { libc::SIGKILL });
                }
            }
            // It shows when the run is started the next time: a rank ends now.
            "file" => {
                spoil(&place);
                all.get(rank).iter().for_each(|pid| signal(**pid, libc::SIGKILL));
            }
            "disk" => place.plan("drill", 0, 0, kind),
            _ => place.plan("drill", rank, 0, kind),
        }
        eprintln!("{now:.1} s, step {}: {kind} at rank {rank}", place.steps("drill"));
        let shows = match kind {
            "stop" => Some(Shows::Stopped),
            "flip" => Some(Shows::Silent),
            "slow" | "nan" => None,
            _ => Some(Shows::Crash),
        };
        told.extend(shows.map(|shows| (now, shows)));
    }
    let elapsed = begin.elapsed().as_secs_f64();
    let measured = steps as f64 * step / elapsed;
    let setting = Setting {
        gpus: 4,
        days: elapsed / 86_400.0,
        step,
        mix: Mix {
            gpus: 4.0,
            days: 1.0,
            planned: 0.0,
            cause: vec![Cause { name: "x".into(), count: 1.0, shows: Shows::Crash }],
        },
        slow_factor: 1.0,
        person: 0.0,
        gone: 0.05,
    };
    let practice = Practice {
        name: "drill".into(),
        interval: save_every as f64 * step,
        stop: 0.0,
        write: 0.1,
        restart: load,
        exit_seen: Some(0.02),
        fixed_limit: None,
        slow_seen: 0.0,
        corrupt_seen: step,
    };
    let floor = Duration::from_secs(2);
    let supervisor = Supervisor {
        limits: Limits { floor, silence: floor, stopped: floor, ..Limits::default() },
        failure_grace: Duration::from_secs(1),
        ..Supervisor::default()
    };
    let run = retell(&setting, &practice, &supervisor, &told);
    println!(
        "{}",
        said.lines()
            .filter(|line| line.contains("[launch]") || line.contains("computed again"))
            .collect::<Vec<_>>()
            .join("\n")
    );
    println!(
        "a step of {step:.3} s, a start of {load:.2} s; {} faults in {elapsed:.0} s, given up {given_up} times: effective {measured:.3} \
         measured, {:.3} simulated with the same failures ({:?})",
        told.len(),
        run.shares.effective,
        run.shares
    );
    assert_eq!(place.bytes("drill", steps), expected, "the bytes differ");
    assert!((measured - run.shares.effective).abs() < 0.03, "{measured} measured, {} simulated", run.shares.effective);
}
