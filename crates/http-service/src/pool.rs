//! A fixed number of threads that run handlers, behind a queue with a limit.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::options::{Failure, Handler};

/// The outcome of one item.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done(Value),
    Failed(Failure),
    /// The handler panicked.
    Panicked,
}

struct Job {
    handler: Handler,
    item: Value,
    answer: oneshot::Sender<Outcome>,
    /// The item's place in the queue, released when the job is dropped.
    _place: OwnedSemaphorePermit,
}

/// The threads and their queue. After it is dropped, the threads end when their jobs are done.
pub(crate) struct Pool {
    jobs: Sender<Job>,
    places: Arc<Semaphore>,
    /// Maximum number of items in the pool, running or waiting.
    pub capacity: usize,
}

impl Pool {
    /// Starts `threads` threads; at most `queue` items may wait.
    pub fn start(threads: usize, queue: usize) -> std::io::Result<Self> {
        let threads = threads.max(1);
        let capacity = threads + queue;
        let (jobs, receiver) = channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for i in 0..threads {
            let receiver = receiver.clone();
            std::thread::Builder::new().name(format!("handler-{i}")).spawn(move || work(&receiver))?;
        }
        Ok(Self { jobs, places: Arc::new(Semaphore::new(capacity)), capacity })
    }

    /// Items in the pool, running or waiting.
    pub fn occupied(&self) -> usize {
        self.capacity - self.places.available_permits()
    }

    /// Reserves places for all items of a request, or for none (`None`: the queue is full).
    pub fn reserve(&self, items: usize) -> Option<OwnedSemaphorePermit> {
        let items = u32::try_from(items).ok()?;
        self.places.clone().try_acquire_many_owned(items).ok()
    }

    /// Queues one item. If the returned receiver is dropped before the item's turn, the item is not run.
    pub fn submit(&self, handler: &Handler, item: Value, place: OwnedSemaphorePermit) -> oneshot::Receiver<Outcome> {
        let (answer, receiver) = oneshot::channel();
        // The threads outlive the sender, so this cannot fail; if it did, the receiver would report it.
        let _ = self.jobs.send(Job { handler: handler.clone(), item, answer, _place: place });
        receiver
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let Ok(job) = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv() else {
            return;
        };
        let Job { handler, item, answer, _place } = job;
        if answer.is_closed() {
            continue;
        }
        // All threads already share the handler, so it must itself handle state that a panic leaves unfinished.
        let outcome = match catch_unwind(AssertUnwindSafe(|| handler(item))) {
            Ok(Ok(value)) => Outcome::Done(value),
            Ok(Err(failure)) => Outcome::Failed(failure),
            Err(_) => Outcome::Panicked,
        };
        drop(_place);
        let _ = answer.send(outcome);
    }
}
