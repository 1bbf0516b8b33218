//! The state of one running instance: its files, streams, clock and limits; and the reasons for which it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::{Memory, ResourceLimiter};

use super::errno::{self, Errno};
use super::files::{Files, NodeId};
use crate::limits::Limits;

/// Maximum number of open descriptors of one instance.
const MAX_OPEN: usize = 256;
/// Maximum number of assertions of a compiled program whose results are recorded.
const MAX_CHECKS: usize = 1000;
/// Maximum length in bytes of a line that the guest writes to the host channel.
const MAX_LINE: usize = 64 << 20;

/// Why the sandbox stopped an instance before its code returned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The program called `proc_exit` with that code.
    #[error("the program exited with code {0}")]
    Exit(i32),
    /// The time limit was reached: processor time plus sleep.
    #[error("the limit of time was reached")]
    Time,
    /// The wall-time limit was reached before the time limit: the machine did not give the program enough processor
    /// time, or the program waited in real time.
    #[error(
        "the backstop of real time was reached before the program's limit of time: the machine was too busy, or it waited"
    )]
    Wall,
    /// The program wrote more than the output limit to a stream, or an oversized message to the host.
    #[error("the output limit was reached")]
    Output,
    /// The host no longer needs the instance.
    #[error("the program was dismissed")]
    Dismissed,
}

/// Why a syscall has no result.
pub enum Fault {
    /// The guest gets this error number.
    Errno(Errno),
    /// The guest is stopped.
    Stop(Stop),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// The clock of one program: processor time plus sleep. The time limit and the clocks that the program reads use it,
/// so neither depends on the machine's load. Wall time has a separate, longer limit.
///
/// A sleep takes no real time: it advances this clock and counts against the time limit. This is safe, since a sleeping
/// program cannot be waiting for anything outside the sandbox. Clones share the sleep, so program and judge have the
/// same time.
#[derive(Debug, Clone)]
pub struct Clock {
    start: Instant,
    /// Wall-clock time at the start, since 1970.
    date: Duration,
    cpu_start: Duration,
    /// Total sleep in nanoseconds, shared by all clones.
    slept: Arc<AtomicU64>,
    time: Duration,
    wall: Duration,
}

impl Clock {
    /// Starts the clock.
    pub fn start(limits: &Limits) -> Self {
        let date = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (time, wall) = (limits.time, limits.wall);
        Self { start: Instant::now(), date, cpu_start: cpu_time(), slept: Arc::default(), time, wall }
    }

    /// Processor time plus sleep since the start.
    pub fn program_time(&self) -> Duration {
        self.cpu_time() + self.slept()
    }

    /// The wall-clock time that the program reads, since 1970: that of the start plus the program's time.
    pub fn date(&self) -> Duration {
        self.date + self.program_time()
    }

    /// Wall time since the start.
    pub fn wall_time(&self) -> Duration {
        self.start.elapsed()
    }

    /// Total time that the program slept.
    pub fn slept(&self) -> Duration {
        Duration::from_nanos(self.slept.load(Ordering::Relaxed))
    }

    /// Processor time since the start, of the whole process; a worker process runs one program at a time.
    pub fn cpu_time(&self) -> Duration {
        cpu_time().saturating_sub(self.cpu_start)
    }

    /// Wall time that is left before the wall-time limit.
    pub fn left(&self) -> Duration {
        self.wall.saturating_sub(self.wall_time())
    }

    /// An error if the time limit or the wall-time limit has been reached.
    pub fn check(&self) -> Result<(), Stop> {
        if self.program_time() >= self.time {
            return Err(Stop::Time);
        }
        if self.wall_time() >= self.wall {
            return Err(Stop::Wall);
        }
        Ok(())
    }

    /// Advances the clock by a sleep, without waiting.
    pub fn sleep(&self, time: Duration) -> Result<(), Stop> {
        // Capped at a year, which is beyond every limit, so that the sum cannot overflow.
        let slept = self.slept().saturating_add(time).min(Duration::from_secs(86_400 * 365));
        self.slept.store(slept.as_nanos() as u64, Ordering::Relaxed);
        self.check()
    }
}

/// Processor time of this process since its start.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result; this clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// An open file, folder or stream.
#[derive(Clone)]
pub enum Open {
    /// Standard input.
    Stdin,
    /// Standard output (1) or standard error (2).
    Output(u8),
    /// A file.
    File {
        /// Its node.
        node: NodeId,
        /// The position of the next byte to read or write.
        position: u64,
        /// Whether it may be read.
        read: bool,
        /// Whether it may be written.
        write: bool,
        /// Whether every write goes to the end.
        append: bool,
    },
    /// A folder. The path is set if the folder was open when the program started (a WASI preopen).
    Folder(NodeId, Option<String>),
    /// The channel to the host.
    HostChannel,
}

/// The result of an `assert` in compiled C or C++.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Whether the condition was true.
    pub passed: bool,
    /// Whether the assertion is in the tests rather than in the program.
    pub is_test: bool,
    /// Line of the assertion.
    pub line: i32,
    /// Source text of the condition.
    pub text: String,
}

/// What an instance starts with.
pub struct Setup {
    /// The file system.
    pub files: Files,
    /// Paths of folders that are open from the start, as descriptors 3, 4 and so on.
    pub preopened: Vec<String>,
    /// `argv`.
    pub arguments: Vec<String>,
    /// `environ`, as `NAME=value`.
    pub environment: Vec<String>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Seed of `random_get`.
    pub seed: u64,
}

/// The host's side of the channel: takes a message (a `host.call`, or a line written to the channel's file) and returns
/// the reply.
pub type HostChannel = Box<dyn FnMut(&mut Clock, &[u8]) -> Result<Vec<u8>, Stop> + Send>;

/// The state of one instance.
pub struct Guest {
    pub(super) files: Files,
    open: Vec<Option<Open>>,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<String>,
    pub(super) stdin: Vec<u8>,
    pub(super) stdin_position: usize,
    /// Standard output that the host has not taken yet.
    pub stdout: Vec<u8>,
    /// Standard error that the host has not taken yet.
    pub stderr: Vec<u8>,
    written: [usize; 2],
    output_limit: usize,
    random: u64,
    /// The program's clock.
    pub clock: Clock,
    pub(super) memory_limit: usize,
    /// Peak size of the guest's linear memory so far, in bytes.
    pub peak_memory: usize,
    /// Whether the guest asked for memory beyond its limit and did not get it.
    pub memory_refused: bool,
    pub(super) memory: Option<Memory>,
    /// The host's side of the channel; `None` if the guest has no host.
    pub door: Option<HostChannel>,
    /// The results of assertions in compiled code, one for each place in the source.
    pub checks: Vec<Check>,
    /// The unfinished line that the guest has written to the channel.
    line: Vec<u8>,
    /// Replies of the host, and how many bytes of them the guest has read.
    answers: (Vec<u8>, usize),
}

impl Guest {
    /// The guest state at the start of a program.
    pub fn new(setup: Setup, limits: &Limits, clock: Clock) -> Self {
        let mut open = vec![Some(Open::Stdin), Some(Open::Output(1)), Some(Open::Output(2))];
        for path in setup.preopened {
            let folder = setup.files.resolve(super::files::ROOT, &path).ok();
            open.push(folder.map(|node| Open::Folder(node, Some(path))));
        }
        Self {
            files: setup.files,
            open,
            arguments: setup.arguments,
            environment: setup.environment,
            stdin: setup.stdin,
            stdin_position: 0,
            stdout: Vec::new(),
            stderr: Vec::new(),
            written: [0; 2],
            output_limit: limits.output,
            random: setup.seed,
            clock,
            memory_limit: limits.memory,
            peak_memory: 0,
            memory_refused: false,
            memory: None,
            door: None,
            checks: Vec::new(),
            line: Vec::new(),
            answers: (Vec::new(), 0),
        }
    }

    /// The guest state of an instance that runs no program.
    pub(super) fn idle() -> Self {
        let setup = Setup {
            files: Files::new(0),
            preopened: Vec::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            stdin: Vec::new(),
            seed: 0,
        };
        let limits = Limits { memory: usize::MAX, ..Limits::default() };
        Self::new(setup, &limits, Clock::start(&limits))
    }

    /// The open file of a descriptor.
    pub(super) fn open(&self, fd: u32) -> Result<&Open, Errno> {
        self.open.get(fd as usize).and_then(Option::as_ref).ok_or(errno::BADF)
    }

    /// The open file of a descriptor, mutable.
    pub(super) fn open_mut(&mut self, fd: u32) -> Result<&mut Open, Errno> {
        self.open.get_mut(fd as usize).and_then(Option::as_mut).ok_or(errno::BADF)
    }

    /// The folder of a descriptor.
    pub(super) fn folder(&self, fd: u32) -> Result<NodeId, Errno> {
        match self.open(fd)? {
            Open::Folder(node, _) => Ok(*node),
            _ => Err(errno::NOTDIR),
        }
    }

    /// Gives `what` the lowest free descriptor.
    pub(super) fn add_open(&mut self, what: Open) -> Result<u32, Errno> {
        let free = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        if free >= MAX_OPEN {
            return Err(errno::MFILE);
        }
        if free == self.open.len() {
            self.open.push(None);
        }
        self.open[free] = Some(what);
        Ok(free as u32)
    }

    /// Closes a descriptor and returns what was open.
    pub(super) fn close(&mut self, fd: u32) -> Result<Open, Errno> {
        self.open.get_mut(fd as usize).and_then(Option::take).ok_or(errno::BADF)
    }

    /// Appends to standard output (1) or standard error (2), up to the output limit.
    pub(super) fn write_output(&mut self, stream: u8, data: &[u8]) -> Result<(), Stop> {
        let (buffer, written) = match stream {
            1 => (&mut self.stdout, &mut self.written[0]),
            _ => (&mut self.stderr, &mut self.written[1]),
        };
        let room = self.output_limit - *written;
        let kept = &data[..data.len().min(room)];
        buffer.extend_from_slice(kept);
        *written += kept.len();
        if data.len() > room { Err(Stop::Output) } else { Ok(()) }
    }

    /// Records the result of an assertion. An assertion in a loop has one entry, which has failed if it failed once.
    pub(super) fn note(&mut self, check: Check) {
        let is_same =
            |noted: &Check| noted.line == check.line && noted.is_test == check.is_test && noted.text == check.text;
        match self.checks.iter().rposition(is_same) {
            Some(at) => self.checks[at].passed &= check.passed,
            None if self.checks.len() < MAX_CHECKS => self.checks.push(check),
            // The list is full, but a failure must not be lost: it replaces the last entry.
            None if !check.passed => self.checks[MAX_CHECKS - 1] = check,
            None => {}
        }
    }

    /// The content of a file in the guest's file system.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.read(path)
    }

    /// Handles bytes that the guest writes to the channel. Each complete line goes to the host, and the host's reply
    /// becomes a line that the guest can read.
    pub(super) fn write_door(&mut self, data: &[u8]) -> Result<(), Stop> {
        let mut rest = data;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            let line = std::mem::take(&mut self.line);
            let Some(door) = &mut self.door else { return Err(Stop::Dismissed) };
            let answer = door(&mut self.clock, &line)?;
            self.answers.0.drain(..std::mem::take(&mut self.answers.1));
            self.answers.0.extend_from_slice(&answer);
            self.answers.0.push(b'\n');
        }
        self.line.extend_from_slice(rest);
        if self.line.len() > MAX_LINE { Err(Stop::Output) } else { Ok(()) }
    }

    /// The next unread bytes of the host's replies, at most `most`.
    pub(super) fn read_door(&mut self, most: usize) -> &[u8] {
        let start = self.answers.1;
        self.answers.1 += most.min(self.answers.0.len() - start);
        &self.answers.0[start..self.answers.1]
    }

    /// Fills a buffer with seeded pseudo-random bytes (SplitMix64: Steele, Lea, Flood 2014).
    pub(super) fn fill_random(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
        }
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.memory_limit {
            self.memory_refused = true;
            return Ok(false);
        }
        self.peak_memory = self.peak_memory.max(desired);
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= 200_000)
    }
}
