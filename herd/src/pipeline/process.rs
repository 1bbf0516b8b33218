//! One attempt at a stage: a separate process, its output in a file, and a description of its end.

use std::fs::File;
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use run::Signals;
use run::progress::duration;

use super::recipe::Stage;

/// The time that a stage has to save its state after SIGTERM, counted from the last moment at which it wrote data.
const GRACE: Duration = Duration::from_secs(120);
/// The number of bytes that count as writing data: a checkpoint, not a few lines of a log.
const WRITING: u64 = 16 << 20;
/// The maximum time, even if the stage writes data.
const LONGEST: Duration = Duration::from_secs(3600);
const POLL: Duration = Duration::from_millis(100);

/// The end of an attempt.
#[derive(Debug)]
pub enum End {
    /// With exit code 0.
    Good,
    /// A failure, with a description.
    Bad(String),
    /// Stopped because the pipeline was stopped.
    Stopped,
}

/// An attempt and its cost.
#[derive(Debug)]
pub struct Attempt {
    /// The end of the attempt.
    pub end: End,
    /// Seconds from start to end.
    pub seconds: f64,
    /// Processor time in seconds, including that of waited-for children.
    pub cpu_seconds: f64,
    /// Peak memory of the process, in bytes.
    pub peak_memory: u64,
}

/// Runs a stage's command to its end. `tick` is called ten times a second. Output is appended to `log`.
///
/// # Errors
/// When the program cannot be started.
pub fn run(stage: &Stage, log: &Path, signals: &Signals, mut tick: impl FnMut(Duration)) -> anyhow::Result<Attempt> {
    let mut file = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
    writeln!(file, "$ {}", stage.shown()).with_context(|| log.display().to_string())?;
    let herd = std::env::current_exe().context("cannot find this program's own file")?;
    let (program, words) =
        if stage.herd { (herd.as_path(), &stage.words[..]) } else { (Path::new(&stage.words[0]), &stage.words[1..]) };
    let mut command = Command::new(program);
    // A separate process group: Ctrl-C on the terminal reaches the pipeline, which then asks the stage to stop.
    command.args(words).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
    let parent = std::process::id();
    // SAFETY: prctl, getppid and _exit are async-signal-safe and do not touch state of the parent.
    unsafe {
        command.pre_exec(move || {
            // If the pipeline is killed, its stage gets SIGTERM and saves its state.
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
            if libc::getppid() as u32 != parent {
                libc::_exit(1);
            }
            Ok(())
        });
    }
    let (start, killed_before) = (Instant::now(), oom_kills());
    let child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    let group = -(child.id() as i32);
    let signal = |number: i32| {
        // SAFETY: a plain system call.
        unsafe { libc::kill(group, number) };
    };
    let (mut asked, mut timed_out): (Option<Instant>, bool) = (None, false);
    let mut patience = Patience::default();
    let (status, usage) = loop {
        if let Some(ended) = reap(child.id() as i32)? {
            break ended;
        }
        timed_out |= stage.timeout.is_some_and(|limit| start.elapsed() > limit);
        if (signals.stop() || timed_out) && asked.is_none() {
            signal(libc::SIGTERM);
            asked = Some(Instant::now());
        }
        if let Some(since) = asked {
            let bytes = written(child.id());
            patience.see(bytes, since.elapsed());
            if patience.is_over(since.elapsed()) {
                signal(libc::SIGKILL);
            }
        }
        tick(start.elapsed());
        std::thread::sleep(POLL);
    };
    // Processes that it left running are ended too.
    signal(libc::SIGKILL);
    let end = match () {
        () if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 => End::Good,
        () if signals.stop() => End::Stopped,
        () if timed_out => {
            End::Bad(format!("stopped after its time limit of {}", duration(stage.timeout.unwrap_or_default())))
        }
        () if libc::WIFSIGNALED(status) => End::Bad(killed(libc::WTERMSIG(status), killed_before)),
        () => End::Bad(format!("ended with exit code {}", libc::WEXITSTATUS(status))),
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Attempt {
        end,
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        peak_memory: usage.ru_maxrss as u64 * 1024,
    })
}

/// The time to wait for a stage that was asked to stop; the time that a checkpoint takes grows with its size.
#[derive(Debug, Default)]
struct Patience {
    bytes: u64,
    /// The last time at which it was seen writing, after it was asked to stop.
    writing: Duration,
}

impl Patience {
    /// Records the number of bytes that the stage has written, at a time after it was asked to stop.
    fn see(&mut self, bytes: u64, at: Duration) {
        if bytes >= self.bytes.saturating_add(WRITING) {
            (self.bytes, self.writing) = (bytes, at);
        }
    }

    fn is_over(&self, at: Duration) -> bool {
        at.saturating_sub(self.writing) > GRACE || at > LONGEST
    }
}

/// Number of bytes that a process has written so far; 0 if the system does not report it.
fn written(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let number = text.lines().find_map(|line| line.strip_prefix("wchar:"));
    number.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// The status and the cost of a process that has ended; `None` while it runs.
fn reap(pid: i32) -> std::io::Result<Option<(i32, libc::rusage)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are valid for the call, and a zeroed rusage is a valid one.
    let (found, usage) =
        unsafe { (libc::wait4(pid, &mut status, libc::WNOHANG, usage.as_mut_ptr()), usage.assume_init()) };
    match found {
        0 => Ok(None),
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(Some((status, usage))),
    }
}

fn killed(signal: i32, oom_kills_before: Option<u64>) -> String {
    let more = match signal {
        libc::SIGKILL if oom_kills() > oom_kills_before => {
            ": the kernel ran out of memory meanwhile; make its batches smaller, or give the machine more"
        }
        libc::SIGKILL => ": by somebody, or because memory ran out",
        libc::SIGSEGV | libc::SIGBUS | libc::SIGILL | libc::SIGABRT => ": a crash; the log may say more",
        _ => "",
    };
    format!("was killed by signal {signal}{more}")
}

/// Number of processes that the kernel has killed for lack of memory.
fn oom_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_goes_on_writing_is_waited_for() {
        let second = Duration::from_secs;
        let mut patience = Patience::default();
        assert!(!patience.is_over(second(119)) && patience.is_over(second(121)));
        // A large checkpoint: some megabytes every second.
        for at in 1..=900 {
            patience.see(at * (8 << 20), second(at));
            assert!(!patience.is_over(second(at)), "{at}");
        }
        assert!(!patience.is_over(second(1019)) && patience.is_over(second(1021)));
        // Lines of a log are not a checkpoint, and the wait is limited.
        let mut patience = Patience::default();
        (1..200).for_each(|at| patience.see(at * 10_000, second(at)));
        assert!(patience.is_over(second(200)));
        (1..4000).for_each(|at| patience.see(at << 30, second(at)));
        assert!(patience.is_over(second(3601)));
    }

    #[test]
    fn what_a_process_writes_is_seen() {
        let before = written(std::process::id());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[0; 100_000]).unwrap();
        assert!(written(std::process::id()) >= before + 100_000);
    }
}
