//! Heartbeats that a rank sends to `herd launch`.
//!
//! The supervisor makes a named pipe for each rank and puts its path into `HERD_HEARTBEAT`. A heartbeat is one line of JSON with
//! the fields of [`Beat`], at most 4,096 bytes, so that lines of several threads do not mix:
//!
//! ```text
//! {"step": 12, "phase": "forward", "micro_batch": 3, "saved": 10}
//! ```
//!
//! A program in any language may write such lines, or none. [`Pulse`] writes them from its own thread every few seconds, so that the
//! supervisor can distinguish a stalled rank from a dead one. The thread also answers when the supervisor requests a flight recorder.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::supervisor::Beat;

/// The environment variable with the path of a rank's pipe.
pub const PIPE: &str = "HERD_HEARTBEAT";
/// The environment variable with the folder for a rank's flight recorder.
pub const DUMPS: &str = "HERD_DUMPS";
/// The file in that folder by which the supervisor requests the flight recorder.
pub const REQUEST: &str = "request";
/// The environment variable with the newest checkpoint that ranks may resume from, if later ones hold wrong numbers.
pub const AT_MOST: &str = "HERD_RESUME_AT_MOST";

/// The file that a rank writes its flight recorder to.
#[must_use]
pub fn dump_file(rank: u32) -> String {
    format!("rank-{rank}.json")
}

/// Seconds between regular heartbeats.
const EVERY: u32 = 5;
/// Time between two checks for a request.
const LOOK: Duration = Duration::from_millis(500);
/// Changes within this time are sent as one heartbeat.
const GAP: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Told {
    beat: Option<Beat>,
    changed: bool,
    end: bool,
}

/// The state that the thread and its owner share.
#[derive(Default)]
struct Shared {
    told: Mutex<Told>,
    wake: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A rank's heartbeat thread. It ends when this is dropped.
pub struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// A function that returns a rank's flight recorder as JSON.
pub type Recorder = Box<dyn FnMut() -> Vec<u8> + Send>;

impl Pulse {
    /// Starts the heartbeat of this process if `herd launch` started it. `recorder` is called from another thread.
    ///
    /// # Errors
    /// When the pipe cannot be opened or the thread cannot be started.
    pub fn from_env(recorder: Option<Recorder>) -> io::Result<Option<Self>> {
        let Some(pipe) = std::env::var_os(PIPE) else { return Ok(None) };
        let rank = std::env::var("RANK").ok().and_then(|rank| rank.parse().ok()).unwrap_or(0);
        let dumps = std::env::var_os(DUMPS).map(PathBuf::from);
        Self::open(pipe.into(), dumps, rank, recorder).map(Some)
    }

    /// Starts the heartbeat of a rank on a pipe.
    ///
    /// # Errors
    /// The same as [`Pulse::from_env`].
    pub fn open(pipe: PathBuf, dumps: Option<PathBuf>, rank: u32, recorder: Option<Recorder>) -> io::Result<Self> {
        // A supervisor that is gone or does not read must not block a rank.
        let file = OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(pipe)?;
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("heartbeat".into()).spawn({
            let shared = Arc::clone(&shared);
            move || beat(&shared, file, dumps.as_deref(), rank, recorder)
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Reports the rank's place in its work. It is cheap enough to be called for each layer.
    pub fn at(&self, beat: Beat) {
        let mut told = self.shared.lock();
        told.beat = Some(Beat { every: Some(EVERY), ..beat });
        told.changed = true;
        self.shared.wake.notify_one();
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.shared.lock().end = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Writes heartbeats until the owner is dropped.
fn beat(shared: &Shared, mut file: File, dumps: Option<&std::path::Path>, rank: u32, mut recorder: Option<Recorder>) {
    let mut last: Option<Instant> = None;
    let mut dumped = false;
    let mut told = shared.lock();
    loop {
        let due = last.is_none_or(|last| last.elapsed() >= Duration::from_secs(u64::from(EVERY)));
        if let Some(beat) = told.beat.clone().filter(|_| told.changed || due) {
            told.changed = false;
            drop(told);
            // A heartbeat is dropped if the pipe is full or has no reader; the rank does not wait.
            if let Ok(mut line) = serde_json::to_vec(&beat) {
                line.push(b'\n');
                let _ = file.write_all(&line);
            }
            last = Some(Instant::now());
            std::thread::sleep(GAP);
            told = shared.lock();
        }
        if told.end && !told.changed {
            return;
        }
        if let (false, Some(folder), Some(recorder)) = (dumped, dumps, recorder.as_mut())
            && folder.join(REQUEST).exists()
        {
            drop(told);
            dumped = true;
            // The file gets its name only when it is complete.
            let partial = folder.join(format!("{}.partial", dump_file(rank)));
            if std::fs::write(&partial, recorder()).is_ok() {
                let _ = std::fs::rename(&partial, folder.join(dump_file(rank)));
            }
            told = shared.lock();
        }
        if !told.changed && !told.end {
            told = shared.wake.wait_timeout(told, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};

    fn pipe(path: &std::path::Path) -> BufReader<File> {
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the name is a string that ends with 0.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        // Opening for both reading and writing does not wait for the other side.
        BufReader::new(OpenOptions::new().read(true).write(true).open(path).unwrap())
    }

    #[test]
    fn changes_are_told_and_a_recorder_is_written_when_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beat");
        let mut reader = pipe(&path);
        let recorder: Recorder = Box::new(|| b"{\"entries\": []}".to_vec());
        let pulse = Pulse::open(path, Some(dir.path().to_owned()), 3, Some(recorder)).unwrap();
        let mut next = || {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            serde_json::from_str::<Beat>(&line).unwrap()
        };
        for step in 0..3 {
            let beat = Beat { micro_batch: Some(1), saved: Some(step), ..Beat::new(step, "forward") };
            pulse.at(beat.clone());
            assert_eq!(next(), Beat { every: Some(EVERY), ..beat });
        }
        let dump = dir.path().join("rank-3.json");
        std::thread::sleep(LOOK);
        assert!(!dump.exists());
        std::fs::write(dir.path().join(REQUEST), "").unwrap();
        let start = Instant::now();
        while !dump.exists() && start.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(std::fs::read_to_string(&dump).unwrap(), "{\"entries\": []}");
        // The last reported place is sent before the thread ends.
        pulse.at(Beat::new(9, "save"));
        drop(pulse);
        assert_eq!(next().step, 9);
    }

    #[test]
    fn a_supervisor_that_does_not_read_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("beat");
        let _reader = pipe(&path);
        let pulse = Pulse::open(path, None, 0, None).unwrap();
        let start = Instant::now();
        for step in 0..100_000 {
            pulse.at(Beat::new(step, "forward"));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}
