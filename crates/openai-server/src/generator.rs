//! A model that generates in a thread of its own ([`crate::engine_thread`]), and the way to it: sequences in, their tokens
//! out, at any time.

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
use crate::grammar::{Constraint, Grammars, Shape};

/// How to run a generator.
#[derive(Debug, Clone)]
pub struct GeneratorOptions {
    /// The model's name for clients.
    pub name: String,
    /// The engine's own options.
    pub engine: EngineOptions,
    /// Sequences that may wait beyond those that are decoded.
    pub queue: usize,
}

/// One sequence to generate.
pub(crate) struct Sequence {
    pub request: Request,
    pub processor: Option<Box<dyn LogitsProcessor>>,
    pub stop: StopRules,
    pub index: usize,
    /// Tell the log-probabilities of the prompt's tokens first, with so many of the most likely ones at each place.
    pub prompt_scores: Option<usize>,
    /// Generate nothing: only the prompt is asked for.
    pub prompt_only: bool,
}

/// What happens to a sequence.
pub(crate) enum Event {
    /// The prompt's tokens, before all others.
    Prompt { index: usize, scores: Vec<TokenScore> },
    /// A token was chosen; `text` is what can be shown now.
    Token { index: usize, choice: Choice, text: String },
    /// The sequence is complete; its last token came before.
    Finished { index: usize, reason: FinishReason, tokens: usize },
    /// The embedding of a text.
    Embedding { index: usize, numbers: Vec<f32> },
    /// It failed in the engine.
    Failed(String),
}

/// Why sequences are not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// There is no room in the queue now.
    Full,
    /// There are more of them than the queue has room for, ever.
    TooMany(usize),
    /// The engine's thread has ended.
    Gone,
}

/// What is asked of the engine.
pub(crate) enum Task {
    Generate(Sequence),
    Embed { index: usize, ids: Vec<i64> },
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

/// How to turn a conversation into a prompt.
#[derive(Debug, Clone, Default)]
pub(crate) struct Prompting {
    pub render: RenderOptions,
    /// Go on in the middle of the last message.
    pub continue_final_message: bool,
}

/// A model that generates in a thread of its own.
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
}

impl Drop for Generator {
    fn drop(&mut self) {
        // The thread ends with the last sequence it has.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

impl Generator {
    /// Starts the thread; the model's weights are packed there.
    ///
    /// # Errors
    /// When the engine has no memory or the system no thread.
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
        })
    }

    /// The model's name for clients.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokens that the cache of keys and values holds.
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

    /// The chat template, or a sentence where there is none.
    pub(crate) fn template(&self) -> Result<&ChatTemplate, String> {
        self.template.as_ref().ok_or_else(|| "this model has no chat template; use /v1/completions".to_owned())
    }

    /// The constraint that keeps an answer in a shape.
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

    /// The ids of a text, with what the tokenizer adds if `special`.
    pub(crate) fn encode_text(&self, text: &str, special: bool) -> Result<Vec<i64>, String> {
        let ids = self.tokenizer.encode(text, special).map_err(|error| error.to_string())?;
        Ok(ids.into_iter().map(i64::from).collect())
    }

    /// A token's own text.
    pub(crate) fn token_text(&self, id: i64) -> String {
        self.decode(&[id])
    }

    /// The text of ids, special tokens included.
    pub(crate) fn decode(&self, ids: &[i64]) -> String {
        let ids: Vec<u32> = ids.iter().filter_map(|&id| u32::try_from(id).ok()).collect();
        self.tokenizer.decode(&ids, false).unwrap_or_default()
    }

    /// Takes all tasks of a request, or none. Their events come until the receiver is dropped, which cancels them.
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
            jobs.send(Job { task, events: events.clone(), place }).map_err(|_| Refusal::Gone)?;
        }
        Ok(receiver)
    }
}
