//! A guard in its own thread, behind a bounded queue and with a time limit.
//!
//! A fault is an error, never a verdict: a guard that takes too long, has died, or returns invalid verdicts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use safety_text::policy::{Applies, Policy};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::guard::{Judge, Verdict};
use crate::record::Asked;

/// The limits of a worker.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum time from a question to its verdict.
    pub time: Duration,
    /// Maximum number of questions in the queue or in progress; further ones are refused.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { time: Duration::from_secs(30), queue: 256 }
    }
}

/// The reason why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoVerdict {
    /// The queue is full.
    #[error("the guard's queue is full; try again later")]
    Full,
    /// The guard failed.
    #[error("the guard is unavailable: {0}")]
    Unavailable(String),
}

/// Counters, for metrics.
#[derive(Debug, Default)]
pub struct GuardCounts {
    /// Number of judged prompts, and of unsafe ones.
    pub prompts: [AtomicU64; 2],
    /// Number of judged responses, and of unsafe ones.
    pub responses: [AtomicU64; 2],
    /// Number of questions without a verdict.
    pub failures: AtomicU64,
    /// Number of texts that left without a verdict, as the server was configured.
    pub unjudged: AtomicU64,
    /// Total time of verdicts in microseconds.
    pub micros: AtomicU64,
    /// Number of questions with a verdict.
    pub answered: AtomicU64,
    /// Number of prompt tokens that the language model computed.
    pub computed: AtomicU64,
    /// Number of prompt tokens that were found in the cache.
    pub cached: AtomicU64,
}

struct Job {
    asked: Vec<Asked>,
    answer: oneshot::Sender<Result<Vec<Verdict>, String>>,
    _place: OwnedSemaphorePermit,
}

/// A guard in its thread.
pub struct Worker {
    name: String,
    policy: Policy,
    limits: Limits,
    jobs: Mutex<Sender<Job>>,
    places: Arc<Semaphore>,
    counts: Arc<GuardCounts>,
    alive: Arc<AtomicBool>,
}

impl Worker {
    /// Starts the thread, which makes the guard. The thread ends when the worker is dropped, after its current question.
    ///
    /// # Errors
    /// The errors of `make`; also when the system refuses a thread.
    pub fn start<J: Judge>(
        make: impl FnOnce() -> anyhow::Result<J> + Send + 'static,
        limits: Limits,
    ) -> anyhow::Result<Arc<Self>> {
        let (jobs, inbox) = channel::<Job>();
        let (ready, started) = channel();
        let counts = Arc::new(GuardCounts::default());
        let alive = Arc::new(AtomicBool::new(true));
        let (own_counts, own_alive) = (counts.clone(), alive.clone());
        std::thread::Builder::new().name("guard".into()).spawn(move || {
            let mut guard = match make() {
                Ok(guard) => guard,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok((guard.name().to_owned(), guard.policy().clone())));
            work(&mut guard, &inbox, &own_counts);
            own_alive.store(false, Ordering::SeqCst);
        })?;
        let (name, policy) = started.recv().context("the guard's thread ended at its start")??;
        let places = Arc::new(Semaphore::new(limits.queue.max(1)));
        Ok(Arc::new(Self { name, policy, limits, jobs: Mutex::new(jobs), places, counts, alive }))
    }

    /// The guard's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The guard's policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The counters.
    #[must_use]
    pub fn counts(&self) -> &Arc<GuardCounts> {
        &self.counts
    }

    /// Judges conversations: a verdict for each, in order.
    ///
    /// # Errors
    /// [`NoVerdict`], within the time limit.
    pub async fn judge(&self, asked: Vec<Asked>) -> Result<Vec<Verdict>, NoVerdict> {
        let sides: Vec<Applies> = asked.iter().map(Asked::side).collect();
        let start = Instant::now();
        let result = self.ask(asked).await;
        match &result {
            Ok(verdicts) => {
                let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
                self.counts.micros.fetch_add(micros, Ordering::Relaxed);
                self.counts.answered.fetch_add(1, Ordering::Relaxed);
                for (side, verdict) in sides.iter().zip(verdicts) {
                    let [judged, found] = match side {
                        Applies::Prompt => &self.counts.prompts,
                        Applies::Response => &self.counts.responses,
                    };
                    judged.fetch_add(1, Ordering::Relaxed);
                    found.fetch_add(u64::from(verdict.is_unsafe), Ordering::Relaxed);
                }
            }
            Err(_) => drop(self.counts.failures.fetch_add(1, Ordering::Relaxed)),
        }
        result
    }

    async fn ask(&self, asked: Vec<Asked>) -> Result<Vec<Verdict>, NoVerdict> {
        let unavailable = |why: &str| NoVerdict::Unavailable(why.to_owned());
        if !self.alive.load(Ordering::SeqCst) {
            return Err(unavailable("it has ended"));
        }
        let count = asked.len();
        let place = self.places.clone().try_acquire_owned().map_err(|_| NoVerdict::Full)?;
        let (answer, answered) = oneshot::channel();
        let job = Job { asked, answer, _place: place };
        let sent = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).send(job);
        sent.map_err(|_| unavailable("it has ended"))?;
        let verdicts = match tokio::time::timeout(self.limits.time, answered).await {
            Err(_) => return Err(unavailable(&format!("no verdict within {:?}", self.limits.time))),
            Ok(Err(_)) => return Err(unavailable("it has ended")),
            Ok(Ok(Err(error))) => return Err(NoVerdict::Unavailable(error)),
            Ok(Ok(Ok(verdicts))) => verdicts,
        };
        let makes_sense = |verdict: &Verdict| (0.0..=1.0).contains(&verdict.score);
        if verdicts.len() != count || !verdicts.iter().all(makes_sense) {
            return Err(unavailable("its verdicts make no sense"));
        }
        Ok(verdicts)
    }
}

/// Answers questions until the worker is dropped. It also stops if the guard panics, because its state is then unknown.
fn work(guard: &mut impl Judge, inbox: &Receiver<Job>, numbers: &GuardCounts) {
    while let Ok(Job { asked, answer, _place }) = inbox.recv() {
        // The caller no longer waits.
        if answer.is_closed() {
            continue;
        }
        let verdicts = catch_unwind(AssertUnwindSafe(|| guard.judge(&asked)));
        let counts = guard.counts();
        numbers.computed.store(counts.computed, Ordering::Relaxed);
        numbers.cached.store(counts.cached, Ordering::Relaxed);
        match verdicts {
            Ok(verdicts) => drop(answer.send(verdicts.map_err(|error| format!("{error:#}")))),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
pub(crate) mod tests;
