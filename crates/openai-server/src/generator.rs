//! A model that generates in its own thread ([`crate::engine_thread`]), and the interface to it: sequences can be
//! submitted at any time, and their tokens are received as events.

use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use chat::{ChatTemplate, RenderOptions, Tokenizer};
use dataset::{FinishReason, Message};
use llama::{Choice, EngineOptions, LogitsProcessor, ModelFolder, Request, StopRules, TokenScore};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::engine_thread;
use crate::eyes::{self, Eyes, Look, Looking, Seeing};
use crate::grammar::{Constraint, Grammars, Shape};

/// Options of a generator.
#[derive(Debug, Clone)]
pub struct GeneratorOptions {
    /// The model's name, as clients see it.
    pub name: String,
    /// The engine's own options.
    pub engine: EngineOptions,
    /// Maximum number of waiting sequences.
    pub queue: usize,
}

/// One sequence to generate.
pub(crate) struct Sequence {
    pub request: Request,
    pub processor: Option<Box<dyn LogitsProcessor>>,
    pub stop: StopRules,
    pub index: usize,
    /// Return the log-probabilities of the prompt's tokens first, with this many of the most likely tokens at each
    /// position.
    pub prompt_scores: Option<usize>,
    /// Generate nothing: only the prompt's scores are requested.
    pub prompt_only: bool,
}

/// An event of a sequence.
pub(crate) enum Event {
    /// The prompt's tokens, before all others.
    Prompt { index: usize, scores: Vec<TokenScore> },
    /// A token was sampled; `text` is the text that can be shown now.
    Token { index: usize, choice: Choice, text: String },
    /// The sequence is complete; its last token was sent before.
    Finished { index: usize, reason: FinishReason, tokens: usize },
    /// The embedding of a text.
    Embedding { index: usize, numbers: Vec<f32> },
    /// The guard stopped the sequence after this number of tokens; the text replaces what was held back.
    Refused { index: usize, text: String, tokens: usize },
    /// The following events were not judged: the guard failed, and the server is configured to continue.
    Unjudged,
    /// There is no verdict: the request ends with this status.
    NoVerdict { status: u16, sentence: String },
    /// The engine failed.
    Failed(String),
}

/// The reason why sequences are refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The queue is full at the moment.
    Full,
    /// The request has more sequences than the queue can ever hold.
    TooMany(usize),
    /// The engine's thread has ended.
    Gone,
}

/// The task for the engine.
pub(crate) enum Task {
    Generate(Sequence),
    Embed {
        index: usize,
        ids: Vec<i64>,
    },
    /// A task for the vision model.
    Look {
        index: usize,
        looking: Looking,
    },
}

/// A task on its way to the engine.
pub(crate) struct Job {
    pub task: Task,
    pub events: UnboundedSender<Event>,
    pub place: OwnedSemaphorePermit,
}

/// Counters for `/metrics`, written by the engine's thread after every step.
#[derive(Default)]
pub(crate) struct EngineMetrics {
    pub running: AtomicU64,
    pub waiting: AtomicU64,
    pub free_cache_tokens: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub cached_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    pub steps: AtomicU64,
    pub cancelled: AtomicU64,
}

/// How a conversation becomes a prompt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prompting {
    pub render: RenderOptions,
    /// Continue the last message.
    pub continue_final_message: bool,
}

/// A model that generates in its own thread.
pub struct Generator {
    name: String,
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    grammars: Grammars,
    stop_ids: Vec<i64>,
    context: usize,
    vocab: i64,
    hidden: usize,
    cache_tokens: usize,
    places: Arc<Semaphore>,
    capacity: usize,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    numbers: Arc<EngineMetrics>,
    seeing: Option<Seeing>,
}

impl Drop for Generator {
    fn drop(&mut self) {
        // The thread ends after its last sequence.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Generator {
    /// Starts the thread, which packs the model's weights.
    ///
    /// # Errors
    /// When the memory is not enough for the engine, or the system refuses a thread.
    pub fn start(folder: ModelFolder, options: GeneratorOptions) -> anyhow::Result<Self> {
        let ModelFolder { path, model, tokenizer, template, stop_ids, .. } = folder;
        let tokenizer = Arc::new(tokenizer);
        let config = model.config();
        let (context, vocab) = (config.max_position_embeddings as usize, config.vocab_size);
        let hidden = config.hidden_size as usize;
        let capacity = options.engine.slots.max(1) + options.queue;
        let numbers = Arc::new(EngineMetrics::default());
        let (jobs, inbox) = channel();
        let (ready, started) = channel();
        let (own_tokenizer, own_numbers) = (tokenizer.clone(), numbers.clone());
        let thread = std::thread::Builder::new().name("engine".into()).spawn(move || {
            engine_thread::run(model, options.engine, &ready, &inbox, &own_numbers, &own_tokenizer);
        })?;
        let cache_tokens = started.recv().context("the engine's thread ended at its start")??;
        Ok(Self {
            name: options.name,
            tokenizer,
            template,
            grammars: Grammars::new(&path, &stop_ids),
            stop_ids,
            context,
            vocab,
            hidden,
            cache_tokens,
            places: Arc::new(Semaphore::new(capacity)),
            capacity,
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
            numbers,
            seeing: None,
        })
    }

    /// Enables conversations with pictures.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn with_eyes(mut self, eyes: Eyes) -> anyhow::Result<Self> {
        self.seeing = Some(Seeing::start(eyes)?);
        Ok(self)
    }

    /// Whether conversations may have pictures.
    pub(crate) fn sees(&self) -> bool {
        self.seeing.is_some()
    }

    /// Converts a conversation with pictures into a prompt.
    pub(crate) fn look(&self, messages: &[Message]) -> Result<Look, String> {
        let seeing = self.seeing.as_ref().ok_or_else(|| format!("{} sees no pictures", self.name))?;
        seeing.prepare(messages)
    }

    /// The model's name, as clients see it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Capacity of the KV cache, in tokens.
    #[must_use]
    pub fn cache_tokens(&self) -> usize {
        self.cache_tokens
    }

    pub(crate) fn context(&self) -> usize {
        self.context
    }

    pub(crate) fn vocab(&self) -> i64 {
        self.vocab
    }

    /// Width of an embedding.
    pub(crate) fn hidden(&self) -> usize {
        self.hidden
    }

    pub(crate) fn stop_ids(&self) -> &[i64] {
        &self.stop_ids
    }

    pub(crate) fn numbers(&self) -> &Arc<EngineMetrics> {
        &self.numbers
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The chat template, or an error if there is none.
    pub(crate) fn template(&self) -> Result<&ChatTemplate, String> {
        self.template.as_ref().ok_or_else(|| "this model has no chat template; use /v1/completions".to_owned())
    }

    /// The constraint that makes answers match a shape.
    pub(crate) fn constraint(&self, shape: &Shape) -> Result<Constraint, String> {
        self.grammars.constraint(shape)
    }

    /// The ids of a conversation.
    pub(crate) fn encode_chat(&self, messages: &[Message], prompting: &Prompting) -> Result<Vec<i64>, String> {
        let (template, render) = (self.template()?, &prompting.render);
        let ids = match prompting.continue_final_message {
            true => chat::encode_continued(&self.tokenizer, template, messages, render),
            false => chat::encode_rendered(&self.tokenizer, template, messages, render),
        };
        Ok(ids.map_err(|error| error.to_string())?.into_iter().map(i64::from).collect())
    }

    /// The ids of a text, with the tokens that the tokenizer adds if `special`.
    pub(crate) fn encode_text(&self, text: &str, special: bool) -> Result<Vec<i64>, String> {
        let ids = self.tokenizer.encode(text, special).map_err(|error| error.to_string())?;
        Ok(ids.into_iter().map(i64::from).collect())
    }

    /// The text of a single token.
    pub(crate) fn token_text(&self, id: i64) -> String {
        self.decode(&[id])
    }

    /// The text of ids, special tokens included.
    pub(crate) fn decode(&self, ids: &[i64]) -> String {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        self.tokenizer.decode(&ids, false).unwrap_or_default()
    }

    /// Submits all tasks of a request, or none. Their events arrive until the receiver is dropped, which cancels
    /// them.
    pub(crate) fn submit(&self, tasks: Vec<Task>) -> Result<UnboundedReceiver<Event>, Refusal> {
        if tasks.len() > self.capacity {
            return Err(Refusal::TooMany(self.capacity));
        }
        let count = u32::try_from(tasks.len()).map_err(|_| Refusal::TooMany(self.capacity))?;
        let mut places = self.places.clone().try_acquire_many_owned(count).map_err(|_| Refusal::Full)?;
        let (events, receiver) = unbounded_channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or(Refusal::Gone)?;
        for task in tasks {
            let place = places.split(1).ok_or(Refusal::Full)?;
            let events = events.clone();
            match task {
                Task::Look { index, looking } => {
                    let job = eyes::Job { looking, index, events, place };
                    let taken = self.seeing.as_ref().is_some_and(|seeing| seeing.submit(job));
                    taken.then_some(()).ok_or(Refusal::Gone)?;
                }
                task => jobs.send(Job { task, events, place }).map_err(|_| Refusal::Gone)?,
            }
        }
        Ok(receiver)
    }
}
