//! An OpenAI-compatible server.

use std::time::Duration;

use anyhow::{Context, bail};
use dataset::digest::Fingerprint;
use json_client::{Remote, RemoteOptions, RetryPolicy};

use crate::Done;
use crate::request::{SampleRequest, StopTokens, Turn};
use crate::wire;

/// Options of a server.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// The model's name on the server; `None` means the only one that the server lists.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Maximum number of open requests.
    pub concurrency: usize,
    /// Time limit of one attempt, from the connection to the last byte.
    pub timeout: Duration,
    /// When to retry.
    pub retry: RetryPolicy,
    /// Whether to request log-probabilities.
    pub logprobs: bool,
    /// Whether to send the maximum length as `max_completion_tokens`, which newer OpenAI models and some gateways
    /// require instead of `max_tokens`. It is always sent to OpenAI's own address.
    pub max_completion_tokens: bool,
    /// Whether to leave out `seed`, for servers that refuse it. The answers then cannot be repeated.
    pub no_seed: bool,
}

impl Default for EndpointOptions {
    fn default() -> Self {
        Self {
            model: None,
            api_key: None,
            concurrency: 16,
            timeout: Duration::from_secs(600),
            retry: RetryPolicy::default(),
            logprobs: false,
            max_completion_tokens: false,
            no_seed: false,
        }
    }
}

/// An OpenAI-compatible server and one of its models.
pub struct Endpoint {
    remote: Remote,
    model: String,
    length_field: &'static str,
    options: EndpointOptions,
    stop_tokens: StopTokens,
    turn: Turn,
}

impl Endpoint {
    /// Uses the server at `url` (`http://localhost:8000` and `http://localhost:8000/v1` are the same). If no model is
    /// named, requests the server's list of models.
    ///
    /// # Errors
    /// When the address is invalid, the key has characters that a header cannot hold, or no model is named and the
    /// server does not list exactly one.
    pub fn open(url: &str, options: EndpointOptions) -> anyhow::Result<Self> {
        let remote = RemoteOptions {
            concurrency: options.concurrency,
            timeout: options.timeout,
            retry: options.retry.clone(),
            bearer: options.api_key.clone(),
        };
        let remote = Remote::openai("--endpoint", url, remote)?;
        let model = match options.model.clone() {
            Some(model) => model,
            None => only_model(&remote)?,
        };
        // OpenAI's newest models refuse the old name; other servers may not know the new one.
        let newer = options.max_completion_tokens || remote.is_at("openai.com");
        let length_field = if newer { "max_completion_tokens" } else { "max_tokens" };
        let (stop_tokens, turn) = (StopTokens::default(), Turn::default());
        Ok(Self { remote, model, length_field, options, stop_tokens, turn })
    }

    /// The model's name on the server.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// See [`crate::Sampler::set_stop_tokens`].
    pub fn set_stop_tokens(&mut self, stop_tokens: StopTokens) {
        self.stop_tokens = stop_tokens;
    }

    /// See [`crate::Sampler::set_turn`].
    pub fn set_turn(&mut self, turn: Turn) {
        self.turn = turn;
    }

    /// See [`crate::Sampler::describe`].
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} at {}, {} requests at a time", self.model, self.remote.url(), self.options.concurrency)
    }

    /// See [`crate::Sampler::identity`].
    #[must_use]
    pub fn identity(&self) -> String {
        let stop_tokens = format!("{:?}", self.stop_tokens);
        let identity = Fingerprint::new().text("url", self.remote.url()).text("model", &self.model);
        identity.text("stop tokens", &stop_tokens).text("turn", &self.turn.identity()).finish()
    }

    /// See [`crate::Sampler::sample`].
    ///
    /// # Errors
    /// Errors that `done` returns.
    pub fn sample(&self, requests: &[SampleRequest], done: Done) -> anyhow::Result<()> {
        let dialect = wire::Dialect {
            length_field: self.length_field,
            logprobs: self.options.logprobs,
            seed: !self.options.no_seed,
        };
        let body = |request| wire::body(request, &self.model, &dialect, &self.stop_tokens, &self.turn);
        let questions = requests.iter().map(|request| ("/chat/completions", body(request)));
        self.remote.ask_all(questions, |response| wire::answer(&response), done)
    }
}

/// The only model that the server lists.
fn only_model(remote: &Remote) -> anyhow::Result<String> {
    let url = format!("{}/models", remote.url());
    let list = remote.get("/models").map_err(anyhow::Error::msg).with_context(|| {
        format!("cannot ask {url} for its models; is the server there? --endpoint-model NAME goes without the list")
    })?;
    let names: Vec<&str> =
        list["data"].as_array().into_iter().flatten().filter_map(|model| model["id"].as_str()).collect();
    match names[..] {
        [only] => Ok(only.to_owned()),
        [] => bail!("{url} lists no model; name one with --endpoint-model"),
        _ => bail!("{url} has several models; choose one with --endpoint-model: {}", names.join(", ")),
    }
}
