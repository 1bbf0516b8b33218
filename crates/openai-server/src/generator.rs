//! A thread that owns the model and its engine, and the way to it: sequences in, their tokens out, at any time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::Context;
use chat::{ChatTemplate, RenderOptions, Tokenizer};
use dataset::{FinishReason, Message};
use llama::{
    AnswerText, Choice, Engine, EngineOptions, GenerateError, Llama, ModelFolder, Next, Request, RequestId, StopRules,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    pub stop: StopRules,
    pub index: usize,
}

/// What happens to a sequence.
pub(crate) enum Event {
    /// A token was chosen; `text` is what can be shown now.
    Token { index: usize, choice: Choice, text: String },
    /// The sequence is complete; its last token came before.
    Finished { index: usize, reason: FinishReason, tokens: usize },
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

/// A sequence on its way to the engine.
struct Job {
    sequence: Sequence,
    events: UnboundedSender<Event>,
    place: OwnedSemaphorePermit,
}

/// Numbers for `/metrics`, written by the engine's thread after every step.
#[derive(Default)]
pub(crate) struct Numbers {
    pub running: AtomicU64,
    pub waiting: AtomicU64,
    pub free_cache_tokens: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub cached_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    pub steps: AtomicU64,
    pub cancelled: AtomicU64,
}

/// A model that generates in a thread of its own.
pub struct Generator {
    name: String,
    tokenizer: Arc<Tokenizer>,
    template: Option<ChatTemplate>,
    stop_ids: Vec<i64>,
    context: usize,
    vocab: i64,
    cache_tokens: usize,
    places: Arc<Semaphore>,
    capacity: usize,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    numbers: Arc<Numbers>,
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
        let ModelFolder { model, tokenizer, template, stop_ids, .. } = folder;
        let tokenizer = Arc::new(tokenizer);
        let (context, vocab) = (model.config().max_position_embeddings as usize, model.config().vocab_size);
        let capacity = options.engine.slots.max(1) + options.queue;
        let numbers = Arc::new(Numbers::default());
        let (jobs, inbox) = channel();
        let (ready, started) = channel();
        let (own_tokenizer, own_numbers) = (tokenizer.clone(), numbers.clone());
        let thread =
            std::thread::Builder::new().name("engine".into()).spawn(move || match open(&model, options.engine) {
                Ok(engine) => {
                    drop(model);
                    let _ = ready.send(Ok(engine.cache_tokens()));
                    Loop { engine, open: HashMap::new(), numbers: &own_numbers, tokenizer: &own_tokenizer }.run(&inbox);
                }
                Err(error) => drop(ready.send(Err(error))),
            })?;
        let cache_tokens = started.recv().context("the engine's thread ended at its start")??;
        Ok(Self {
            name: options.name,
            tokenizer,
            template,
            stop_ids,
            context,
            vocab,
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

    pub(crate) fn stop_ids(&self) -> &[i64] {
        &self.stop_ids
    }

    pub(crate) fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// The ids of a conversation, ready for the assistant's turn.
    pub(crate) fn encode_chat(&self, messages: &[Message]) -> Result<Vec<i64>, String> {
        let template = self.template.as_ref();
        let template = template.ok_or("this model has no chat template; use /v1/completions")?;
        let ids = chat::encode_prompt(&self.tokenizer, template, messages, &RenderOptions::default());
        Ok(ids.map_err(|error| error.to_string())?.into_iter().map(i64::from).collect())
    }

    /// The ids of a text, with what the tokenizer adds.
    pub(crate) fn encode_text(&self, text: &str) -> Result<Vec<i64>, String> {
        let ids = self.tokenizer.encode(text, true).map_err(|error| error.to_string())?;
        Ok(ids.into_iter().map(i64::from).collect())
    }

    /// A token's own text.
    pub(crate) fn token_text(&self, id: i64) -> String {
        let decoded = u32::try_from(id).ok().and_then(|id| self.tokenizer.decode(&[id], false).ok());
        decoded.unwrap_or_default()
    }

    /// Takes all sequences of a request, or none. Their events come until the receiver is dropped, which cancels them.
    pub(crate) fn submit(&self, sequences: Vec<Sequence>) -> Result<UnboundedReceiver<Event>, Refusal> {
        if sequences.len() > self.capacity {
            return Err(Refusal::TooMany(self.capacity));
        }
        let count = u32::try_from(sequences.len()).map_err(|_| Refusal::TooMany(self.capacity))?;
        let mut places = self.places.clone().try_acquire_many_owned(count).map_err(|_| Refusal::Full)?;
        let (events, receiver) = unbounded_channel();
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = jobs.as_ref().ok_or(Refusal::Gone)?;
        for sequence in sequences {
            let place = places.split(1).ok_or(Refusal::Full)?;
            jobs.send(Job { sequence, events: events.clone(), place }).map_err(|_| Refusal::Gone)?;
        }
        Ok(receiver)
    }
}

fn open(model: &Llama, options: EngineOptions) -> anyhow::Result<Engine> {
    Ok(Engine::with_options(model, options)?)
}

/// A sequence in the engine.
struct Open<'a> {
    answer: AnswerText<'a>,
    stop: StopRules,
    limit: usize,
    index: usize,
    events: UnboundedSender<Event>,
    _place: OwnedSemaphorePermit,
}

/// The engine's thread.
struct Loop<'a> {
    engine: Engine,
    open: HashMap<RequestId, Open<'a>>,
    numbers: &'a Numbers,
    tokenizer: &'a Tokenizer,
}

impl Loop<'_> {
    /// Until the generator is dropped and its sequences are complete.
    fn run(mut self, inbox: &Receiver<Job>) {
        let mut closed = false;
        while !(closed && self.engine.is_idle()) {
            if self.engine.is_idle() {
                match inbox.recv() {
                    Ok(job) => self.take(job),
                    Err(_) => return,
                }
            }
            loop {
                match inbox.try_recv() {
                    Ok(job) => self.take(job),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        closed = true;
                        break;
                    }
                }
            }
            self.drop_abandoned();
            self.step();
            self.count();
        }
    }

    fn take(&mut self, job: Job) {
        let Job { sequence: Sequence { request, stop, index }, events, place } = job;
        let limit = self.engine.limit(&request);
        match self.engine.submit(request) {
            Ok(id) => {
                let answer = AnswerText::new(self.tokenizer);
                self.open.insert(id, Open { answer, stop, limit, index, events, _place: place });
            }
            Err(error) => drop(events.send(Event::Failed(error.to_string()))),
        }
    }

    /// Frees what belongs to clients that have gone.
    fn drop_abandoned(&mut self) {
        let engine = &mut self.engine;
        let before = self.open.len();
        self.open.retain(|&id, open| {
            let gone = open.events.is_closed();
            if gone {
                engine.cancel(id);
            }
            !gone
        });
        self.numbers.cancelled.fetch_add((before - self.open.len()) as u64, Ordering::Relaxed);
    }

    fn step(&mut self) {
        let open = &mut self.open;
        let result = self.engine.step(&mut |id, choice| advance(open, id, choice));
        if let Err(error) = result {
            // The engine has forgotten all of them.
            for (_, open) in self.open.drain() {
                let _ = open.events.send(Event::Failed(error.to_string()));
            }
        }
    }

    fn count(&self) {
        let (counts, numbers) = (self.engine.counts(), self.numbers);
        let pairs = [
            (&numbers.running, self.engine.running() as u64),
            (&numbers.waiting, self.engine.waiting() as u64),
            (&numbers.free_cache_tokens, self.engine.free_cache_tokens() as u64),
            (&numbers.prompt_tokens, counts.prompt_tokens),
            (&numbers.cached_tokens, counts.cached_tokens),
            (&numbers.generated_tokens, counts.generated_tokens),
            (&numbers.steps, counts.steps),
        ];
        for (number, value) in pairs {
            number.store(value, Ordering::Relaxed);
        }
    }
}

/// Hands a token on; says whether the sequence goes on.
fn advance(open: &mut HashMap<RequestId, Open>, id: RequestId, choice: Result<Choice, GenerateError>) -> Next {
    let Some(sequence) = open.get_mut(&id) else { return Next::Stop };
    let choice = match choice {
        Ok(choice) => choice,
        Err(error) => {
            let _ = sequence.events.send(Event::Failed(error.to_string()));
            open.remove(&id);
            return Next::Stop;
        }
    };
    let finished = sequence.answer.push(&choice, &sequence.stop, sequence.limit);
    let text = sequence.answer.take_new().to_owned();
    let index = sequence.index;
    let _ = sequence.events.send(Event::Token { index, choice, text });
    let Some(reason) = finished else { return Next::Continue };
    let _ = sequence.events.send(Event::Finished { index, reason, tokens: sequence.answer.tokens() });
    open.remove(&id);
    Next::Stop
}
