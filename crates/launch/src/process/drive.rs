//! Drives the supervisor's state machine with real processes and a real clock.

use std::fs;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tempfile::TempDir;

use super::beats;
use super::guard::{Guard, adopt, collect_orphans, end_orphans};
use super::rank::{self, Attempt, Program};
use crate::heartbeat;
use crate::supervisor::{Action, Event, Exit, Notice, Outcome, Rank, Sign, Step, Supervisor, Who, signal_name};

/// Interval at which adopted processes that ended are reaped.
const COLLECT: Duration = Duration::from_secs(60);
/// Interval at which files are checked while flight recorders are awaited.
const LOOK: Duration = Duration::from_millis(50);
/// A delay of the loop itself beyond this means that it was held up; it then reads events before it judges ranks.
const HELD_UP: Duration = Duration::from_secs(1);
/// The time for pending output after all processes have ended.
const FLUSH: Duration = Duration::from_secs(2);

/// A run on this machine.
pub(super) struct Driver<'a> {
    program: &'a Program,
    supervisor: Supervisor,
    begin: Instant,
    guard: Guard,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// The process id of each running rank.
    pids: Vec<Option<i32>>,
    readers: Vec<JoinHandle<()>>,
    beats: Option<beats::Reader>,
    /// The folder of awaited flight recorders, and for each rank whether its recorder has arrived.
    dumps: Option<(PathBuf, Vec<bool>)>,
    scratch: TempDir,
    /// The folder for output, events and flight recorders, if wanted.
    logs: Option<PathBuf>,
    port: Option<u16>,
    collected: Instant,
    outcome: Option<Outcome>,
}

impl<'a> Driver<'a> {
    /// Prepares a run. Must be called before this process starts threads.
    pub fn new(
        program: &'a Program,
        supervisor: Supervisor,
        logs: Option<PathBuf>,
        port: Option<u16>,
    ) -> anyhow::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("launch-").tempdir().context("cannot make a temporary folder")?;
        if let Some(folder) = &logs {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let guard = Guard::start().context("cannot start the process that guards against orphans")?;
        adopt().context("cannot adopt orphans")?;
        let (sender, events) = channel();
        let now = Instant::now();
        Ok(Self {
            program,
            supervisor,
            begin: now,
            guard,
            sender,
            events,
            pids: vec![None; program.ranks as usize],
            readers: Vec::new(),
            beats: None,
            dumps: None,
            scratch,
            logs,
            port,
            collected: now,
            outcome: None,
        })
    }

    /// The channel for events.
    pub fn sender(&self) -> Sender<Event> {
        self.sender.clone()
    }

    /// Runs until the state machine ends.
    pub fn run(mut self) -> anyhow::Result<Outcome> {
        self.begin = Instant::now();
        let actions = self.supervisor.begin(Duration::ZERO);
        self.carry_out(actions)?;
        let mut before = Duration::ZERO;
        loop {
            if let Some(outcome) = self.outcome {
                self.end();
                return Ok(outcome);
            }
            let now = self.begin.elapsed();
            let mut wait = self.supervisor.deadline().map_or(COLLECT, |due| due.saturating_sub(now)).min(COLLECT);
            if self.dumps.is_some() {
                wait = wait.min(LOOK);
            }
            if let Ok(event) = self.events.recv_timeout(wait) {
                self.tell(event)?;
            }
            // A supervisor that was stopped itself, or had no processor time, reads the heartbeats before it judges ranks.
            let here = self.begin.elapsed();
            if here.saturating_sub(now + wait) > HELD_UP || now.saturating_sub(before) > HELD_UP {
                self.catch_up()?;
            } else if self.supervisor.deadline().is_some_and(|due| here >= due) {
                self.tell(Event::Tick)?;
            }
            before = self.begin.elapsed();
            self.look_for_dumps()?;
            if self.collected.elapsed() > COLLECT {
                self.collected = Instant::now();
                collect_orphans(&self.kept());
            }
        }
    }

    /// Reads the events that arrived while this process did not run.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + HELD_UP;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            if let Ok(event) = self.events.recv_timeout(left) {
                self.tell(event)?;
            }
        }
    }

    fn tell(&mut self, event: Event) -> anyhow::Result<()> {
        if let Event::Ranks { who: Who::One(rank), sign: Sign::Exited(exit), attempt } = &event
            && *attempt == self.supervisor.attempt()
        {
            if let Some(pid) = self.pids[*rank as usize].take() {
                self.guard.remove(pid);
            }
            self.record("exit", &json!({"rank": rank, "exit": exit.to_string()}));
        }
        let actions = self.supervisor.handle(self.begin.elapsed(), event);
        self.carry_out(actions)
    }

    fn carry_out(&mut self, actions: Vec<Action>) -> anyhow::Result<()> {
        for action in actions {
            match action {
                Action::Start { attempt, at_most } => self.start(attempt, at_most)?,
                Action::Dump => self.ask_for_dumps()?,
                Action::Signal { signal, who } => self.signal(signal, &who),
                Action::Say(notice) => self.say(&notice),
                Action::End(outcome) => self.outcome = Some(outcome),
            }
        }
        Ok(())
    }

    /// The children that are not orphans.
    fn kept(&self) -> Vec<i32> {
        self.pids.iter().flatten().copied().chain([self.guard.pid()]).collect()
    }

    fn start(&mut self, number: u32, at_most: Option<Step>) -> anyhow::Result<()> {
        self.finish_attempt();
        let pipes = self.scratch.path().join(format!("pipes-{number}"));
        let folder = self.logs.as_deref().unwrap_or(self.scratch.path()).join(format!("attempt-{number}"));
        for folder in [&pipes, &folder] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        // Each attempt uses another port, so that no rank meets a lingering process of the previous attempt.
        let port = match self.port {
            Some(port) => port,
            None => TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr())?.port(),
        };
        let attempt = Attempt { number, port, pipes, folder, logs: self.logs.is_some(), at_most };
        self.beats = Some(
            beats::read(&attempt, self.program.ranks, &self.sender).context("cannot make the pipes of heartbeats")?,
        );
        self.record("start", &json!({"attempt": number, "ranks": self.program.ranks, "port": port}));
        for rank in 0..self.program.ranks {
            match rank::start(self.program, &attempt, rank, &self.sender) {
                Ok((pid, readers)) => {
                    self.guard.add(pid);
                    self.pids[rank as usize] = Some(pid);
                    self.readers.extend(readers);
                }
                Err(error) => {
                    let name = self.program.words.first().map(|word| word.to_string_lossy()).unwrap_or_default();
                    let sign = Sign::NotStarted(format!("{name}: {error}"));
                    let rest = Who::These((rank..self.program.ranks).collect());
                    let event = Event::Ranks { attempt: number, who: rest, sign };
                    let _ = self.sender.send(event);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Cleans up after an attempt: descendants of its ranks, and threads that read their output.
    fn finish_attempt(&mut self) {
        self.beats = None;
        self.dumps = None;
        let killed = end_orphans(&self.kept(), Duration::from_secs(10));
        if killed > 0 {
            self.note(&format!("{killed} processes that the ranks left behind were killed"));
            self.record("orphans", &json!({"killed": killed}));
        }
        let until = Instant::now() + FLUSH;
        for reader in std::mem::take(&mut self.readers) {
            while !reader.is_finished() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    fn end(&mut self) {
        self.finish_attempt();
        self.record("end", &json!({"outcome": self.outcome}));
    }

    fn signal(&mut self, signal: i32, who: &Who) {
        for (pid, rank) in self.pids.iter().zip(0..) {
            if let Some(pid) = pid.filter(|_| who.has(rank)) {
                // SAFETY: it is the process group of a child that has not been reaped.
                unsafe {
                    libc::kill(-pid, signal);
                    // A stopped process receives the signal when it continues.
                    if matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGHUP) {
                        libc::kill(-pid, libc::SIGCONT);
                    }
                }
            }
        }
        self.record("signal", &json!({"signal": signal_name(signal)}));
    }

    fn say(&mut self, notice: &Notice) {
        self.note(&notice.to_string());
        if let Notice::Stall { suspects, .. } = notice {
            for suspect in suspects {
                if let Some(pid) = self.pids.get(suspect.rank as usize).copied().flatten() {
                    self.note(&format!("  rank {}: {}", suspect.rank, rank::describe(pid)));
                }
            }
        }
        self.record("notice", &serde_json::to_value(notice).unwrap_or_default());
    }

    /// Prints a line on standard error.
    fn note(&self, text: &str) {
        let _ = writeln!(io::stderr(), "[launch] {text}");
    }

    /// Writes a line to `events.jsonl`, if there are logs. A full disk does not end the run.
    fn record(&self, kind: &str, what: &serde_json::Value) {
        let Some(folder) = &self.logs else { return };
        let seconds = (self.begin.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
        let line = format!("{}\n", json!({"seconds": seconds, "event": kind, "detail": what}));
        let file = fs::OpenOptions::new().create(true).append(true).open(folder.join("events.jsonl"));
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }

    fn ask_for_dumps(&mut self) -> anyhow::Result<()> {
        let folder =
            self.logs.as_deref().unwrap_or(self.scratch.path()).join(format!("attempt-{}", self.supervisor.attempt()));
        fs::write(folder.join(heartbeat::REQUEST), b"")
            .with_context(|| format!("cannot ask for flight recorders in {}", folder.display()))?;
        self.dumps = Some((folder, vec![false; self.program.ranks as usize]));
        Ok(())
    }

    fn look_for_dumps(&mut self) -> anyhow::Result<()> {
        let Some((folder, there)) = &mut self.dumps else { return Ok(()) };
        let new: Vec<Rank> = (0..self.program.ranks)
            .filter(|rank| !there[*rank as usize] && folder.join(heartbeat::dump_file(*rank)).exists())
            .collect();
        for rank in &new {
            there[*rank as usize] = true;
        }
        let attempt = self.supervisor.attempt();
        for rank in new {
            self.record("dump", &json!({"rank": rank}));
            self.tell(Event::Ranks { attempt, who: Who::One(rank), sign: Sign::Dumped })?;
        }
        Ok(())
    }
}

/// The exit code of the whole run. `requeue` is the code of a run that was asked to stop and should be queued again.
#[must_use]
pub(super) fn exit_code(outcome: Outcome, requeue: Option<u8>) -> u8 {
    let code = |code: i32| u8::try_from(code).unwrap_or(1);
    match outcome {
        Outcome::Success => 0,
        Outcome::Failed(failed) => code(failed).max(1),
        Outcome::Stopped(signal) => requeue.unwrap_or_else(|| code(Exit::Signal(signal).code())),
    }
}

/// The log folder of this run, below `folder`; the time in its name keeps runs apart.
pub(super) fn log_folder(folder: &Path, id: &str) -> PathBuf {
    folder.join(id)
}
