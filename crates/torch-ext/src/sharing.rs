//! Keeps waiting OpenMP threads from wasting CPU time on a machine that is shared with other programs.
//!
//! Threads that compute together wait for each other several thousand times a second. libgomp, which libtorch uses, waits by
//! spinning for some milliseconds. On an idle machine this is fast. Beside another program it is harmful: if the other program
//! has displaced an OpenMP thread from its core, the threads that wait for it spin on the cores on which it could run.
//! libgomp spins only briefly (100 turns, about two microseconds) if there are more OpenMP threads than cores (libgomp's manual,
//! "GOMP_SPINCOUNT"). [`watch`] checks once a second whether other programs keep cores busy. While they do, it holds additional
//! sleeping OpenMP threads, so that there are more threads than cores.

use std::ffi::c_char;
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use crate::ops::check;

unsafe extern "C" {
    fn tx_make_team() -> *mut c_char;
}

/// If other programs keep more than this number of cores busy, waiting threads spin only briefly.
pub const SHARED: f64 = 0.25;

/// Time between two checks.
const EVERY: Duration = Duration::from_secs(1);

/// CPU time in seconds.
#[derive(Debug, Clone, Copy)]
struct Busy {
    /// CPU time of all programs since the system started, on the cores that this process may use.
    all: f64,
    /// CPU time of this process.
    own: f64,
    at: Instant,
}

impl Busy {
    /// `None` if the system does not report it.
    fn now() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The program's name, in parentheses, may contain any character. The 14th and 15th fields are the times in user and
        // system mode.
        let fields: Vec<&str> = own.get(own.rfind(')')? + 1..)?.split_whitespace().collect();
        let own = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        let all = busy_ticks(&std::fs::read_to_string("/proc/stat").ok()?, is_ours)?;
        let seconds = |ticks: u64| ticks as f64 / ticks_per_second();
        Some(Self { all: seconds(all), own: seconds(own), at: Instant::now() })
    }

    /// Average number of cores that other programs kept busy since `earlier`.
    fn others_since(self, earlier: Self) -> f64 {
        let passed = (self.at - earlier.at).as_secs_f64().max(1e-3);
        ((self.all - earlier.all - (self.own - earlier.own)) / passed).max(0.0)
    }
}

/// Busy time, in clock ticks of the system, summed over the cores for which `counts` is true. `text` has the form of
/// `/proc/stat`.
fn busy_ticks(text: &str, counts: impl Fn(usize) -> bool) -> Option<u64> {
    let mut all = None;
    for line in text.lines() {
        let Some((name, numbers)) = line.strip_prefix("cpu").and_then(|line| line.split_once(' ')) else { continue };
        let Ok(number) = name.parse::<usize>() else { continue };
        if counts(number) {
            // user, nice, system, idle, iowait, irq, softirq, steal
            let numbers: Vec<u64> = numbers.split_whitespace().map_while(|number| number.parse().ok()).collect();
            let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
            *all.get_or_insert(0) += at(0) + at(1) + at(2) + at(5) + at(6) + at(7);
        }
    }
    all
}

fn ticks_per_second() -> f64 {
    // SAFETY: the call only reads a number.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// Whether this process may run on core `number`.
fn is_ours(number: usize) -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a cpu_set_t is plain data; the call writes into it, and the macro reads a bit inside it.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let size = std::mem::size_of::<libc::cpu_set_t>();
            libc::sched_getaffinity(0, size, &raw mut set) != 0 || number < 8 * size && libc::CPU_ISSET(number, &set)
        }
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = number;
        true
    }
}

/// Average number of cores that other programs keep busy, of the cores that this process may use. Blocks for the time `during`
/// to measure it. `None` if the system does not report CPU times.
#[must_use]
pub fn others(during: Duration) -> Option<f64> {
    let earlier = Busy::now()?;
    std::thread::sleep(during);
    Some(Busy::now()?.others_since(earlier))
}

/// A sleeping OpenMP team with one thread more than there are cores. Its threads exist as long as this value.
struct Guests(#[allow(dead_code)] Sender<()>);

impl Guests {
    fn invite() -> Option<Self> {
        let (sender, receiver) = channel::<()>();
        let guest = move || {
            // SAFETY: the call takes no arguments.
            if check(unsafe { tx_make_team() }).is_ok() {
                // Sleep until the sender is dropped.
                let _ = receiver.recv();
            }
        };
        std::thread::Builder::new().name("guests".into()).stack_size(1 << 18).spawn(guest).ok()?;
        Some(Self(sender))
    }
}

/// Starts a thread that shortens libgomp's spinning while other programs are busy. Does nothing if the user has set
/// `OMP_WAIT_POLICY` or `GOMP_SPINCOUNT`, or if the system does not report CPU times. Later calls do nothing.
pub fn watch() {
    static WATCH: OnceLock<()> = OnceLock::new();
    WATCH.get_or_init(|| {
        let said = ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"].iter().any(|name| std::env::var_os(name).is_some());
        if said || Busy::now().is_none() {
            return;
        }
        let look = || {
            let (mut guests, mut every) = (None, EVERY / 10);
            while let Some(others) = others(every) {
                match &guests {
                    None if others > SHARED => guests = Guests::invite(),
                    // Hysteresis: with only one threshold, a fluctuating load would start and end threads again and again.
                    Some(_) if others < SHARED / 5.0 => guests = None,
                    _ => {}
                }
                every = EVERY;
            }
        };
        // If this thread cannot be started, OpenMP threads wait as usual.
        drop(std::thread::Builder::new().name("sharing".into()).stack_size(1 << 18).spawn(look));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 1 20 5000 7 1 2 3 0 0\n\
                        cpu0 60 1 10 2500 7 1 1 1 0 0\n\
                        cpu1 40 0 10 2500 0 0 1 2 0 0\n\
                        intr 12345 0 1\nctxt 99\n";

    #[test]
    fn busy_time_is_that_of_the_processors_asked_for() {
        assert_eq!(busy_ticks(STAT, |_| true), Some(60 + 1 + 10 + 1 + 1 + 1 + 40 + 10 + 1 + 2));
        assert_eq!(busy_ticks(STAT, |number| number == 1), Some(40 + 10 + 1 + 2));
        assert_eq!(busy_ticks("intr 1\n", |_| true), None);
    }

    #[test]
    fn others_are_what_this_process_does_not_use() {
        let at = Instant::now();
        let earlier = Busy { all: 100.0, own: 10.0, at };
        let later = Busy { all: 103.0, own: 11.0, at: at + Duration::from_secs(2) };
        assert!((later.others_since(earlier) - 1.0).abs() < 1e-9);
        assert_eq!(Busy { own: 14.0, ..later }.others_since(earlier), 0.0);
    }

    /// CPU time of this process or of this thread, in seconds.
    fn time(clock: libc::clockid_t) -> f64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes into the record.
        assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }

    /// Wasted CPU time as a share of the useful CPU time, while one of two threads works for 2 ms at a time and the other waits.
    fn wasted() -> f64 {
        let worked = std::sync::Mutex::new(0.0);
        let start = time(libc::CLOCK_PROCESS_CPUTIME_ID);
        for _ in 0..100 {
            let body = |index: usize| {
                let start = time(libc::CLOCK_THREAD_CPUTIME_ID);
                while index == 0 && time(libc::CLOCK_THREAD_CPUTIME_ID) - start < 2e-3 {}
                *worked.lock().unwrap() += time(libc::CLOCK_THREAD_CPUTIME_ID) - start;
            };
            crate::parallel_for(2, body).unwrap();
        }
        let worked = *worked.lock().unwrap();
        (time(libc::CLOCK_PROCESS_CPUTIME_ID) - start - worked) / worked
    }

    /// Runs in its own process, because libgomp reads its wait policy when it is loaded.
    #[test]
    fn waiting_takes_no_time_while_guests_are_there() {
        const CHILD: &str = "HERD_TEST_GUESTS";
        if std::env::var_os(CHILD).is_none() {
            let mut child = std::process::Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "sharing::tests::waiting_takes_no_time_while_guests_are_there", "--nocapture"]);
            child.env(CHILD, "1").env_remove("OMP_WAIT_POLICY").env_remove("GOMP_SPINCOUNT");
            assert!(child.status().unwrap().success());
            return;
        }
        tch::set_num_threads(2);
        let spinning = wasted();
        let guests = Guests::invite().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let sleeping = wasted();
        drop(guests);
        std::thread::sleep(Duration::from_millis(50));
        let again = wasted();
        println!("wasted: {spinning:.3} spinning, {sleeping:.3} with guests, {again:.3} without them again");
        assert!(sleeping < 0.15 && spinning > 2.0 * sleeping, "{spinning} spinning, {sleeping} with guests");
        assert!(again > 2.0 * sleeping, "{again} without guests, {sleeping} with them");
    }
}
