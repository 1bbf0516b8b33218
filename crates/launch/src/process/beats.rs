//! Reads the ranks' heartbeats from their pipes.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use super::guard::check;
use super::rank::Attempt;
use crate::supervisor::{Beat, Event, Rank, Sign, Who};

/// The maximum length of a heartbeat in bytes.
const LINE: usize = 4096;

/// A rank's pipe and the incomplete line read from it.
struct Pipe {
    rank: Rank,
    file: File,
    line: Vec<u8>,
    bad: u64,
}

/// The thread that reads an attempt's heartbeats ends when this is dropped.
pub(super) struct Reader(Arc<AtomicBool>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Makes the pipes of an attempt and reads them in a thread.
pub(super) fn read(attempt: &Attempt, ranks: u32, events: &Sender<Event>) -> io::Result<Reader> {
    let mut pipes = Vec::new();
    for rank in 0..ranks {
        let path = attempt.pipe(rank);
        let name = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: the name is a string that ends with 0.
        check(unsafe { libc::mkfifo(name.as_ptr(), 0o600) })?;
        // The pipe is also open for writing: a rank that opens it does not wait, and a rank that closes it does not end it.
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        pipes.push(Pipe { rank, file, line: Vec::new(), bad: 0 });
    }
    let end = Arc::new(AtomicBool::new(false));
    let (ended, events, number) = (Arc::clone(&end), events.clone(), attempt.number);
    std::thread::Builder::new().name("heartbeats".into()).spawn(move || {
        let mut polled: Vec<libc::pollfd> = pipes
            .iter()
            .map(|pipe| libc::pollfd { fd: pipe.file.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        while !ended.load(Ordering::Relaxed) {
            let count = polled.len() as libc::nfds_t;
            // SAFETY: `count` is the number of entries.
            unsafe { libc::poll(polled.as_mut_ptr(), count, 100) };
            for (pipe, polled) in pipes.iter_mut().zip(&polled) {
                if polled.revents & libc::POLLIN != 0 && !pipe.read(number, &events) {
                    return;
                }
            }
        }
    })?;
    Ok(Reader(end))
}

impl Pipe {
    /// Reads the available data; false if the receiver is gone.
    fn read(&mut self, attempt: u32, events: &Sender<Event>) -> bool {
        let mut bytes = [0; 65_536];
        let Ok(count) = self.file.read(&mut bytes) else { return true };
        for byte in &bytes[..count] {
            if *byte != b'\n' {
                // One byte more than allowed shows that the line is too long.
                if self.line.len() <= LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            let line = std::mem::take(&mut self.line);
            match understand(&line) {
                Ok(beat) => {
                    let who = Who::One(self.rank);
                    if events.send(Event::Ranks { attempt, who, sign: Sign::Beat(beat) }).is_err() {
                        return false;
                    }
                }
                Err(reason) => {
                    self.bad += 1;
                    if self.bad.is_power_of_two() {
                        let shown = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
                        eprintln!(
                            "[launch] rank {} wrote {} heartbeats that are not understood, the last {shown:?}: {reason}",
                            self.rank, self.bad
                        );
                    }
                }
            }
        }
        true
    }
}

fn understand(line: &[u8]) -> Result<Beat, String> {
    if line.len() > LINE {
        return Err(format!("longer than {LINE} bytes"));
    }
    let beat: Beat = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if beat.phase.is_empty() || beat.phase.len() > 64 {
        return Err("phase has from 1 to 64 bytes".into());
    }
    Ok(beat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heartbeats_are_lines_of_json() {
        let beat = understand(br#"{"step": 12, "phase": "forward", "micro_batch": 3, "saved": 10}"#).unwrap();
        assert_eq!(beat, Beat { micro_batch: Some(3), saved: Some(10), ..Beat::new(12, "forward") });
        assert_eq!(understand(br#"{"phase": "load"}"#).unwrap(), Beat::new(0, "load"));
        for (line, reason) in [
            (r#"{"step": 12}"#, "missing field `phase`"),
            (r#"{"phase": ""}"#, "from 1 to 64 bytes"),
            (r#"{"phase": "x", "stpe": 1}"#, "unknown field `stpe`"),
            ("step 12", "expected value"),
        ] {
            let error = understand(line.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(understand(&[b' '; LINE + 1]).unwrap_err(), "longer than 4096 bytes");
    }
}
