//! Kills what remains of a run's processes, even when the supervisor itself is killed.
//!
//! There are three mechanisms. Each rank asks the kernel for SIGKILL when its parent dies (`PR_SET_PDEATHSIG`). A small guard process
//! waits for the supervisor's end and then kills the ranks' process groups, including what the ranks started ([`Guard`]). The supervisor
//! adopts every descendant that loses its parent (`PR_SET_CHILD_SUBREAPER`), and kills those before it restarts ranks and before it ends
//! ([`end_orphans`]).
//!
//! One case remains: a descendant that left its rank's process group survives a SIGKILL of the supervisor itself.

use std::io;
use std::time::{Duration, Instant};

/// Maximum number of process groups in the guard.
const MOST: usize = 4096;

/// The supervisor's end of the pipe to the guard. The guard ends when this is dropped, or when the supervisor dies.
pub(super) struct Guard {
    pipe: i32,
    pid: i32,
}

impl Guard {
    /// Starts the guard by a fork. Must be called before this process has other threads that hold locks.
    pub fn start() -> io::Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: pipe2 needs an array of two.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: the child makes only system calls.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            // SAFETY: the child makes only system calls; the descriptors are those of the pipe.
            unsafe {
                libc::close(ends[1]);
                wait_and_kill(ends[0])
            }
        }
        // SAFETY: the reading end belongs to the guard.
        unsafe { libc::close(ends[0]) };
        Ok(Self { pipe: ends[1], pid })
    }

    /// The process id of the guard.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Registers the process group of a started rank.
    pub fn add(&self, group: i32) {
        self.write(group);
    }

    /// Removes a rank that has ended: its number may be reused.
    pub fn remove(&self, group: i32) {
        self.write(-group);
    }

    fn write(&self, number: i32) {
        let bytes = number.to_ne_bytes();
        // SAFETY: the buffer has four bytes; below PIPE_BUF they are written atomically.
        unsafe { libc::write(self.pipe, bytes.as_ptr().cast(), bytes.len()) };
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: the pipe is ours, and the guard is our child.
        unsafe {
            libc::close(self.pipe);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// The guard's main loop: reads process groups, and kills those that are left when the pipe closes.
///
/// # Safety
/// After a fork of a process with threads only system calls are allowed; this function makes no other calls.
unsafe fn wait_and_kill(pipe: i32) -> ! {
    let mut groups = [0i32; MOST];
    let mut number = [0u8; 4];
    // SAFETY: system calls with arguments on this stack.
    unsafe {
        libc::setsid();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
            libc::signal(signal, libc::SIG_IGN);
        }
        // A reader of the supervisor's output must not wait for the guard.
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for standard in 0..3 {
            libc::dup2(null, standard);
        }
        for other in 3..1024 {
            if other != pipe {
                libc::close(other);
            }
        }
        loop {
            let read = libc::read(pipe, number.as_mut_ptr().cast(), number.len());
            if read != 4 {
                if read < 0 && *libc::__errno_location() == libc::EINTR {
                    continue;
                }
                break;
            }
            let group = i32::from_ne_bytes(number);
            let (from, to) = if group > 0 { (0, group) } else { (-group, 0) };
            for slot in &mut groups {
                if *slot == from {
                    *slot = to;
                    break;
                }
            }
        }
        for group in groups {
            if group > 1 {
                libc::kill(-group, libc::SIGKILL);
            }
        }
        libc::_exit(0)
    }
}

/// Makes this process adopt descendants that lose their parents.
pub(super) fn adopt() -> io::Result<()> {
    // SAFETY: prctl with a constant.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Kills adopted descendants, and reaps those that have ended. `kept` lists the children to spare. Returns the number of killed
/// processes.
pub(super) fn end_orphans(kept: &[i32], limit: Duration) -> usize {
    let start = Instant::now();
    let mut killed = std::collections::BTreeSet::new();
    loop {
        let orphans: Vec<(i32, char)> = children().into_iter().filter(|(pid, _)| !kept.contains(pid)).collect();
        if orphans.is_empty() || start.elapsed() > limit {
            return killed.len();
        }
        for (pid, state) in orphans {
            // SAFETY: system calls on our child; its number cannot be reused before we reap it.
            unsafe {
                if state != 'Z' {
                    libc::kill(pid, libc::SIGKILL);
                    killed.insert(pid);
                }
                libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG);
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Reaps adopted descendants that have ended on their own.
pub(super) fn collect_orphans(kept: &[i32]) {
    for (pid, state) in children() {
        if state == 'Z' && !kept.contains(&pid) {
            // SAFETY: a system call on our child, as in [`end_orphans`].
            unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
        }
    }
}

/// The children of this process, with their states.
fn children() -> Vec<(i32, char)> {
    let me = std::process::id();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let (state, parent) = state_and_parent(pid)?;
        (parent == me).then_some((pid, state))
    };
    entries.filter_map(of).collect()
}

/// The state letter of a process and its parent, from `/proc/PID/stat`.
pub(super) fn state_and_parent(pid: i32) -> Option<(char, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain spaces and brackets.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// Converts a result of -1 into the system's error.
pub(super) fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
