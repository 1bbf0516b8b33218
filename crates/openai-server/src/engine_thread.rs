//! The thread that owns the model and steps its engine.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};

use chat::Tokenizer;
use dataset::FinishReason;
use llama::{AnswerText, Choice, Engine, EngineOptions, GenerateError, Llama, Next, RequestId, StopRules};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedSender;

use crate::generator::{EngineMetrics, Event, Job, Sequence, Task};

/// Packs the weights, reports readiness and the size of the cache through `ready`, and works until the sender of
/// `inbox` is dropped and all work is done.
pub(crate) fn run(
    model: Llama,
    options: EngineOptions,
    ready: &Sender<anyhow::Result<usize>>,
    inbox: &Receiver<Job>,
    numbers: &EngineMetrics,
    tokenizer: &Tokenizer,
) {
    match Engine::with_options(&model, options) {
        Ok(engine) => {
            drop(model);
            if let Some(crowding) = engine.crowding() {
                eprintln!("{crowding}");
            }
            let _ = ready.send(Ok(engine.cache_tokens()));
            Loop { engine, open: HashMap::new(), texts: VecDeque::new(), numbers, tokenizer }.run(inbox);
        }
        Err(error) => drop(ready.send(Err(error.into()))),
    }
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

struct Loop<'a> {
    engine: Engine,
    open: HashMap<RequestId, Open<'a>>,
    /// Submitted texts that are computed as a whole: prompts with log-probabilities, embeddings.
    texts: VecDeque<Job>,
    numbers: &'a EngineMetrics,
    tokenizer: &'a Tokenizer,
}

impl Loop<'_> {
    /// Runs until the generator is dropped and its sequences are complete.
    fn run(mut self, inbox: &Receiver<Job>) {
        let mut closed = false;
        while !(closed && self.is_idle()) {
            if self.is_idle() {
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
            // One text per step; the running sequences wait for it.
            if let Some(job) = self.texts.pop_front() {
                self.compute_text(job);
            }
            self.step();
            self.count();
        }
    }

    fn is_idle(&self) -> bool {
        self.engine.is_idle() && self.texts.is_empty()
    }

    fn take(&mut self, job: Job) {
        match &job.task {
            Task::Generate(Sequence { prompt_scores: None, prompt_only: false, .. }) => self.generate(job),
            _ => self.texts.push_back(job),
        }
    }

    fn generate(&mut self, job: Job) {
        let Job { task: Task::Generate(sequence), events, place } = job else { return };
        let Sequence { request, processor, stop, index, .. } = sequence;
        let limit = self.engine.limit(&request);
        match self.engine.submit_processed(request, processor) {
            Ok(id) => {
                let answer = AnswerText::new(self.tokenizer);
                self.open.insert(id, Open { answer, stop, limit, index, events, _place: place });
            }
            Err(error) => drop(events.send(Event::Failed(error.to_string()))),
        }
    }

    /// Computes the embedding of a text, or its log-probabilities before the rest of its sequence. If the cache has
    /// no room, the text waits for another step.
    fn compute_text(&mut self, job: Job) {
        let computed = match &job.task {
            Task::Embed { index, ids } => self
                .engine
                .embedding(ids)
                .map(|numbers| numbers.map(|numbers| Event::Embedding { index: *index, numbers })),
            Task::Generate(Sequence { request, prompt_scores: Some(top), index, .. }) => self
                .engine
                .prompt_scores(&request.prompt, *top)
                .map(|scores| scores.map(|scores| Event::Prompt { index: *index, scores })),
            Task::Generate(Sequence { index, .. }) => Ok(Some(Event::Prompt { index: *index, scores: Vec::new() })),
            // Another thread handles this task.
            Task::Look { .. } => return,
        };
        match computed {
            Ok(None) => self.texts.push_front(job),
            Err(error) => drop(job.events.send(Event::Failed(error.to_string()))),
            Ok(Some(event)) => {
                let _ = job.events.send(event);
                match &job.task {
                    Task::Generate(Sequence { prompt_only: true, index, .. }) => {
                        let (index, reason) = (*index, FinishReason::Length);
                        let _ = job.events.send(Event::Finished { index, reason, tokens: 0 });
                    }
                    Task::Generate(_) => self.generate(job),
                    Task::Embed { .. } | Task::Look { .. } => {}
                }
            }
        }
    }
    /// Removes the sequences of clients that have disconnected.
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
        let texts = self.texts.len();
        self.texts.retain(|job| !job.events.is_closed());
        let gone = before - self.open.len() + texts - self.texts.len();
        self.numbers.cancelled.fetch_add(gone as u64, Ordering::Relaxed);
    }

    fn step(&mut self) {
        let open = &mut self.open;
        let result = self.engine.step(&mut |id, choice| advance(open, id, choice));
        if let Err(error) = result {
            // The engine has dropped all of them.
            for (_, open) in self.open.drain() {
                let _ = open.events.send(Event::Failed(error.to_string()));
            }
        }
    }

    fn count(&self) {
        let (counts, numbers) = (self.engine.counts(), self.numbers);
        let pairs = [
            (&numbers.running, self.engine.running() as u64),
            (&numbers.waiting, (self.engine.waiting() + self.texts.len()) as u64),
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

/// Passes a token on; returns whether the sequence continues.
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
