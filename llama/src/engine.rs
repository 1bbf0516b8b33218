//! Batched generation: sequences share one decoding step and leave it one by one; a waiting sequence takes the place of a
//! finished one at once. The prompt of several samples is computed once.
//!
//! The arithmetic of a sequence does not depend on its neighbours: a prompt is computed in a row of its own, every
//! decoding step has the same number of rows (idle ones are computed too), and each sequence draws from its own
//! generator. With the same number of slots, a sequence has the same bits alone and in any company.

use std::collections::VecDeque;

use rayon::prelude::*;
use tch::{Kind, Tensor};

use crate::kv_cache::{Decode, KvCache, Prefill};
use crate::model::Llama;
use crate::sampling::{Choice, Sampler, SamplingParams};
use crate::score::to_floats;

/// One sequence to generate.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt's token ids. Requests next to each other with the same prompt share its computation.
    pub prompt: Vec<i64>,
    /// How to choose tokens.
    pub sampling: SamplingParams,
    /// Seed of this sequence's generator.
    pub seed: u64,
    /// The most tokens to generate.
    pub max_new_tokens: usize,
}

/// What to do after a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Generate another one, if the maximum allows.
    Continue,
    /// This sequence is complete.
    Stop,
}

/// Why a request cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The prompt leaves no room in the context.
    #[error(
        "request {index}: the prompt has {prompt} tokens, the model's context is {context}: shorten the prompt, or take a \
         model with a longer context"
    )]
    PromptTooLong {
        /// Which request, from 0.
        index: usize,
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens of the context.
        context: i64,
    },
    /// A prompt without tokens, or with ids outside the vocabulary.
    #[error("request {index}: {what}")]
    Prompt {
        /// Which request, from 0.
        index: usize,
        /// What is wrong.
        what: String,
    },
    /// A sampling value that makes no sense.
    #[error("{0}")]
    Sampling(String),
    /// The logits are not numbers.
    #[error("request {index}: the model's logits are not finite after {tokens} tokens; are the weights damaged?")]
    NotFinite {
        /// Which request, from 0.
        index: usize,
        /// Tokens before that.
        tokens: i64,
    },
    /// libtorch could not get the memory.
    #[error("no memory for the KV cache ({0}): use fewer slots or shorter answers")]
    Memory(String),
}

/// A sequence in its slot.
struct Active {
    request: usize,
    sampler: Sampler,
    /// The token that was chosen last, not in the cache yet.
    last: i64,
    produced: usize,
    limit: usize,
}

/// A slot: the tokens in its part of the cache and the sequence that runs in it, if any.
#[derive(Default)]
struct Slot {
    active: Option<Active>,
    length: i64,
    /// The request whose prompt stands at the start of the slot, also after its sequence ended.
    prompt_of: Option<usize>,
}

/// A generator over a model.
pub struct Engine<'a> {
    model: &'a Llama,
    slots: usize,
}

impl<'a> Engine<'a> {
    /// An engine that decodes up to `slots` sequences together.
    pub fn new(model: &'a Llama, slots: usize) -> Self {
        Self { model, slots: slots.max(1) }
    }

    /// The longest prompt and answer together, in tokens.
    pub fn context(&self) -> i64 {
        self.model.config().max_position_embeddings
    }

    /// Generates all requests. `on_token(request, choice)` is called for every token as it is chosen, in order within a
    /// request; what it returns decides whether the sequence goes on. A sequence that reaches `max_new_tokens` or the end
    /// of the context ends there.
    ///
    /// All requests are checked before the first token.
    pub fn generate(
        &self,
        requests: &[Request],
        mut on_token: impl FnMut(usize, Choice) -> Next,
    ) -> Result<(), GenerateError> {
        for (index, request) in requests.iter().enumerate() {
            self.check_at(index, request)?;
        }
        let _no_grad = tch::no_grad_guard();
        let slots = self.slots.min(requests.len().max(1));
        let mut run = Run {
            model: self.model,
            requests,
            cache: KvCache::new(self.model.config(), slots, self.model.kind(), self.model.device()),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            waiting: (0..requests.len()).collect(),
            prompt_logits: None,
        };
        loop {
            run.admit(&mut on_token)?;
            if run.slots.iter().all(|slot| slot.active.is_none()) {
                return Ok(());
            }
            run.step(&mut on_token)?;
        }
    }

    /// What is wrong with a request, if anything is; the error's `index` is 0.
    ///
    /// # Errors
    /// See [`GenerateError`].
    pub fn check(&self, request: &Request) -> Result<(), GenerateError> {
        self.check_at(0, request)
    }

    fn check_at(&self, index: usize, request: &Request) -> Result<(), GenerateError> {
        let config = self.model.config();
        let prompt = request.prompt.len();
        if prompt as i64 >= config.max_position_embeddings {
            return Err(GenerateError::PromptTooLong { index, prompt, context: config.max_position_embeddings });
        }
        if prompt == 0 || request.max_new_tokens == 0 {
            let what = if prompt == 0 { "the prompt has no tokens" } else { "max_new_tokens is 0" };
            return Err(GenerateError::Prompt { index, what: what.into() });
        }
        if let Some(id) = request.prompt.iter().find(|id| !(0..config.vocab_size).contains(*id)) {
            let what = format!("token id {id} is outside the model's vocabulary of {}", config.vocab_size);
            return Err(GenerateError::Prompt { index, what });
        }
        request.sampling.check().map_err(GenerateError::Sampling)
    }
}

/// The state of one call of [`Engine::generate`].
struct Run<'a> {
    model: &'a Llama,
    requests: &'a [Request],
    cache: KvCache,
    slots: Vec<Slot>,
    waiting: VecDeque<usize>,
    /// Logits after the prompt of this request, for the next ones with the same prompt.
    prompt_logits: Option<(usize, Vec<f32>)>,
}

impl Run<'_> {
    /// Fills idle slots with waiting requests and chooses the first token of each.
    fn admit(&mut self, on_token: &mut impl FnMut(usize, Choice) -> Next) -> Result<(), GenerateError> {
        while let Some(slot) = self.slots.iter().position(|slot| slot.active.is_none()) {
            let Some(index) = self.waiting.pop_front() else { return Ok(()) };
            let request = &self.requests[index];
            let room = self.model.config().max_position_embeddings as usize - request.prompt.len();
            let limit = request.max_new_tokens.min(room);
            let mut logits = self.prompt_in_slot(index, slot)?;
            let vocab = logits.len();
            check_finite(&logits, index, request.prompt.len() as i64)?;
            let mut sampler = Sampler::new(request.sampling.clone(), request.seed, &request.prompt, vocab);
            let choice = sampler.choose(&mut logits);
            self.slots[slot].length = request.prompt.len() as i64;
            self.slots[slot].prompt_of = Some(index);
            if on_token(index, choice) == Next::Continue && limit > 1 {
                self.slots[slot].active = Some(Active { request: index, sampler, last: choice.id, produced: 1, limit });
            }
        }
        Ok(())
    }

    /// Brings the prompt of request `index` into the cache of `slot`, by copying it from a slot that holds the same one
    /// or by computing it; returns the logits after it, `[vocab]`.
    fn prompt_in_slot(&mut self, index: usize, slot: usize) -> Result<Vec<f32>, GenerateError> {
        let prompt = &self.requests[index].prompt;
        let length = prompt.len() as i64;
        let same = |other: Option<usize>| other.is_some_and(|other| self.requests[other].prompt == *prompt);
        let holder = [slot].into_iter().chain(0..self.slots.len()).find(|&slot| same(self.slots[slot].prompt_of));
        if let (Some(holder), Some((of, logits))) = (holder, &self.prompt_logits)
            && same(Some(*of))
        {
            if holder != slot {
                self.cache.copy_slot(holder, slot, length);
            }
            return Ok(logits.clone());
        }
        self.cache.reserve(length + 1).map_err(memory)?;
        let device = self.model.device();
        let ids = Tensor::from_slice(prompt).to_device(device).unsqueeze(0);
        let positions = Tensor::arange(length, (Kind::Int64, device)).unsqueeze(0);
        let mut attend = Prefill { cache: &mut self.cache, slot };
        let hidden = self.model.hidden_states(&ids, &positions, &mut attend);
        let logits = to_floats(&self.model.logits(&hidden.narrow(1, length - 1, 1)));
        self.prompt_logits = Some((index, logits.clone()));
        Ok(logits)
    }

    /// One token for every active sequence.
    fn step(&mut self, on_token: &mut impl FnMut(usize, Choice) -> Next) -> Result<(), GenerateError> {
        let device = self.model.device();
        let lengths: Vec<i64> = self.slots.iter().map(|slot| slot.length).collect();
        let longest = lengths.iter().max().copied().unwrap_or(0);
        self.cache.reserve(longest + 1).map_err(memory)?;
        let last: Vec<i64> =
            self.slots.iter().map(|slot| slot.active.as_ref().map_or(0, |active| active.last)).collect();
        let ids = Tensor::from_slice(&last).to_device(device).unsqueeze(1);
        let positions = Tensor::from_slice(&lengths).to_device(device).unsqueeze(1);
        let mut attend = Decode::new(&mut self.cache, &lengths);
        let hidden = self.model.hidden_states(&ids, &positions, &mut attend);
        let mut logits = to_floats(&self.model.logits(&hidden));
        let vocab = logits.len() / self.slots.len();
        let chosen: Vec<Option<Result<Choice, GenerateError>>> =
            (self.slots.par_iter_mut(), logits.par_chunks_mut(vocab))
                .into_par_iter()
                .map(|(slot, logits)| {
                    let active = slot.active.as_mut()?;
                    slot.length += 1;
                    Some(check_finite(logits, active.request, slot.length).map(|()| active.sampler.choose(logits)))
                })
                .collect();
        for (slot, choice) in self.slots.iter_mut().zip(chosen) {
            let (Some(active), Some(choice)) = (slot.active.as_mut(), choice) else { continue };
            let choice = choice?;
            active.last = choice.id;
            active.produced += 1;
            let full = active.produced == active.limit;
            let prompt = self.requests[active.request].prompt.len();
            if on_token(active.request, choice) == Next::Stop || full {
                // The prompt stays for others; what the idle row computes goes behind it.
                slot.active = None;
                slot.length = prompt as i64;
            }
        }
        Ok(())
    }
}

fn check_finite(logits: &[f32], index: usize, tokens: i64) -> Result<(), GenerateError> {
    // A NaN or an infinity anywhere makes the sum one.
    match logits.iter().sum::<f32>().is_finite() {
        true => Ok(()),
        false => Err(GenerateError::NotFinite { index, tokens }),
    }
}

fn memory(error: tch::TchError) -> GenerateError {
    GenerateError::Memory(error.to_string())
}
