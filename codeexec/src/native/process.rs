//! Runs a program or judge as a process: pipes replace the sandbox's channel, rlimits bound its resources, and a
//! timeout kills it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;

use super::seccomp;
use crate::languages::{GuestEvent, Outcome, Peer, is_question};
use crate::limits::Limits;
use crate::sandbox::{Clock, Ending, Stop};

/// File descriptor from which the process reads replies. `host.py` has the same number.
const ANSWERS: RawFd = 3;
/// File descriptor to which the process writes messages. `host.py` has the same number.
const TELLS: RawFd = 4;
/// File descriptor from which bubblewrap reads the seccomp filter.
pub const SECCOMP: RawFd = 5;
/// Maximum length of a message in bytes.
const MAX_MESSAGE: u32 = 64 << 20;

/// Starts the process and a thread that exchanges messages with it.
///
/// # Errors
/// When a pipe cannot be created or bubblewrap cannot be started.
pub fn peer(command: Command, clock: Clock, limits: Limits, stdin: Vec<u8>) -> anyhow::Result<Peer> {
    let (child, pipes) = start(command, &limits, &stdin)?;
    Peer::spawn(move |tell, replies| converse(child, pipes, &clock, &limits, tell, &replies))
}

/// The host's ends of the pipes.
struct Pipes {
    answers: File,
    tells: File,
}

fn pipe() -> anyhow::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors, which nothing else owns.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(std::io::Error::last_os_error()).context("cannot make a pipe");
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Creates an anonymous in-memory file with that content, positioned at its start.
fn memory_file(content: &[u8]) -> anyhow::Result<File> {
    // SAFETY: the name is a C string; nothing else owns the descriptor.
    let mut file = unsafe {
        let fd = libc::memfd_create(c"codeexec".as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return Err(std::io::Error::last_os_error()).context("cannot make a file in memory");
        }
        File::from_raw_fd(fd)
    };
    file.write_all(content)?;
    std::io::Seek::rewind(&mut file)?;
    Ok(file)
}

fn start(mut command: Command, limits: &Limits, stdin: &[u8]) -> anyhow::Result<(Child, Pipes)> {
    let (answers_read, answers) = pipe()?;
    let (tells, tells_write) = pipe()?;
    let filter = memory_file(&seccomp::filter())?;
    command.stdin(memory_file(stdin)?).stdout(Stdio::piped()).stderr(Stdio::piped());
    let passed = [(answers_read.as_raw_fd(), ANSWERS), (tells_write.as_raw_fd(), TELLS), (filter.as_raw_fd(), SECCOMP)];
    let caps = [
        (libc::RLIMIT_AS, limits.memory as u64),
        (libc::RLIMIT_CPU, limits.time.as_secs() + 1),
        (libc::RLIMIT_FSIZE, limits.disk.max(1)),
        (libc::RLIMIT_NOFILE, 128),
        (libc::RLIMIT_CORE, 0),
    ];
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            let checked = |result: i32| if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(result) };
            // Copies the descriptors to numbers from 20 on first, so that `dup2` overwrites none of them.
            let mut high = [0; 3];
            for (copy, (fd, _)) in high.iter_mut().zip(passed) {
                *copy = checked(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 20))?;
            }
            for (copy, (_, place)) in high.iter().zip(passed) {
                checked(libc::dup2(*copy, place))?;
            }
            for (what, most) in caps {
                let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
                checked(libc::setrlimit(what, &raw const limit))?;
            }
            Ok(())
        });
    }
    let child = command.spawn().context("cannot start bubblewrap")?;
    Ok((child, Pipes { answers: File::from(answers), tells: File::from(tells) }))
}

/// Interval in milliseconds at which the output limit is checked while the process sends no message.
const OVER_POLL: i32 = 20;

/// Reads a stream to its end on a new thread. Bytes beyond the limit are discarded and set `is_over`. The pipe stays
/// open: a closed pipe would raise an exception in the program, which could report it before it is stopped.
fn collect(mut stream: impl Read + Send + 'static, limit: usize, is_over: Arc<AtomicBool>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let (mut kept, mut block) = (Vec::new(), [0; 1 << 16]);
        while let Ok(count @ 1..) = stream.read(&mut block) {
            let room = limit - kept.len();
            kept.extend_from_slice(&block[..count.min(room)]);
            if count > room {
                is_over.store(true, Ordering::Relaxed);
            }
        }
        kept
    })
}

fn converse(
    mut child: Child,
    mut pipes: Pipes,
    clock: &Clock,
    limits: &Limits,
    tell: &Sender<GuestEvent>,
    replies: &Receiver<Vec<u8>>,
) -> (Result<(), Ending>, Outcome) {
    let streams = (child.stdout.take(), child.stderr.take());
    let is_over = Arc::new(AtomicBool::new(false));
    let stdout = streams.0.map(|stream| collect(stream, limits.output, Arc::clone(&is_over)));
    let stderr = streams.1.map(|stream| collect(stream, limits.output, Arc::clone(&is_over)));
    let mut stopped = None;
    loop {
        match message(&mut pipes.tells, clock, &is_over) {
            Ok(Some((kind, content))) => {
                let is_heard = tell.send(GuestEvent::Message(kind, content)).is_ok();
                let answer = if is_heard && is_question(kind) { replies.recv().ok() } else { None };
                match answer {
                    Some(answer) => {
                        let framed = [&(answer.len() as u32).to_le_bytes()[..], &answer].concat();
                        if pipes.answers.write_all(&framed).is_err() {
                            break;
                        }
                    }
                    None if is_heard && !is_question(kind) => {}
                    None => {
                        stopped = Some(Stop::Dismissed);
                        break;
                    }
                }
            }
            Ok(None) => break,
            Err(stop) => {
                stopped = Some(stop);
                break;
            }
        }
    }
    if stopped.is_some() {
        child.kill().ok();
    }
    let (code, cpu, peak_memory) = reap(&mut child, clock, &mut stopped);
    let joined = |stream: Option<JoinHandle<Vec<u8>>>| stream.and_then(|s| s.join().ok()).unwrap_or_default();
    let (stdout, stderr) = (joined(stdout), joined(stderr));
    let outcome = Outcome { stdout, stderr, peak_memory, memory_refused: false, cpu };
    let ended = if is_over.load(Ordering::Relaxed) {
        Err(Ending::Stopped(Stop::Output))
    } else if let Some(stop) = stopped {
        Err(Ending::Stopped(stop))
    } else {
        match code {
            0 => Ok(()),
            // bubblewrap reports death by a signal as a shell does, as 128 + signal. SIGKILL (137) or SIGXCPU (152) mean
            // the processor-time limit if that much processor time or wall time has passed. Wall time counts too,
            // since bubblewrap's usage does not always include that of the program.
            137 | 152 if cpu >= limits.time.as_secs_f64() || clock.wall_time() >= limits.time => {
                Err(Ending::Stopped(Stop::Time))
            }
            signal @ 129..=192 => Err(Ending::Trap(format!("signal {}", signal - 128))),
            code => Err(Ending::Stopped(Stop::Exit(code))),
        }
    };
    (ended, outcome)
}

/// Reads the next message: its kind (first byte) and content; `None` at the end of the stream.
fn message(pipe: &mut File, clock: &Clock, is_over: &AtomicBool) -> Result<Option<(u8, Vec<u8>)>, Stop> {
    let mut head = [0; 4];
    if !fill(pipe, &mut head, clock, is_over)? {
        return Ok(None);
    }
    let size = u32::from_le_bytes(head);
    if size == 0 || size > MAX_MESSAGE {
        return Err(Stop::Output);
    }
    let mut content = vec![0; size as usize];
    if !fill(pipe, &mut content, clock, is_over)? {
        return Ok(None);
    }
    Ok(Some((content.remove(0), content)))
}

/// Fills a buffer; false at the end of the stream. Fails at the wall-time limit and if `is_over` is set.
fn fill(pipe: &mut File, mut buffer: &mut [u8], clock: &Clock, is_over: &AtomicBool) -> Result<bool, Stop> {
    while !buffer.is_empty() {
        let left = clock.left();
        if left.is_zero() {
            return Err(Stop::Wall);
        }
        if is_over.load(Ordering::Relaxed) {
            return Err(Stop::Output);
        }
        let mut wait = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX).min(OVER_POLL);
        // SAFETY: `wait` is one valid entry for the length of the call.
        if unsafe { libc::poll(&raw mut wait, 1, milliseconds) } <= 0 {
            continue;
        }
        match pipe.read(buffer) {
            Ok(0) | Err(_) => return Ok(false),
            Ok(count) => buffer = &mut buffer[count..],
        }
    }
    Ok(true)
}

/// Waits for the process to end, and kills it at the wall-time limit. Returns the exit code (128 + signal after a
/// signal), processor time in seconds, and peak resident size in bytes.
fn reap(child: &mut Child, clock: &Clock, stopped: &mut Option<Stop>) -> (i32, f64, u64) {
    let id = child.id() as libc::pid_t;
    let (mut status, mut is_killed) = (0, stopped.is_some());
    loop {
        // SAFETY: `rusage` has only integer fields, for which zero is valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both pointers are valid for the length of the call. No other code waits for this child.
        let ended = unsafe { libc::wait4(id, &raw mut status, libc::WNOHANG, &raw mut usage) };
        if ended != 0 {
            let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 * 1e-6;
            let code = if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) };
            let cpu = seconds(usage.ru_utime) + seconds(usage.ru_stime);
            return (code, cpu, usage.ru_maxrss.unsigned_abs() * 1024);
        }
        if !is_killed && clock.left().is_zero() {
            *stopped = Some(Stop::Wall);
            child.kill().ok();
            is_killed = true;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}
