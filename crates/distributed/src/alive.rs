//! Detects which processes are alive, so that a message can name the dead one.
//!
//! A thread of each process increments a key of the store. When a collective fails, each process writes its place, checks which counters
//! have stopped, and reports them. A process that ends with an error leaves its message for the others.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::store::Store;

/// Time between two increments.
const EVERY: Duration = Duration::from_millis(400);
/// A counter that does not change for this time belongs to a dead or stopped process.
const SILENT: Duration = Duration::from_millis(1600);
/// Maximum time for all answers of the store.
const PATIENCE: Duration = Duration::from_secs(8);
/// Time that the process with the store stays for the others after an error.
const FAREWELL: Duration = Duration::from_secs(4);

fn alive(rank: usize) -> String {
    format!("alive/{rank}")
}

fn ended(rank: usize) -> String {
    format!("ended/{rank}")
}

fn left(rank: usize) -> String {
    format!("left/{rank}")
}

pub(crate) fn host(rank: usize) -> String {
    format!("host/{rank}")
}

/// The counting thread.
pub(crate) struct Pulse {
    stop: Sender<()>,
    done: Receiver<()>,
}

impl Pulse {
    pub fn start(store: Store, rank: usize) -> Result<Self, Error> {
        let (stop, stopped) = channel();
        let (finished, done) = channel();
        let count = move || {
            let key = alive(rank);
            while store.add(&key, 1).is_ok() && stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {}
            drop(store);
            let _ = finished.send(());
        };
        let thread = std::thread::Builder::new().name("alive".into()).spawn(count);
        thread.map_err(|error| Error::Join(format!("no thread for the sign of life: {error}")))?;
        Ok(Self { stop, done })
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        let _ = self.stop.send(());
        // A store on a stopped machine never answers: then the thread is abandoned.
        let _ = self.done.recv_timeout(Duration::from_secs(1));
    }
}

/// A failed collective, described for the message.
pub(crate) struct Failure {
    pub rank: usize,
    pub size: usize,
    /// The rank that holds the store, if any.
    pub holder: Option<usize>,
    /// The place of this process, for example `all_reduce 17 "loss"`.
    pub place: String,
    pub limit: Duration,
    /// The error of libtorch.
    pub reason: Error,
}

/// Finds the process at fault, and returns the connection if it still works. Takes about two seconds.
pub(crate) fn explain(store: Option<Store>, failure: Failure) -> (Error, Option<Store>) {
    let gone = match failure.holder {
        Some(rank) => format!("rank {rank}, which holds the store, does not answer: it was killed or stopped"),
        None => "the store does not answer".into(),
    };
    let gone = format!("{gone}; rank {} was in {}", failure.rank, failure.place);
    let Some(store) = store else { return (Error::Lost(gone), None) };
    let (answer, answered) = channel();
    // This runs in its own thread, because a store on a stopped machine never answers.
    let search = move || {
        let found = search(&store, &failure);
        let _ = answer.send((found, store));
    };
    if std::thread::Builder::new().name("who is missing".into()).spawn(search).is_err() {
        return (Error::Lost(gone), None);
    }
    match answered.recv_timeout(PATIENCE) {
        Ok((Ok(sentence), store)) => (Error::Lost(sentence), Some(store)),
        _ => (Error::Lost(gone), None),
    }
}

fn search(store: &Store, failure: &Failure) -> Result<String, Error> {
    let Failure { rank, size, place, limit, reason, .. } = failure;
    store.set(&left(*rank), place.as_bytes())?;
    let others = || (0..*size).filter(|other| other != rank);
    let counts = || others().map(|other| store.add(&alive(other), 0)).collect::<Result<Vec<_>, _>>();
    let before = counts()?;
    std::thread::sleep(SILENT);
    let after = counts()?;
    let mut ends = Vec::new();
    let (mut silent, mut late) = (Vec::new(), Vec::new());
    for (index, other) in others().enumerate() {
        if store.has(&ended(other))? {
            let said = store.get(&ended(other), PATIENCE)?;
            ends.push((other, String::from_utf8_lossy(&said).into_owned()));
        } else if before[index] == after[index] {
            silent.push(named(store, other)?);
        } else if !store.has(&left(other))? {
            late.push(named(store, other)?);
        }
    }
    let at = format!("rank {rank} waited for it in {place}");
    if !silent.is_empty() {
        return Ok(format!("{} does not answer: killed, stopped, or cut off; {at}", silent.join(", ")));
    }
    // An error that only repeats another one is less useful than the original.
    ends.sort_by_key(|(_, said)| (said.is_empty(), said.starts_with("rank ")));
    Ok(match ends.first() {
        Some((other, said)) if said.is_empty() => format!("rank {other} has ended; {at}"),
        Some((other, said)) => format!("rank {other} ended: {said}"),
        None if !late.is_empty() => format!(
            "{} has not come to {place} within {:.0} s: it hangs, or its work takes longer than this limit",
            late.join(", "),
            limit.as_secs_f64()
        ),
        None => format!("{place} failed although all ranks are alive: {reason}"),
    })
}

fn named(store: &Store, rank: usize) -> Result<String, Error> {
    let host = store.get(&host(rank), PATIENCE)?;
    Ok(format!("rank {rank} ({})", String::from_utf8_lossy(&host)))
}

/// Leaves a message for the others. The process that holds the store waits briefly for them to read it.
pub(crate) fn tell_end(store: Store, (rank, size): (usize, usize), holds: bool, sentence: &str) {
    let (sentence, (finished, done)) = (sentence.to_owned(), channel());
    let work = move || {
        let told = store.set(&ended(rank), sentence.as_bytes());
        let start = Instant::now();
        let mut before = Vec::new();
        while told.is_ok() && holds && start.elapsed() < FAREWELL {
            let others = (0..size).filter(|&other| other != rank && !store.has(&ended(other)).unwrap_or(true));
            let counts: Vec<_> = others.map(|other| (other, store.add(&alive(other), 0).unwrap_or(0))).collect();
            if counts.iter().all(|count| before.contains(count)) {
                break;
            }
            before = counts;
            std::thread::sleep(SILENT / 2);
        }
        let _ = finished.send(());
    };
    if std::thread::Builder::new().name("farewell".into()).spawn(work).is_ok() {
        let _ = done.recv_timeout(PATIENCE);
    }
}
