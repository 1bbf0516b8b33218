//! `herd launch`: the supervisor with real processes on one machine.

mod beats;
mod drive;
mod guard;
mod rank;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::supervisor::{Event, Limits, Place, Policy, Settings, Supervisor};
use drive::{Driver, exit_code, log_folder};
use rank::Program;

/// Arguments of `herd launch`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Ranks to start on this machine
    #[arg(long)]
    pub processes: u32,
    /// Maximum number of restarts [default: no maximum while restarts make progress, 3 for a program without heartbeats]
    #[arg(long)]
    pub max_restarts: Option<u32>,
    /// Folder for the output, events and flight recorders of each run
    #[arg(long)]
    pub logs: Option<PathBuf>,
    /// Stall limit in seconds for a phase with fewer than 3 samples
    #[arg(long, default_value_t = 1800.0)]
    pub first_limit: f64,
    /// Lowest stall limit in seconds; a learned limit is 10 x the median of the phase
    #[arg(long, default_value_t = 30.0)]
    pub lowest_limit: f64,
    /// Stall limit in seconds without output, for programs without heartbeats [default: none]
    #[arg(long)]
    pub silence_limit: Option<f64>,
    /// Seconds between a forwarded SIGTERM or SIGINT and SIGKILL
    #[arg(long, default_value_t = 30.0)]
    pub grace: f64,
    /// Seconds between SIGTERM and SIGKILL for the other ranks after a failure
    #[arg(long, default_value_t = 5.0)]
    pub failure_grace: f64,
    /// Exit code of a run that a signal stopped, for schedulers that requeue [default: 128 + signal]
    #[arg(long)]
    pub requeue_code: Option<u8>,
    /// MASTER_PORT [default: a free port for each attempt]
    #[arg(long)]
    pub master_port: Option<u16>,
    /// Print the ranks' output without a prefix
    #[arg(long)]
    pub no_prefix: bool,
    /// The program and its arguments, after --
    #[arg(required = true, last = true)]
    pub program: Vec<OsString>,
}

/// Runs `herd launch`: starts and supervises the ranks. Must be called from the main thread.
///
/// # Errors
/// When an argument is invalid, or when the system refuses a process, a pipe or a folder.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.check()?;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim().to_owned();
    let place = |rank: u32| Place { host: host.clone(), device: format!("local rank {rank}") };
    let places: Arc<[Place]> = (0..args.processes).map(place).collect();
    let supervisor = Supervisor::new(places, args.settings());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = format!("launch-{}-{}", since.as_secs(), std::process::id());
    let threads = std::env::var_os("OMP_NUM_THREADS").is_none().then(|| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (cores / args.processes as usize).max(1)
    });
    let program = Program {
        words: args.program.clone(),
        ranks: args.processes,
        address: "127.0.0.1".into(),
        id: id.clone(),
        threads: threads.filter(|_| args.processes > 1),
        restarts: args.max_restarts,
        prefix: !args.no_prefix,
    };
    let logs = args.logs.as_deref().map(|folder| log_folder(folder, &id));
    let driver = Driver::new(&program, supervisor, logs, args.master_port)?;
    pass_signals(driver.sender()).context("cannot listen for signals")?;
    let outcome = driver.run()?;
    Ok(ExitCode::from(exit_code(outcome, args.requeue_code)))
}

impl Args {
    fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=1024).contains(&self.processes), "--processes {}: from 1 to 1024", self.processes);
        for (flag, value) in [
            ("first-limit", self.first_limit),
            ("lowest-limit", self.lowest_limit),
            ("silence-limit", self.silence_limit.unwrap_or(1.0)),
            ("grace", self.grace),
            ("failure-grace", self.failure_grace),
        ] {
            ensure!(value > 0.0 && value <= 1e7, "--{flag} {value}: above 0, and at most 10 million seconds");
        }
        ensure!(self.master_port != Some(0), "--master-port 0: from 1");
        Ok(())
    }

    fn settings(&self) -> Settings {
        let seconds = Duration::from_secs_f64;
        let floor = seconds(self.lowest_limit);
        let limits = Limits {
            floor,
            first: seconds(self.first_limit),
            silence: floor,
            stopped: floor,
            output: self.silence_limit.map(seconds),
            ..Limits::default()
        };
        Settings {
            limits,
            policy: Policy { restarts: self.max_restarts, ..Policy::default() },
            failure_grace: seconds(self.failure_grace),
            stop_grace: seconds(self.grace),
            ..Settings::default()
        }
    }
}

/// Turns signals to the supervisor into events.
fn pass_signals(events: Sender<Event>) -> std::io::Result<()> {
    let mut signals = vec![SIGINT, SIGTERM, SIGUSR1];
    if !is_ignored(SIGHUP) {
        signals.push(SIGHUP);
    }
    let mut signals = Signals::new(signals)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGUSR1 { Event::Forward(signal) } else { Event::Stop(signal) };
            if events.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Whether a signal was already ignored when this process started (`nohup`).
fn is_ignored(signal: i32) -> bool {
    // SAFETY: reads the current handler into a structure that may be all zeros.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
