//! Questions and summaries that a model writes about long documents (the Llama 3 paper, section 4.3.4), and the rules for keeping them.
//!
//! A question is about a chunk of some thousand tokens; the record shows the whole passage. It is kept when its quote occurs once in the
//! passage, when the model's answers with the chunk agree, and when its answer without the chunk does not. A summary is made of the
//! summaries of all chunks. Every answer of the model goes through a journal: a resumed run asks nothing twice.

pub mod prompts;
pub mod qa;
pub mod record;
pub mod summary;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use dataset::digest;
use dataset::journal::Journal;
use dataset::{FinishReason, Message};
use llama::SamplingParams;
use run::Progress;
use sampler::{SampleError, SampleRequest, Sampler, sequence_seed};
use serde::{Deserialize, Serialize};

/// A request to the model.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The user's message.
    pub prompt: String,
    /// The number of the answer among those to the same message.
    pub sample: u64,
    /// Temperature.
    pub temperature: f64,
    /// Tokens that the model may write.
    pub max_new_tokens: usize,
}

impl Ask {
    fn key(&self) -> u64 {
        let text = format!("{} {} {}\n{}", self.sample, self.temperature, self.max_new_tokens, self.prompt);
        let hex = digest::bytes(text.as_bytes());
        // JSON readers keep integers up to 2^53.
        u64::from_str_radix(&hex[..13], 16).unwrap_or_default()
    }
}

/// A reply of the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// Whether the reply ended by itself; otherwise it was truncated, or the request failed.
    pub is_whole: bool,
}

/// A model with a journal of its answers.
pub struct Writer<'a> {
    sampler: &'a Sampler,
    journal: Journal<Reply>,
    seed: u64,
    /// Number of answers that the journal already had.
    pub known: u64,
    /// Number of answers that the model gave in this run.
    pub asked: u64,
}

impl<'a> Writer<'a> {
    /// A model with the journal at `path`.
    ///
    /// # Errors
    /// When the journal belongs to another run.
    pub fn open(sampler: &'a Sampler, path: &Path, fingerprint: &str, seed: u64) -> anyhow::Result<Self> {
        Ok(Self { sampler, journal: Journal::open(path, fingerprint)?, seed, known: 0, asked: 0 })
    }

    /// The replies to all questions, in order.
    ///
    /// # Errors
    /// When the model does not answer.
    pub fn ask(&mut self, asks: &[Ask], progress: &Progress) -> anyhow::Result<Vec<Reply>> {
        let mut open: BTreeMap<u64, &Ask> = BTreeMap::new();
        for ask in asks {
            match self.journal.contains(ask.key()) {
                true => self.known += 1,
                false => drop(open.insert(ask.key(), ask)),
            }
        }
        let open: Vec<(u64, &Ask)> = open.into_iter().collect();
        let request = |(key, ask): &(u64, &Ask)| SampleRequest {
            messages: vec![Message::user(ask.prompt.clone())],
            tools: Vec::new(),
            sampling: SamplingParams { temperature: ask.temperature, ..SamplingParams::default() },
            // The seed depends on the question, not on its index among the open ones.
            seed: sequence_seed(self.seed, (*key >> 20) as usize, ask.sample as usize),
            max_new_tokens: ask.max_new_tokens,
            stop: Vec::new(),
        };
        let requests: Vec<SampleRequest> = open.iter().map(request).collect();
        let journal = &mut self.journal;
        self.sampler.sample(&requests, &mut |index, answer| {
            let reply = match answer {
                Ok(answer) => {
                    let is_whole = answer.finish_reason == FinishReason::Stop;
                    Reply { text: answer.text.trim().to_owned(), is_whole }
                }
                Err(SampleError::Request(_)) => Reply { text: String::new(), is_whole: false },
                Err(other) => bail!("{other}; the same command goes on"),
            };
            progress.add(1);
            Ok(journal.insert(open[index].0, reply)?)
        })?;
        self.asked += requests.len() as u64;
        let missing = || Reply { text: String::new(), is_whole: false };
        Ok(asks.iter().map(|ask| self.journal.get(ask.key()).cloned().unwrap_or_else(missing)).collect())
    }
}
