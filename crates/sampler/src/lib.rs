//! Samples answers to conversations, from a model in this process ([`Local`]) or from any OpenAI-compatible server
//! ([`Endpoint`]). All stages that sample use this interface.
//!
//! ```no_run
//! use sampler::{SampleRequest, SamplerArgs};
//!
//! # fn sample(args: &SamplerArgs) -> anyhow::Result<()> {
//! let sampler = args.open()?;
//! let request = SampleRequest::new(vec![dataset::Message::user("What is gravity?")], 256);
//! sampler.sample(&[request], &mut |index, answer| {
//!     match answer {
//!         Ok(answer) => println!("{index}: {}", answer.text),
//!         Err(error) => eprintln!("{index} failed: {error}"),
//!     }
//!     Ok(())
//! })
//! # }
//! ```

mod args;
mod endpoint;
mod local;
mod request;
mod seed;
mod wire;
mod workers;

use std::path::Path;

pub use args::{SamplerArgs, Sampling};
pub use endpoint::{Endpoint, EndpointOptions};
pub use json_client::{Remote, RemoteOptions, RetryPolicy};
pub use local::{Local, LocalOptions};
pub use request::{Answer, SampleError, SampleRequest, StopTokens, Turn};
pub use seed::sequence_seed;
pub use workers::{Service, WORKER_TOKEN, Workers};

/// Called once for every request, with its index and its answer, in the order of completion. If it returns an error,
/// sampling ends.
pub type Done<'a> = &'a mut dyn FnMut(usize, Result<Answer, SampleError>) -> anyhow::Result<()>;

/// The source of answers.
pub enum Sampler {
    /// A model in this process.
    Local(Box<Local>),
    /// An OpenAI-compatible server.
    Endpoint(Box<Endpoint>),
}

impl Sampler {
    /// A model in this process, by its name in the cache or by folder, with default options.
    ///
    /// # Errors
    /// When the model cannot be loaded.
    pub fn open_local(name_or_path: &str, options: LocalOptions) -> anyhow::Result<Self> {
        Ok(Self::Local(Box::new(Local::open(name_or_path, options)?)))
    }

    /// Samples an answer to every request and passes each to `done`. A request that fails permanently (a prompt that
    /// does not fit, a server that refuses it or does not answer in all attempts) is passed as an error; the other
    /// requests continue.
    ///
    /// # Errors
    /// Errors that `done` returns, and failures of the whole computation: no memory for the KV cache, weights with
    /// NaN.
    pub fn sample(&self, requests: &[SampleRequest], done: Done) -> anyhow::Result<()> {
        match self {
            Self::Local(local) => local.sample(requests, done),
            Self::Endpoint(endpoint) => endpoint.sample(requests, done),
        }
    }

    /// The model's name in records: the name that the user gave.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Local(local) => local.name(),
            Self::Endpoint(endpoint) => endpoint.model(),
        }
    }

    /// A digest of everything that an answer depends on besides the request, for fingerprints of resumable outputs.
    /// For a local model: its files, its adapter, the compute type, the batch size. For a server: its address and
    /// model name; the model behind them may change.
    ///
    /// # Errors
    /// When the model's files cannot be read.
    pub fn identity(&self) -> anyhow::Result<String> {
        match self {
            Self::Local(local) => local.identity(),
            Self::Endpoint(endpoint) => Ok(endpoint.identity()),
        }
    }

    /// One line for the terminal: the model, its place and its settings.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Local(local) => local.describe(),
            Self::Endpoint(endpoint) => endpoint.describe(),
        }
    }

    /// Sets further tokens that end an answer, or disables the end of turn; for servers too (vLLM's fields).
    pub fn set_stop_tokens(&mut self, stop_tokens: StopTokens) {
        match self {
            Self::Local(local) => local.set_stop_tokens(stop_tokens),
            Self::Endpoint(endpoint) => endpoint.set_stop_tokens(stop_tokens),
        }
    }

    /// Sets how conversations become prompts: whether to continue the last assistant message, and variables of the
    /// chat template (vLLM's fields for a server).
    pub fn set_turn(&mut self, turn: Turn) {
        match self {
            Self::Local(local) => local.set_turn(turn),
            Self::Endpoint(endpoint) => endpoint.set_turn(turn),
        }
    }

    /// The local model, if this is one.
    #[must_use]
    pub fn local(&self) -> Option<&Local> {
        match self {
            Self::Local(local) => Some(local),
            Self::Endpoint(_) => None,
        }
    }
}

/// The digest of every file of a model folder that affects its answers, by name.
pub(crate) fn model_digest(folder: &Path) -> anyhow::Result<String> {
    let mut files: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    files.sort_by_key(std::fs::DirEntry::file_name);
    let mut digest = dataset::digest::Fingerprint::new();
    for file in files {
        let (path, name) = (file.path(), file.file_name().to_string_lossy().into_owned());
        let counts = [".safetensors", ".json", ".jinja", ".model", ".txt"].iter().any(|ending| name.ends_with(ending));
        if counts && path.is_file() {
            digest = digest.file(&name, &path)?;
        }
    }
    // Templates for conversations with tools are in a separate folder.
    for name in weights::side_files::of(folder)? {
        if name.starts_with(weights::side_files::ADDITIONAL_TEMPLATES) {
            digest = digest.file(&name.to_string_lossy(), folder.join(&name))?;
        }
    }
    Ok(digest.finish())
}
