//! Generation with continuous batching over a paged KV cache. Sequences share steps and finish one by one. A waiting sequence
//! takes the slot of a finished one in the next step.
//!
//! A sequence is admitted only when pages for its maximal length are free, so no sequence is ever preempted. Each sequence has
//! its own random number generator. With packed CPU kernels, a common prefix is computed once, and a sequence has the same bits
//! alone and in any batch. With libtorch's operators ([`crate::Kernels`]) only equal prompts are computed once. The bits then
//! depend on the number of slots, and on a GPU also on the batch.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use torch_ext::decoder::Segment;

use crate::backend::{Backend, Kernels};
use crate::fixed_step::Graphs;
use crate::logits::{Logits, Row};
use crate::memory;
use crate::model::Llama;
use crate::pages::{PAGE, PagePool};
use crate::request::{GenerateError, Next, Request, RequestId};
use crate::sampling::{Choice, LogitsProcessor, Sampler, all_finite};

mod on_device;

/// Maximal number of kept prompts (see [`KeptPrompt`]).
const PROMPTS_KEPT: usize = 8;

/// Options of an engine.
#[derive(Debug, Clone, Default)]
pub struct EngineOptions {
    /// Maximal number of sequences that are decoded together; 0 counts as 1.
    pub slots: usize,
    /// Capacity of the KV cache in tokens. By default `slots` whole contexts, limited to half of the free memory (four fifths on
    /// a GPU).
    pub cache_tokens: Option<usize>,
    /// Compute backend.
    pub kernels: Kernels,
    /// How decode steps run on a GPU: as CUDA graphs, or kernel by kernel.
    pub graphs: Graphs,
}

/// A sequence that occupies a slot.
struct Active {
    id: RequestId,
    request: Request,
    sampler: Sampler,
    processor: Option<Box<dyn LogitsProcessor>>,
    /// Cache pages, enough for the maximal length of the sequence.
    pages: Vec<u32>,
    /// The prompt and the generated tokens. Once the prompt is computed, all but the last token are in the cache.
    tokens: Vec<i64>,
    /// Number of tokens in the cache.
    cached: usize,
    limit: usize,
}

impl Active {
    fn is_prefilling(&self) -> bool {
        self.tokens.len() == self.request.prompt.len()
    }
}

/// A computed prompt, kept for later requests with the same prompt: its pages and the logits of its last token. Full pages are
/// shared; a partly filled last page is a copy.
struct KeptPrompt {
    tokens: Vec<i64>,
    pages: Vec<u32>,
    logits: Row,
}

/// A slot whose whole prompt was found in the cache, with the logits of the prompt's last token.
type KeptLogits = (usize, Row);

/// Counters of an engine since its creation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounts {
    /// Number of steps.
    pub steps: u64,
    /// Number of prompt tokens that were computed.
    pub prompt_tokens: u64,
    /// Number of prompt tokens that were found in the cache.
    pub cached_tokens: u64,
    /// Number of generated tokens.
    pub generated_tokens: u64,
}

/// A request that is waiting for a slot.
struct Waiting {
    id: RequestId,
    request: Request,
    processor: Option<Box<dyn LogitsProcessor>>,
}

/// Generates sequences with a model. The weights must not change while the engine exists: packed kernels have a copy of them,
/// libtorch's operators share them, and cached keys and values belong to the old weights.
pub struct Engine {
    context: usize,
    pub(crate) vocab: i64,
    pub(crate) hidden: usize,
    pub(crate) backend: Backend,
    pub(crate) pool: PagePool,
    slots: Vec<Option<Active>>,
    waiting: VecDeque<Waiting>,
    kept: VecDeque<KeptPrompt>,
    next_id: RequestId,
    counts: EngineCounts,
    /// The logits of the last step. Kept between steps to reuse the host buffer.
    logits: Logits,
}

impl Engine {
    /// An engine that decodes up to `slots` sequences together, with default options.
    ///
    /// # Errors
    /// [`GenerateError::Engine`] when there is not enough memory.
    pub fn new(model: &Llama, slots: usize) -> Result<Self, GenerateError> {
        Self::with_options(model, EngineOptions { slots, ..EngineOptions::default() })
    }

    /// An engine with options.
    ///
    /// # Errors
    /// [`GenerateError::Engine`] when there is not enough memory.
    pub fn with_options(model: &Llama, options: EngineOptions) -> Result<Self, GenerateError> {
        let (config, slots) = (model.config(), options.slots.max(1));
        let context = config.max_position_embeddings as usize;
        let pages = match options.cache_tokens {
            Some(tokens) => tokens.div_ceil(PAGE).max(1),
            None => {
                let page_bytes = memory::token_bytes(config, model.kind()) * PAGE as u64;
                let most = memory::for_cache(model.device()) / page_bytes.max(1);
                (slots * context.div_ceil(PAGE)).min(most as usize).max(1)
            }
        };
        let backend =
            Backend::new(model, (options.kernels, options.graphs), slots, pages).map_err(GenerateError::Engine)?;
        Ok(Self {
            context,
            vocab: config.vocab_size,
            hidden: config.hidden_size as usize,
            backend,
            pool: PagePool::new(pages),
            slots: (0..slots).map(|_| None).collect(),
            waiting: VecDeque::new(),
            kept: VecDeque::new(),
            next_id: 0,
            counts: EngineCounts::default(),
            logits: Logits::default(),
        })
    }

    /// Maximal length of prompt and answer together, in tokens.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Capacity of the cache in tokens.
    pub fn cache_tokens(&self) -> usize {
        self.pool.len() * PAGE
    }

    /// A warning if the cache holds fewer whole contexts than there are slots. Long sequences then wait for each other.
    #[must_use]
    pub fn crowding(&self) -> Option<String> {
        let (slots, whole) = (self.slots.len(), self.pool.len() / self.context.div_ceil(PAGE));
        let tokens = self.cache_tokens();
        (whole < slots).then(|| {
            format!(
                "{slots} at a time, but the cache of {tokens} tokens holds {whole} sequences of the whole context of {}",
                self.context
            )
        })
    }

    /// Capacity, in tokens, of the pages without users. Running sequences and kept prompts are users.
    pub fn free_cache_tokens(&self) -> usize {
        self.pool.available() * PAGE
    }

    /// Number of sequences that are being generated.
    pub fn running(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Number of requests that are waiting for a slot.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The counters so far.
    pub fn counts(&self) -> EngineCounts {
        self.counts
    }

    /// Checks whether the engine can serve a request.
    ///
    /// # Errors
    /// See [`GenerateError`]; `index` is 0.
    pub fn check(&self, request: &Request) -> Result<(), GenerateError> {
        self.check_at(0, request)
    }

    fn check_at(&self, index: usize, request: &Request) -> Result<(), GenerateError> {
        let prompt = request.prompt.len();
        if prompt >= self.context {
            return Err(GenerateError::PromptTooLong { index, prompt, context: self.context as i64 });
        }
        if prompt == 0 || request.max_new_tokens == 0 {
            let what = if prompt == 0 { "the prompt has no tokens" } else { "max_new_tokens is 0" };
            return Err(GenerateError::Prompt { index, what: what.into() });
        }
        if let Some(id) = request.prompt.iter().find(|id| !(0..self.vocab).contains(*id)) {
            let what = format!("token id {id} is outside the model's vocabulary of {}", self.vocab);
            return Err(GenerateError::Prompt { index, what });
        }
        let (needed, cache) = (prompt + self.limit(request), self.cache_tokens());
        if needed.div_ceil(PAGE) > self.pool.len() {
            return Err(GenerateError::CacheTooSmall { index, needed, cache });
        }
        request.sampling.check().map_err(GenerateError::Sampling)
    }

    /// Maximal number of tokens that can be generated for a request: its own maximum, or what the context leaves.
    pub fn limit(&self, request: &Request) -> usize {
        request.max_new_tokens.min(self.context.saturating_sub(request.prompt.len()))
    }

    /// Adds a request to the queue.
    ///
    /// # Errors
    /// See [`Engine::check`].
    pub fn submit(&mut self, request: Request) -> Result<RequestId, GenerateError> {
        self.submit_processed(request, None)
    }

    /// Adds a request to the queue. Its logits pass through `processor` before each token is chosen. An error of the processor
    /// ends the sequence with [`GenerateError::Sampling`].
    ///
    /// # Errors
    /// See [`Engine::check`].
    pub fn submit_processed(
        &mut self,
        request: Request,
        processor: Option<Box<dyn LogitsProcessor>>,
    ) -> Result<RequestId, GenerateError> {
        self.check(&request)?;
        let id = self.next_id;
        self.next_id += 1;
        self.waiting.push_back(Waiting { id, request, processor });
        Ok(id)
    }

    /// Removes a request, waiting or running. Its cache pages are free at once.
    pub fn cancel(&mut self, id: RequestId) {
        self.waiting.retain(|waiting| waiting.id != id);
        for slot in 0..self.slots.len() {
            if self.slots[slot].as_ref().is_some_and(|active| active.id == id) {
                self.finish(slot);
            }
        }
    }

    /// Whether no request is running or waiting.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.slots.iter().all(Option::is_none)
    }

    /// Generates all requests. Calls `on_token(request, choice)` for every chosen token, in order within a request; the return
    /// value decides whether the sequence continues. A sequence that reaches `max_new_tokens` or the end of the context ends
    /// there. All requests are checked before the first token.
    ///
    /// The engine must be idle, because the requests of this call are told apart by their place.
    ///
    /// # Errors
    /// See [`GenerateError`].
    pub fn generate(
        &mut self,
        requests: &[Request],
        mut on_token: impl FnMut(usize, Choice) -> Next,
    ) -> Result<(), GenerateError> {
        if !self.is_idle() {
            return Err(GenerateError::Busy);
        }
        for (index, request) in requests.iter().enumerate() {
            self.check_at(index, request)?;
        }
        let first = self.next_id;
        for request in requests {
            self.submit(request.clone())?;
        }
        let mut failure = None;
        while !self.is_idle() && failure.is_none() {
            self.step(&mut |id, choice| match choice {
                Ok(choice) => on_token((id - first) as usize, choice),
                Err(error) => {
                    failure.get_or_insert(error.at((id - first) as usize));
                    Next::Stop
                }
            })?;
        }
        let Some(failure) = failure else { return Ok(()) };
        (first..self.next_id).for_each(|id| self.cancel(id));
        Err(failure)
    }

    /// Runs one step: admits waiting requests, computes one token of every sequence and a part of the prompts that are not
    /// computed yet, and chooses tokens. Calls `on_token(id, choice)` for each token, or with the error if a sequence failed;
    /// the return value decides whether that sequence continues. A sequence that reaches its limit ends without a further call.
    ///
    /// # Errors
    /// [`GenerateError::Engine`] when libtorch fails; all requests are then removed.
    pub fn step(
        &mut self,
        on_token: &mut dyn FnMut(RequestId, Result<Choice, GenerateError>) -> Next,
    ) -> Result<(), GenerateError> {
        let step = self.admit().and_then(|kept| Ok((kept, self.compute()?)));
        let (kept, computed) = match step {
            Ok(step) => step,
            Err(error) => {
                self.reset();
                return Err(error);
            }
        };
        self.counts.steps += 1;
        let mut logits = std::mem::take(&mut self.logits);
        let on_device = logits.device.is_some() || kept.iter().any(|(_, row)| matches!(row, Row::Device(_)));
        let chosen = if on_device {
            match self.choose_on_device(&kept, &computed, &logits) {
                Ok(chosen) => chosen,
                Err(error) => {
                    self.reset();
                    return Err(error);
                }
            }
        } else {
            self.choose_on_host(&kept, computed, logits.host())
        };
        self.logits = logits;
        for (slot, choice) in chosen {
            let Some(active) = &mut self.slots[slot] else { continue };
            let id = active.id;
            let failed = choice.is_err();
            if let Ok(choice) = &choice {
                active.tokens.push(choice.id);
                self.counts.generated_tokens += 1;
            }
            let full = active.tokens.len() - active.request.prompt.len() == active.limit;
            if on_token(id, choice) == Next::Stop || full || failed {
                self.finish(slot);
            }
        }
        Ok(())
    }

    /// Assigns idle slots, and pages for the maximal length, to waiting requests in order of arrival. Returns the slots whose
    /// whole prompt was found in the cache, with the logits of its last token.
    fn admit(&mut self) -> Result<Vec<KeptLogits>, GenerateError> {
        let mut ready = Vec::new();
        while let (Some(slot), Some(Waiting { request, .. })) =
            (self.slots.iter().position(Option::is_none), self.waiting.front())
        {
            let limit = self.limit(request);
            let count = (request.prompt.len() + limit).div_ceil(PAGE);
            let place = self.kept.iter().position(|kept| kept.tokens == request.prompt);
            let found = match place {
                Some(_) => Vec::new(),
                None if self.backend.is_invariant() => self.pool.find(&request.prompt[..request.prompt.len() - 1]),
                None => Vec::new(),
            };
            if place.is_none() && self.is_under_way(&request.prompt, found.len()) {
                break;
            }
            let kept = place.and_then(|place| self.kept.remove(place));
            let shared: Vec<u32> = match &kept {
                Some(kept) => kept.pages[..kept.tokens.len() / PAGE].to_vec(),
                None => found,
            };
            shared.iter().for_each(|&page| self.pool.share(page));
            let Some(own) = self.take_pages(count - shared.len()) else {
                self.pool.release(&shared);
                match kept {
                    Some(kept) if self.slots.iter().all(Option::is_none) => {
                        // Only the pages of the kept prompt block the request. It is admitted without them.
                        self.pool.release(&kept.pages);
                        continue;
                    }
                    kept => self.kept.extend(kept),
                }
                break;
            };
            let Some(Waiting { id, request, processor }) = self.waiting.pop_front() else { break };
            let pages = [&shared[..], &own].concat();
            let cached = if let Some(kept) = kept {
                // Copy on write: a partly filled page is copied before the sequence writes into it.
                if let Some(&partial) = kept.pages.get(shared.len()) {
                    self.backend.copy_page(partial, own[0]).map_err(GenerateError::Engine)?;
                }
                ready.push((slot, kept.logits.clone()));
                self.kept.push_back(kept);
                request.prompt.len()
            } else {
                shared.len() * PAGE
            };
            self.counts.cached_tokens += cached as u64;
            let sampler = Sampler::new(request.sampling.clone(), request.seed, &request.prompt, self.vocab as usize);
            let tokens = request.prompt.clone();
            self.slots[slot] = Some(Active { id, request, sampler, processor, pages, tokens, cached, limit });
        }
        Ok(ready)
    }

    /// Whether a running sequence still computes a prefix that this prompt could share once it is computed.
    fn is_under_way(&self, prompt: &[i64], found_pages: usize) -> bool {
        self.slots.iter().flatten().filter(|active| active.is_prefilling()).any(|active| {
            let other = &active.request.prompt;
            let common = other.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            let pages = common.min(prompt.len() - 1) / PAGE;
            *other == prompt || self.backend.is_invariant() && pages > found_pages
        })
    }

    /// Takes `count` pages, evicting kept prompts if necessary; `None` if there are not enough.
    pub(crate) fn take_pages(&mut self, count: usize) -> Option<Vec<u32>> {
        while self.pool.available() < count {
            let kept = self.kept.pop_front()?;
            self.pool.release(&kept.pages);
        }
        (0..count).map(|_| self.pool.take()).collect()
    }

    /// Runs the model on the next tokens of all slots. Returns the slots that now choose a token; their logits are in
    /// `self.logits`.
    fn compute(&mut self) -> Result<Vec<usize>, GenerateError> {
        let mut room = if self.backend.is_invariant() { Backend::PROMPT_ROWS } else { usize::MAX };
        let mut parts = Vec::new();
        for (slot, active) in self.slots.iter().enumerate() {
            let Some(active) = active else { continue };
            // 0 for a prompt that was found in the cache: its first token is chosen from the kept logits.
            let rest = active.tokens.len() - active.cached;
            let rows = if active.is_prefilling() { rest.min(room) } else { rest };
            if active.is_prefilling() {
                room -= rows;
            }
            if rows > 0 {
                parts.push((slot, rows, rows == rest));
            }
        }
        if parts.is_empty() {
            self.logits.host().clear();
            return Ok(Vec::new());
        }
        let segments: Vec<Segment> = parts
            .iter()
            .filter_map(|&(slot, rows, last)| {
                let active = self.slots[slot].as_ref()?;
                let ids = &active.tokens[active.cached..active.cached + rows];
                Some(Segment { ids, start: active.cached, pages: &active.pages, logits: usize::from(last) })
            })
            .collect();
        self.backend.forward(&segments, &mut self.logits).map_err(GenerateError::Engine)?;
        let mut chosen = Vec::new();
        for (slot, rows, last) in parts {
            let Some(active) = &mut self.slots[slot] else { continue };
            active.cached += rows;
            let is_prompt = active.is_prefilling();
            if is_prompt {
                self.counts.prompt_tokens += rows as u64;
                if self.backend.is_invariant() {
                    self.pool.remember(&active.tokens[..active.cached], &active.pages);
                }
            }
            if last {
                if is_prompt {
                    self.keep_prompt(slot, chosen.len())?;
                }
                chosen.push(slot);
            }
        }
        Ok(chosen)
    }

    /// Keeps the prompt that was just computed in `slot`, with row `row` of the logits. Does nothing if there is no page for
    /// the copy of its last, partly filled page.
    fn keep_prompt(&mut self, slot: usize, row: usize) -> Result<(), GenerateError> {
        let Some(active) = &self.slots[slot] else { return Ok(()) };
        let full = active.tokens.len() / PAGE;
        let mut pages = active.pages[..full].to_vec();
        if !active.tokens.len().is_multiple_of(PAGE) {
            let Some(copy) = self.pool.take() else { return Ok(()) };
            self.backend.copy_page(active.pages[full], copy).map_err(GenerateError::Engine)?;
            pages.push(copy);
        }
        active.pages[..full].iter().for_each(|&page| self.pool.share(page));
        let logits = self
            .logits
            .row(row, self.vocab as usize)
            .map_err(|error| GenerateError::Engine(torch_ext::OpError::from(error).to_string()))?;
        self.kept.push_back(KeptPrompt { tokens: active.tokens.clone(), pages, logits });
        if self.kept.len() > PROMPTS_KEPT
            && let Some(oldest) = self.kept.pop_front()
        {
            self.pool.release(&oldest.pages);
        }
        Ok(())
    }

    /// Chooses a token for each slot. `kept` holds slots with the logits of a kept prompt. The logits of the slots in `computed`
    /// are the rows of `logits`.
    fn choose_on_host(
        &mut self,
        kept: &[KeptLogits],
        computed: Vec<usize>,
        logits: &mut [f32],
    ) -> Vec<(usize, Result<Choice, GenerateError>)> {
        let copy = |(slot, row): &KeptLogits| match row {
            Row::Host(row) => Some((*slot, row.to_vec())),
            Row::Device(_) => None,
        };
        let mut copies: Vec<(usize, Vec<f32>)> = kept.iter().filter_map(copy).collect();
        let from_kept = copies.iter_mut().map(|(slot, row)| (*slot, row.as_mut_slice()));
        let from_computed = computed.into_iter().zip(logits.chunks_exact_mut(self.vocab as usize));
        let mut rows: Vec<(usize, &mut [f32])> = from_kept.chain(from_computed).collect();
        rows.sort_by_key(|(slot, _)| *slot);
        self.choose(rows)
    }

    /// Chooses a token for each slot from its logits, on all threads. `rows` are in ascending order of slots.
    fn choose(&mut self, rows: Vec<(usize, &mut [f32])>) -> Vec<(usize, Result<Choice, GenerateError>)> {
        struct Job<'a> {
            slot: usize,
            active: &'a mut Active,
            logits: &'a mut [f32],
            choice: Option<Result<Choice, GenerateError>>,
        }
        let mut rows = rows.into_iter().peekable();
        let mut jobs: Vec<Mutex<Job>> = Vec::new();
        for (slot, active) in self.slots.iter_mut().enumerate() {
            if let Some((_, logits)) = rows.next_if(|(of, _)| *of == slot)
                && let Some(active) = active
            {
                jobs.push(Mutex::new(Job { slot, active, logits, choice: None }));
            }
        }
        let result = torch_ext::parallel_for(jobs.len(), |index| {
            let mut job = jobs[index].lock().unwrap_or_else(PoisonError::into_inner);
            let Job { active, logits, choice, .. } = &mut *job;
            let tokens = active.tokens.len() as i64;
            let (sampler, top) = (&mut active.sampler, active.request.top_logprobs);
            *choice = Some(match &mut active.processor {
                _ if !all_finite(logits) => Err(GenerateError::NotFinite { index: 0, tokens }),
                None => Ok(sampler.choose(logits, top)),
                Some(processor) => {
                    sampler.choose_processed(logits, top, processor.as_mut()).map_err(GenerateError::Sampling)
                }
            });
        });
        let done = jobs.into_iter().filter_map(|job| {
            let job = job.into_inner().unwrap_or_else(PoisonError::into_inner);
            match &result {
                Ok(()) => Some((job.slot, job.choice?)),
                Err(error) => Some((job.slot, Err(GenerateError::Engine(error.to_string())))),
            }
        });
        done.collect()
    }

    /// Removes all requests and all kept prompts.
    fn reset(&mut self) {
        self.waiting.clear();
        (0..self.slots.len()).for_each(|slot| self.finish(slot));
        for kept in std::mem::take(&mut self.kept) {
            self.pool.release(&kept.pages);
        }
    }

    /// Removes a sequence from its slot. With packed kernels, later requests can still find its pages.
    fn finish(&mut self, slot: usize) {
        let Some(active) = self.slots[slot].take() else { return };
        if self.backend.is_invariant() {
            self.pool.remember(&active.tokens[..active.cached], &active.pages);
        }
        self.pool.release(&active.pages);
    }
}
