//! Builds the micro-batches of the next step in another thread while this one computes. Rows are packed and, on a GPU, copied from pinned
//! memory, which the device reads by itself.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use anyhow::Context;
use tch::{Device, Tensor};

/// The micro-batches of consecutive steps. The thread holds one finished step at a time, and ends when this is dropped.
pub struct Ahead<B> {
    next: u64,
    steps: Option<Receiver<anyhow::Result<Vec<B>>>>,
    thread: Option<JoinHandle<()>>,
}

impl<B: Send + 'static> Ahead<B> {
    /// Builds the micro-batches of `steps`, in order, with `build`, which is a function of the step alone.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        steps: std::ops::Range<u64>,
        build: impl Fn(u64) -> anyhow::Result<Vec<B>> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let next = steps.start;
        // The channel has no capacity: one step is built while the previous one is computed, and no further one.
        let (give, take) = sync_channel(0);
        let work = move || {
            for step in steps {
                let built = build(step);
                let failed = built.is_err();
                if give.send(built).is_err() || failed {
                    break;
                }
            }
        };
        let thread = Builder::new().name("batches".into()).spawn(work).context("a thread that builds batches")?;
        Ok(Self { next, steps: Some(take), thread: Some(thread) })
    }
}

impl<B> Ahead<B> {
    /// The micro-batches of a step; `None` if it is not the next step, or if the thread has ended.
    pub(crate) fn take(&mut self, step: u64) -> Option<anyhow::Result<Vec<B>>> {
        if step != self.next {
            return None;
        }
        self.next += 1;
        self.steps.as_ref()?.recv().ok()
    }
}

impl<B> Drop for Ahead<B> {
    fn drop(&mut self) {
        // The thread ends when its next batch has no receiver.
        self.steps = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            eprintln!("warning: the thread that builds batches ended early");
        }
    }
}

/// Copies a tensor to `device`. On a GPU the copy goes through pinned memory, so that neither this thread nor the device waits.
pub fn placed(numbers: Tensor, device: Device) -> Tensor {
    if !device.is_cuda() {
        return numbers.to_device(device);
    }
    let kind = numbers.kind();
    numbers.pin_memory(device).to_device_(device, kind, true, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_order_and_the_thread_ends_with_its_user() {
        let (say, heard) = std::sync::mpsc::channel();
        let build = move |step: u64| {
            say.send(step).unwrap();
            if step == 7 { anyhow::bail!("no data") } else { Ok(vec![step, step * 10]) }
        };
        let mut ahead = Ahead::start(3..9, build).unwrap();
        assert_eq!(ahead.take(3).unwrap().unwrap(), [3, 30]);
        // A step that is not the next one must be built by the caller.
        assert!(ahead.take(5).is_none());
        assert_eq!(ahead.take(4).unwrap().unwrap(), [4, 40]);
        assert_eq!([heard.recv(), heard.recv(), heard.recv()], [Ok(3), Ok(4), Ok(5)]);
        // The thread builds no further step before the last one is taken.
        assert!(heard.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        assert_eq!((ahead.take(5).unwrap().unwrap(), ahead.take(6).unwrap().unwrap()), (vec![5, 50], vec![6, 60]));
        assert_eq!(ahead.take(7).unwrap().unwrap_err().to_string(), "no data");
        assert!(ahead.take(8).is_none());
        drop(ahead);
        assert!(heard.iter().eq([6, 7]));
    }
}
