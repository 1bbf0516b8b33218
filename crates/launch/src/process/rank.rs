//! The process of a rank: its start, its output and its state in the system.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::guard::check;
use crate::heartbeat;
use crate::supervisor::{Event, Exit, Rank, Sign, Step, Who};

/// The program that ranks run, and the settings that ranks share.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// The program and its arguments.
    pub words: Vec<OsString>,
    /// Number of ranks; all of them run on this machine.
    pub ranks: u32,
    pub address: String,
    /// The identifier of the run, the same in all attempts.
    pub id: String,
    /// Number of threads of each rank, for libraries that read `OMP_NUM_THREADS`; used if that is not set.
    pub threads: Option<usize>,
    /// Maximum number of restarts, for the variable that torchrun sets.
    pub restarts: Option<u32>,
    /// Whether each line of output is prefixed with its rank.
    pub prefix: bool,
}

/// An attempt to run the program.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub number: u32,
    pub port: u16,
    /// The folder of the heartbeat pipes.
    pub pipes: PathBuf,
    /// The folder for flight recorders and, with `logs`, the ranks' output.
    pub folder: PathBuf,
    /// Whether the ranks' output is written there.
    pub logs: bool,
    pub at_most: Option<Step>,
}

impl Attempt {
    pub fn pipe(&self, rank: Rank) -> PathBuf {
        self.pipes.join(format!("rank-{rank}"))
    }
}

/// The environment variables of a rank: torchrun's, and the supervisor's own.
fn variables(program: &Program, attempt: &Attempt, rank: Rank) -> Vec<(&'static str, OsString)> {
    let number = |number: u32| OsString::from(number.to_string());
    let (ranks, rank_text) = (number(program.ranks), number(rank));
    let mut variables: Vec<(&str, OsString)> = vec![
        ("RANK", rank_text.clone()),
        ("LOCAL_RANK", rank_text.clone()),
        ("ROLE_RANK", rank_text),
        ("WORLD_SIZE", ranks.clone()),
        ("LOCAL_WORLD_SIZE", ranks.clone()),
        ("ROLE_WORLD_SIZE", ranks),
        ("GROUP_RANK", number(0)),
        ("GROUP_WORLD_SIZE", number(1)),
        ("ROLE_NAME", "default".into()),
        ("MASTER_ADDR", program.address.clone().into()),
        ("MASTER_PORT", attempt.port.to_string().into()),
        ("TORCHELASTIC_RESTART_COUNT", number(attempt.number)),
        ("TORCHELASTIC_RUN_ID", program.id.clone().into()),
        // Rank 0 holds the store.
        ("TORCHELASTIC_USE_AGENT_STORE", "False".into()),
        (heartbeat::PIPE, attempt.pipe(rank).into()),
        (heartbeat::DUMPS, attempt.folder.clone().into()),
    ];
    if let Some(restarts) = program.restarts {
        variables.push(("TORCHELASTIC_MAX_RESTARTS", number(restarts)));
    }
    if let Some(at_most) = attempt.at_most {
        variables.push((heartbeat::AT_MOST, at_most.to_string().into()));
    }
    if let Some(threads) = program.threads {
        variables.push(("OMP_NUM_THREADS", threads.to_string().into()));
    }
    variables
}

/// Starts a rank in its own process group. Must be called from the main thread: the kernel kills the rank when the thread that started it
/// ends.
pub(super) fn start(
    program: &Program,
    attempt: &Attempt,
    rank: Rank,
    events: &Sender<Event>,
) -> io::Result<(i32, Vec<JoinHandle<()>>)> {
    let (first, rest) = program.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let log = if attempt.logs { Some(File::create(attempt.folder.join(format!("rank-{rank}.log")))?) } else { None };
    let log = Arc::new(Mutex::new(log));
    let mut command = Command::new(first);
    command.args(rest).envs(variables(program, attempt, rank));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // The parent may already have died.
            if libc::getppid().unsigned_abs() != parent {
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let prefix = if program.prefix { format!("[rank {rank}] ") } else { String::new() };
    let mut readers = Vec::new();
    let alive = Alive { attempt: attempt.number, rank, events: events.clone(), last: None };
    if let Some(pipe) = child.stdout.take() {
        readers.push(forward(pipe, io::stdout, prefix.clone(), Arc::clone(&log), alive.clone())?);
    }
    if let Some(pipe) = child.stderr.take() {
        readers.push(forward(pipe, io::stderr, prefix, log, alive)?);
    }
    let (events, attempt) = (events.clone(), attempt.number);
    let wait = move || wait(pid, |sign| events.send(Event::Ranks { attempt, who: Who::One(rank), sign }).is_ok());
    std::thread::Builder::new().name(format!("wait {rank}")).spawn(wait)?;
    Ok((pid, readers))
}

/// Reports when a process is stopped, continues, and ends.
fn wait(pid: i32, tell: impl Fn(Sign) -> bool) {
    loop {
        let mut status = 0;
        // SAFETY: the child is ours, and nothing else waits for it.
        let got = unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED | libc::WCONTINUED) };
        if got < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
            continue;
        }
        let sign = if got < 0 {
            Sign::Exited(Exit::Lost)
        } else if libc::WIFSTOPPED(status) {
            Sign::Stopped
        } else if libc::WIFCONTINUED(status) {
            Sign::Continued
        } else if libc::WIFSIGNALED(status) {
            Sign::Exited(Exit::Signal(libc::WTERMSIG(status)))
        } else {
            Sign::Exited(Exit::Code(libc::WEXITSTATUS(status)))
        };
        let ended = matches!(sign, Sign::Exited(_));
        if !tell(sign) || ended {
            return;
        }
    }
}

/// Reports that there was output, at most once in an interval.
#[derive(Clone)]
struct Alive {
    attempt: u32,
    rank: Rank,
    events: Sender<Event>,
    last: Option<Instant>,
}

impl Alive {
    fn tell(&mut self) {
        if self.last.is_none_or(|last| last.elapsed() >= Duration::from_secs(1)) {
            self.last = Some(Instant::now());
            let who = Who::One(self.rank);
            let _ = self.events.send(Event::Ranks { attempt: self.attempt, who, sign: Sign::Output });
        }
    }
}

/// Maximum bytes of a line; longer ones are split.
const LINE: usize = 64 << 10;

/// Splits output into lines. A carriage return also ends a line, as progress bars use it.
struct Lines<R> {
    reader: BufReader<R>,
    after_return: bool,
}

impl<R: Read> Lines<R> {
    /// Appends the next line including its end; false at the end of the output.
    fn next(&mut self, line: &mut Vec<u8>) -> bool {
        let begin = line.len();
        loop {
            let Ok(mut bytes) = self.reader.fill_buf() else { return false };
            if bytes.is_empty() {
                if line.len() == begin {
                    return false;
                }
                line.push(b'\n');
                return true;
            }
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                self.reader.consume(1);
                continue;
            }
            let room = LINE - (line.len() - begin);
            bytes = &bytes[..bytes.len().min(room)];
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (text, used) = end.map_or((bytes, bytes.len()), |end| (&bytes[..end], end + 1));
            self.after_return = end.is_some_and(|end| bytes[end] == b'\r');
            line.extend_from_slice(text);
            self.reader.consume(used);
            if end.is_some() || line.len() - begin >= LINE {
                line.push(b'\n');
                return true;
            }
        }
    }
}

/// Copies a rank's output line by line, each line in one write, with the rank as prefix.
fn forward<W: Write + 'static>(
    pipe: impl Read + Send + 'static,
    to: fn() -> W,
    prefix: String,
    log: Arc<Mutex<Option<File>>>,
    mut alive: Alive,
) -> io::Result<JoinHandle<()>> {
    let copy = move || {
        let mut lines = Lines { reader: BufReader::new(pipe), after_return: false };
        let mut line = prefix.clone().into_bytes();
        let mut shown = true;
        loop {
            line.truncate(prefix.len());
            if !lines.next(&mut line) {
                return;
            }
            alive.tell();
            if let Some(log) = log.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                let _ = log.write_all(&line[prefix.len()..]);
            }
            // If the reader of the supervisor's output is gone (`| head`), the run continues.
            let mut to = to();
            shown = shown && to.write_all(&line).and_then(|()| to.flush()).is_ok();
        }
    };
    std::thread::Builder::new().name("output".into()).spawn(copy)
}

/// Describes the state of a stalled process, as the system reports it.
pub(super) fn describe(pid: i32) -> String {
    let read = |name: &str| std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(name)).ok();
    let Some(status) = read("status") else { return format!("process {pid} is gone") };
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or("?");
    let waits =
        read("wchan").filter(|name| !name.is_empty() && name != "0").map(|name| format!(", in the kernel's {name}"));
    format!(
        "process {pid} ({}): state {}, {} threads, {} of memory{}",
        field("Name:"),
        field("State:"),
        field("Threads:"),
        field("VmRSS:"),
        waits.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_at_line_ends_and_carriage_returns() {
        let long = "x".repeat(LINE + 5);
        let text = format!("one\n\ntwo\r\n10%\r20%\r\n{long}\nlast");
        let mut lines = Lines { reader: BufReader::with_capacity(7, text.as_bytes()), after_return: false };
        let mut found = Vec::new();
        let mut line = Vec::new();
        while lines.next(&mut line) {
            found.push(String::from_utf8(std::mem::take(&mut line)).unwrap());
        }
        let cut = format!("{}\n", &long[..LINE]);
        assert_eq!(found, ["one\n", "\n", "two\n", "10%\n", "20%\n", &cut, "xxxxx\n", "last\n"]);
    }
}
