//! Supervised worker processes. A worker that does not answer within its program's limit, or dies, is replaced. After
//! a missed limit the program gets the verdict `timeout`. After a death the program is run again: up to five times in
//! all if the worker got SIGKILL, else twice; then it gets the verdict `crashed`.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::child::Order;
use crate::languages;
use crate::limits::{Limits, backstop};
use crate::native::Backend;
use crate::record::{Job, Status, Verdict};

/// How long after the program's wall-time limit the pool waits for the worker. The sandbox itself ends a program
/// within a few milliseconds of its limit.
const GRACE: Duration = Duration::from_secs(2);
/// Maximum number of attempts for a program whose worker gets SIGKILL, for example from the kernel when memory is
/// short.
const KILLS: u32 = 5;

/// The command line that starts a worker process.
#[derive(Debug, Clone)]
pub struct Launcher {
    /// Path of the binary.
    pub program: PathBuf,
    /// Arguments of the binary.
    pub arguments: Vec<String>,
}

impl Launcher {
    /// This binary, with `prefix` before the hidden subcommand that [`crate::cli`] defines for workers.
    ///
    /// # Errors
    /// When the operating system does not report the path of this binary.
    pub fn own(prefix: &[&str]) -> anyhow::Result<Self> {
        let mut arguments: Vec<String> = prefix.iter().map(|part| (*part).to_owned()).collect();
        arguments.push("child".into());
        Ok(Self { program: std::env::current_exe()?, arguments })
    }
}

/// Worker processes with the limits, seed and backend of their programs.
pub struct Pool {
    launcher: Launcher,
    limits: Limits,
    seed: u64,
    backend: Backend,
    lint: bool,
    idle: Mutex<Vec<Option<Worker>>>,
    freed: Condvar,
    /// Number of workers that were replaced.
    pub replaced: AtomicU64,
    /// Number of programs that have a verdict.
    pub finished: AtomicU64,
}

impl Pool {
    /// A pool of `workers` processes (at least one). Each process starts when it is first needed.
    pub fn new(launcher: Launcher, workers: usize, limits: Limits, seed: u64) -> Self {
        Self {
            launcher,
            limits,
            seed,
            backend: Backend::Wasm,
            lint: false,
            idle: Mutex::new((0..workers.max(1)).map(|_| None).collect()),
            freed: Condvar::new(),
            replaced: AtomicU64::new(0),
            finished: AtomicU64::new(0),
        }
    }

    /// Sets the backend; the default is the WebAssembly sandbox.
    #[must_use]
    pub fn with_backend(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    /// With `lint`, adds a linter's findings to every verdict.
    #[must_use]
    pub fn with_lint(self, lint: bool) -> Self {
        Self { lint, ..self }
    }

    /// Waits for a free worker, runs the program on it and returns the verdict.
    ///
    /// # Errors
    /// When a worker cannot be started, for example because the language is not set up.
    pub fn run(&self, job: &Job) -> anyhow::Result<Verdict> {
        let mut place = self.take()?;
        let result = self.run_in(&mut place, job);
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(place);
        }
        self.freed.notify_one();
        self.finished.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn take(&self) -> anyhow::Result<Option<Worker>> {
        let poisoned = |_| anyhow::anyhow!("another thread of the pool panicked");
        let mut idle = self.idle.lock().map_err(|e| poisoned(e.to_string()))?;
        loop {
            if let Some(place) = idle.pop() {
                return Ok(place);
            }
            idle = self.freed.wait(idle).map_err(|e| poisoned(e.to_string()))?;
        }
    }

    fn run_in(&self, place: &mut Option<Worker>, job: &Job) -> anyhow::Result<Verdict> {
        let job = Job { lint: job.lint || self.lint, ..job.clone() };
        let order = Order { job: job.clone(), limits: self.limits.clone(), seed: self.seed, backend: self.backend };
        let mut line = serde_json::to_vec(&order)?;
        line.push(b'\n');
        let preparation = languages::find(&job.language).map_or(Duration::ZERO, |language| language.preparation());
        let wall = preparation + job.timeout.map_or(self.limits.wall, |t| backstop(Duration::from_secs_f64(t)));
        for attempt in 1.. {
            let worker = match place {
                Some(worker) => worker,
                None => place.insert(Worker::start(&self.launcher)?),
            };
            match worker.exchange(&line, wall + GRACE) {
                Ok(reply) => return Ok(serde_json::from_slice(&reply)?),
                Err(Lost::Silent) => {
                    *place = None;
                    self.replaced.fetch_add(1, Ordering::Relaxed);
                    let detail = "the worker did not answer within the limit and was replaced";
                    return Ok(Verdict::without_run(&job.id, Status::Timeout, detail));
                }
                // A program in the sandbox cannot send signals, so a SIGKILL came from outside and says nothing about
                // the program.
                Err(Lost::Dead { was_killed, .. }) if attempt < if was_killed { KILLS } else { 2 } => {
                    *place = None;
                    self.replaced.fetch_add(1, Ordering::Relaxed);
                }
                Err(Lost::Dead { said, .. }) => {
                    *place = None;
                    if said.contains("is not set up") || said.contains("--backend native") {
                        bail!("{}", said.trim().trim_start_matches("error: "));
                    }
                    let detail = format!("the worker died {attempt} times on this program{}", with_colon(&said));
                    return Ok(Verdict::without_run(&job.id, Status::Crashed, detail));
                }
            }
        }
        bail!("unreachable: the second attempt answers")
    }
}

fn with_colon(said: &str) -> String {
    let said = said.trim();
    if said.is_empty() { String::new() } else { format!(": {}", said.chars().take(500).collect::<String>()) }
}

/// The reason why a worker gave no verdict.
enum Lost {
    /// The worker did not answer in time.
    Silent,
    /// The worker process ended. `was_killed`: by SIGKILL. `said`: its standard error, at most 64 KiB.
    Dead { was_killed: bool, said: String },
}

/// A running worker process. Dropping this value kills the process.
struct Worker {
    child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    buffer: Vec<u8>,
}

impl Worker {
    fn start(launcher: &Launcher) -> anyhow::Result<Self> {
        let mut command = Command::new(&launcher.program);
        command.args(&launcher.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear();
        for name in ["HERD_CACHE", "XDG_CACHE_HOME", "HOME", "PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // SAFETY: only async-signal-safe calls between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // A separate process group, so that Ctrl-C reaches only the supervisor. No core files.
                libc::setpgid(0, 0);
                let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
                Ok(())
            });
        }
        let mut child =
            command.spawn().with_context(|| format!("cannot start a worker ({})", launcher.program.display()))?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("a worker without pipes");
        };
        Ok(Self { child, stdin, stdout, buffer: Vec::new() })
    }

    /// Sends one line and waits up to `limit` for the reply line.
    fn exchange(&mut self, line: &[u8], limit: Duration) -> Result<Vec<u8>, Lost> {
        if self.stdin.write_all(line).and_then(|()| self.stdin.flush()).is_err() {
            return Err(self.dead());
        }
        let deadline = Instant::now() + limit;
        loop {
            if let Some(end) = self.buffer.iter().rposition(|&b| b == b'\n') {
                let reply = self.buffer[..end].to_vec();
                self.buffer.clear();
                return Ok(reply);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Lost::Silent);
            }
            let mut wait = libc::pollfd { fd: self.stdout.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let milliseconds = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
            // SAFETY: `wait` is one valid entry for the length of the call.
            if unsafe { libc::poll(&raw mut wait, 1, milliseconds) } <= 0 {
                continue;
            }
            let mut block = [0; 1 << 16];
            match self.stdout.read(&mut block) {
                Ok(0) | Err(_) => return Err(self.dead()),
                Ok(n) => self.buffer.extend_from_slice(&block[..n]),
            }
        }
    }

    fn dead(&mut self) -> Lost {
        self.child.kill().ok();
        let was_killed = self.child.wait().is_ok_and(|status| status.signal() == Some(libc::SIGKILL));
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            stderr.take(1 << 16).read_to_end(&mut said).ok();
        }
        Lost::Dead { was_killed, said: String::from_utf8_lossy(&said).into_owned() }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
