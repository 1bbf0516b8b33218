//! Pictures in conversations. The engine only handles text; a separate model in its own thread answers conversations with pictures one at
//! a time.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use dataset::{FinishReason, Message};
use llama::{Choice, SamplingParams, StopRules};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use crate::generator::Event;

/// The prompt of a conversation with pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Token ids; those of the pictures may be outside the vocabulary.
    pub prompt: Vec<i64>,
    /// The bytes of the pictures' files, in the order of these tokens.
    pub pictures: Vec<Vec<u8>>,
}

/// A prompt with pictures and the options of its answer.
#[derive(Debug, Clone)]
pub struct Looking {
    /// The prompt.
    pub look: Look,
    /// Sampling parameters.
    pub sampling: SamplingParams,
    /// The seed of the sampling.
    pub seed: u64,
    /// Maximum number of tokens.
    pub max_new_tokens: usize,
    /// Number of most likely tokens that are reported with each token.
    pub top_logprobs: usize,
    /// Further rules that end the answer.
    pub stop: StopRules,
}

/// Converts messages with pictures into a prompt; the error is the fault of the messages.
pub type Prepare = Box<dyn Fn(&[Message]) -> Result<Look, String> + Send + Sync>;
/// Receives a token and the text that can be shown now; returning false ends the answer.
pub type Heard<'a> = &'a mut dyn FnMut(Choice, String) -> bool;
/// Answers a prompt.
pub type AnswerLook = Box<dyn FnMut(&Looking, Heard) -> Result<FinishReason, String> + Send>;

/// A model that answers conversations with pictures.
pub struct Eyes {
    /// Makes prompts.
    pub prepare: Prepare,
    /// Answers them.
    pub answer: AnswerLook,
}

/// A prompt for the thread.
pub(crate) struct Job {
    pub looking: Looking,
    pub index: usize,
    pub events: UnboundedSender<Event>,
    pub place: OwnedSemaphorePermit,
}

/// The handle of the answering thread.
pub(crate) struct Seeing {
    prepare: Prepare,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Seeing {
    pub fn start(eyes: Eyes) -> std::io::Result<Self> {
        let Eyes { prepare, answer } = eyes;
        let (jobs, inbox) = channel();
        let thread = std::thread::Builder::new().name("eyes".into()).spawn(move || run(answer, &inbox))?;
        Ok(Self { prepare, jobs: Mutex::new(Some(jobs)), thread: Mutex::new(Some(thread)) })
    }

    pub fn prepare(&self, messages: &[Message]) -> Result<Look, String> {
        (self.prepare)(messages)
    }

    /// Submits a job; false if the thread has ended.
    pub fn submit(&self, job: Job) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }
}

impl Drop for Seeing {
    fn drop(&mut self) {
        // The thread ends after its last answer.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

fn run(mut answer: AnswerLook, inbox: &Receiver<Job>) {
    for Job { looking, index, events, place } in inbox {
        if events.is_closed() {
            continue;
        }
        let mut tokens = 0;
        let ended = answer(&looking, &mut |choice, text| {
            tokens += 1;
            events.send(Event::Token { index, choice, text }).is_ok()
        });
        let last = match ended {
            Ok(reason) => Event::Finished { index, reason, tokens },
            Err(sentence) => Event::Failed(sentence),
        };
        let _ = events.send(last);
        drop(place);
    }
}
