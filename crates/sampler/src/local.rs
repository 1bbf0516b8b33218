//! A model in this process.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::Context;
use chat::RenderOptions;
use dataset::Message;
use dataset::digest::Fingerprint;
use llama::device;
use llama::{
    Completion, Engine, EngineOptions, GpuKernels, Graphs, Listener, ModelFolder, Next, Request, StopRules, complete,
    locate,
};
use tch::{Device, Kind};

use crate::request::{Answer, SampleError, SampleRequest, StopTokens, Turn};
use crate::{Done, model_digest};

/// Options for loading and running a model.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// A LoRA adapter's folder, merged into the weights.
    pub adapter: Option<PathBuf>,
    /// Sequences decoded together.
    pub max_num_seqs: usize,
    /// The compute type.
    pub kind: Kind,
    /// The device.
    pub device: Device,
    /// Which kernels a GPU uses.
    pub gpu_kernels: GpuKernels,
    /// How decoding steps are repeated on a GPU.
    pub graphs: Graphs,
}

/// A model in this process with its tokenizer and chat template.
pub struct Local {
    name: String,
    folder: ModelFolder,
    /// Kept between calls, so that later prompts reuse cached prefixes.
    engine: RefCell<Engine>,
    options: LocalOptions,
    stop_tokens: StopTokens,
    turn: Turn,
}

impl Local {
    /// Loads a model by its name in the cache or its folder.
    ///
    /// # Errors
    /// When the model does not exist, or it or the adapter cannot be loaded.
    pub fn open(name_or_path: &str, options: LocalOptions) -> anyhow::Result<Self> {
        torch_ext::init();
        // An adapter is merged in float32, and the sum is rounded once.
        let kind = if options.adapter.is_some() { Kind::Float } else { options.kind };
        let mut folder = ModelFolder::load(&locate::locate(name_or_path)?, Some(kind), options.device)?;
        if let Some(adapter) = &options.adapter {
            folder.model.load_adapter(adapter)?;
            folder.model.merge_adapter();
            folder.model = folder.model.to_kind(options.kind);
        }
        folder.model.set_gpu_kernels(options.gpu_kernels);
        let graphs = options.graphs.clone();
        let engine = EngineOptions { slots: options.max_num_seqs, graphs, ..EngineOptions::default() };
        let engine = Engine::with_options(&folder.model, engine)?;
        if let Some(crowding) = engine.crowding() {
            eprintln!("{name_or_path}: {crowding}");
        }
        let engine = RefCell::new(engine);
        let (stop_tokens, turn) = (StopTokens::default(), Turn::default());
        Ok(Self { name: name_or_path.to_owned(), folder, engine, options, stop_tokens, turn })
    }

    /// The name that the user gave.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The model, its tokenizer and its chat template.
    #[must_use]
    pub fn folder(&self) -> &ModelFolder {
        &self.folder
    }

    /// See [`crate::Sampler::set_stop_tokens`].
    pub fn set_stop_tokens(&mut self, stop_tokens: StopTokens) {
        self.stop_tokens = stop_tokens;
    }

    /// See [`crate::Sampler::set_turn`].
    pub fn set_turn(&mut self, turn: Turn) {
        if let Some(template) = &mut self.folder.template {
            template.set_variables(turn.variables.clone());
        }
        self.turn = turn;
    }

    /// The token ids of a conversation's prompt, with tools that the model may call.
    ///
    /// # Errors
    /// When the model has no chat template, or the template refuses the conversation or leaves a part out.
    pub fn encode_prompt(&self, messages: &[Message], tools: &[serde_json::Value]) -> anyhow::Result<Vec<i64>> {
        let (folder, Turn { continues, variables }) = (&self.folder, &self.turn);
        if !continues && (variables.is_empty() || folder.template.is_some()) {
            return Ok(folder.encode_with_tools(messages, tools)?);
        }
        let template = folder.template.as_ref().with_context(|| format!("{} has no chat template", self.name))?;
        let render = RenderOptions { tools: tools.to_vec(), ..RenderOptions::default() };
        let ids = chat::encode_continued(&folder.tokenizer, template, messages, &render)?;
        Ok(ids.into_iter().map(i64::from).collect())
    }

    /// See [`crate::Sampler::describe`].
    #[must_use]
    pub fn describe(&self) -> String {
        let LocalOptions { max_num_seqs, kind, device, .. } = &self.options;
        format!("{} in {} on {device:?}, {max_num_seqs} at a time", self.folder.path.display(), device::name(*kind))
    }

    /// See [`crate::Sampler::identity`].
    ///
    /// # Errors
    /// When the model's files cannot be read.
    pub fn identity(&self) -> anyhow::Result<String> {
        let LocalOptions { adapter, max_num_seqs, kind, device, .. } = &self.options;
        let mut identity = Fingerprint::new()
            .text("model", &model_digest(&self.folder.path)?)
            .text("compute", &format!("{kind:?} {device:?} {max_num_seqs}"))
            .text("stop tokens", &format!("{:?}", self.stop_tokens))
            .text("turn", &self.turn.identity());
        if let Some(adapter) = adapter {
            identity = identity.text("adapter", &model_digest(adapter)?);
        }
        Ok(identity.finish())
    }

    /// See [`crate::Sampler::sample`].
    ///
    /// # Errors
    /// Errors that `done` returns, and failures of the engine.
    pub fn sample(&self, requests: &[SampleRequest], done: Done) -> anyhow::Result<()> {
        let mut engine = self.engine.try_borrow_mut().context("`done` asked the same sampler again")?;
        let (mut encoded, mut stops, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for (place, request) in requests.iter().enumerate() {
            match self.encode(&engine, request) {
                Ok(one) => {
                    encoded.push(one);
                    stops.push(self.stop_rules(request));
                    places.push(place);
                }
                Err(error) => done(place, Err(error))?,
            }
        }
        let mut answers = Answers { places, done, failure: None };
        complete(&mut engine, &self.folder.tokenizer, &encoded, &stops, &mut answers)?;
        answers.failure.map_or(Ok(()), Err)
    }

    /// The log-probabilities (natural logarithm, float32) of the tokens of each continuation, given its prompt.
    /// `pairs` are `(prompt ids, continuation ids)`. Both need at least one token, and together they must fit into
    /// the context.
    ///
    /// # Errors
    /// When a pair does not fit; the error names the first.
    pub fn log_probs(&self, pairs: &[(Vec<i64>, Vec<i64>)]) -> anyhow::Result<Vec<Vec<f32>>> {
        Ok(llama::log_probs(&self.folder.model, pairs)?)
    }

    fn encode(&self, engine: &Engine, request: &SampleRequest) -> Result<Request, SampleError> {
        let prompt = self
            .encode_prompt(&request.messages, &request.tools)
            .map_err(|error| SampleError::Request(error.to_string()))?;
        let request = Request {
            prompt,
            sampling: request.sampling.clone(),
            seed: request.seed,
            max_new_tokens: request.max_new_tokens,
            top_logprobs: 0,
        };
        engine.check(&request).map_err(|error| SampleError::Request(error.to_string()))?;
        Ok(request)
    }

    fn stop_rules(&self, request: &SampleRequest) -> StopRules {
        let StopTokens { ignore_eos, ids } = &self.stop_tokens;
        let own: &[i64] = if *ignore_eos { &[] } else { &self.folder.stop_ids };
        StopRules { ids: [own, ids].concat(), strings: request.stop.clone() }
    }
}

/// Passes completions on as answers.
struct Answers<'a> {
    /// The index of the request of each sequence in the engine.
    places: Vec<usize>,
    done: Done<'a>,
    failure: Option<anyhow::Error>,
}

impl Listener for Answers<'_> {
    fn token(&mut self, _: usize, _: &str) -> Next {
        if self.failure.is_some() { Next::Stop } else { Next::Continue }
    }

    fn done(&mut self, index: usize, completion: Completion) {
        if self.failure.is_some() {
            return;
        }
        let answer = Answer {
            logprob: Some(completion.logprob()),
            tokens: completion.ids.len() as u64,
            text: completion.text,
            finish_reason: completion.finish_reason,
            token_ids: Some(completion.ids),
            token_logprobs: Some(completion.logprobs),
        };
        self.failure = (self.done)(self.places[index], Ok(answer)).err();
    }
}
