//! An OpenAI-compatible server.

use std::time::Duration;

use anyhow::{Context, bail};
use dataset::digest::Fingerprint;

use crate::Done;
use crate::remote::{Remote, RemoteOptions};
use crate::request::{SampleRequest, StopTokens, Turn};
use crate::retry::RetryPolicy;
use crate::wire;

/// How to talk to a server.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// The server's name of the model; without it, the only one that the server lists.
    pub model: Option<String>,
    /// Sent as a bearer token.
    pub api_key: Option<String>,
    /// Requests under way at a time.
    pub concurrency: usize,
    /// The longest that one attempt may take, from the connection to the last byte.
    pub timeout: Duration,
    /// When to ask again.
    pub retry: RetryPolicy,
    /// Ask for log-probabilities.
    pub logprobs: bool,
    /// Send the maximum length as `max_completion_tokens`, which newer OpenAI models and some gateways want instead of
    /// `max_tokens`; OpenAI's own address gets it anyway.
    pub max_completion_tokens: bool,
    /// Leave `seed` out, for servers that refuse it. The answers cannot be repeated then.
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
    /// Takes the server at `url` (`http://localhost:8000` and `http://localhost:8000/v1` are the same) and, where no model
    /// is named, asks for its list.
    ///
    /// # Errors
    /// When the address makes no sense, the key has characters that a header cannot hold, or no model is named and the
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
        // OpenAI's newest models refuse the old name, other servers may not know the new one.
        let newer = options.max_completion_tokens || remote.is_at("openai.com");
        let length_field = if newer { "max_completion_tokens" } else { "max_tokens" };
        let (stop_tokens, turn) = (StopTokens::default(), Turn::default());
        Ok(Self { remote, model, length_field, options, stop_tokens, turn })
    }

    /// The server's name of the model.
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
    /// What `done` returns.
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
