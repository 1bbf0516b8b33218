//! No orphans: what remains of a run's processes is killed, also when the supervisor itself is killed.
//!
//! Three things together. Each rank asks the kernel for SIGKILL when its parent dies (`PR_SET_PDEATHSIG`). A small process that
//! only waits for the supervisor's end kills the ranks' process groups then, and with them what the ranks started ([`Guard`]).
//! And the supervisor adopts every descendant that loses its parent (`PR_SET_CHILD_SUBREAPER`), and ends those before it starts
//! ranks again and before it ends ([`end_orphans`]).
//!
//! What is left: a descendant that left its rank's process group survives a SIGKILL of the supervisor itself.

use std::io;
use std::time::{Duration, Instant};

/// Process groups that the guard can hold.
const MOST: usize = 4096;

/// The supervisor's end of the pipe to the guard. The guard ends when this is dropped, or when the supervisor dies.
pub(super) struct Guard {
    pipe: i32,
    pid: i32,
}

impl Guard {
    /// Starts the guard. Has to be called before this process has other threads that hold locks: the guard is a fork.
    pub fn start() -> io::Result<Self> {
        let mut ends = [0; 2];
        // SAFETY: an array of two, as pipe2 wants it.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: the child calls nothing but system calls.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            // SAFETY: as above; the descriptors are those of the pipe.
            unsafe {
                libc::close(ends[1]);
                wait_and_kill(ends[0])
            }
        }
        // SAFETY: the reading end is the guard's.
        unsafe { libc::close(ends[0]) };
        Ok(Self { pipe: ends[1], pid })
    }

    /// The guard's process.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process group of a rank that was started.
    pub fn add(&self, group: i32) {
        self.write(group);
    }

    /// A rank has ended: its number may be given to others.
    pub fn remove(&self, group: i32) {
        self.write(-group);
    }

    fn write(&self, number: i32) {
        let bytes = number.to_ne_bytes();
        // SAFETY: four bytes; below PIPE_BUF they are written in one piece.
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

/// The guard's life: reads process groups, and kills those that are left when the pipe closes.
///
/// # Safety
/// In a fork of a process with threads only system calls are allowed; there is nothing else here.
unsafe fn wait_and_kill(pipe: i32) -> ! {
    let mut groups = [0i32; MOST];
    let mut number = [0u8; 4];
    // SAFETY: system calls with arguments on this stack.
    unsafe {
        libc::setsid();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2] {
            libc::signal(signal, libc::SIG_IGN);
        }
        // Whoever reads the supervisor's output must not wait for the guard.
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

/// Adopts descendants that lose their parents.
pub(super) fn adopt() -> io::Result<()> {
    // SAFETY: prctl with a constant.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Kills adopted descendants, and collects what has ended of them. `kept` are children that are not meant. Returns how many were
/// killed.
pub(super) fn end_orphans(kept: &[i32], limit: Duration) -> usize {
    let start = Instant::now();
    let mut killed = std::collections::BTreeSet::new();
    loop {
        let orphans: Vec<(i32, char)> = children().into_iter().filter(|(pid, _)| !kept.contains(pid)).collect();
        if orphans.is_empty() || start.elapsed() > limit {
            return killed.len();
        }
        for (pid, state) in orphans {
            // SAFETY: system calls on a child of ours, whose number cannot be another's before we collect it.
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

/// Collects adopted descendants that have ended by themselves.
pub(super) fn collect_orphans(kept: &[i32]) {
    for (pid, state) in children() {
        if state == 'Z' && !kept.contains(&pid) {
            // SAFETY: as above.
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
    // The name may hold spaces and brackets.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

/// The system's error for a call that returned -1.
pub(super) fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
