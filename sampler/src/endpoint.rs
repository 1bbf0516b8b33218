//! An OpenAI-compatible server.

use std::time::{Duration, SystemTime};

use anyhow::{Context, bail, ensure};
use dataset::digest::Fingerprint;
use reqwest::{Client, Response, Url, header};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::Done;
use crate::request::{Answer, SampleError, SampleRequest, StopTokens};
use crate::retry::{RetryPolicy, is_transient, retry_after};
use crate::wire;

/// The most bytes of a response that are read.
const LARGEST_RESPONSE: usize = 64 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
        }
    }
}

/// An OpenAI-compatible server and one of its models.
pub struct Endpoint {
    runtime: Runtime,
    client: Client,
    /// The base, `http://host:port/v1`, without a slash at its end.
    url: String,
    model: String,
    length_field: &'static str,
    options: EndpointOptions,
    stop_tokens: StopTokens,
}

/// How one attempt failed.
enum Failure {
    /// For good.
    Refused(String),
    /// Perhaps not the next time; the pause that the server asks for.
    Transient(String, Option<Duration>),
}

impl Endpoint {
    /// Takes the server at `url` (`http://localhost:8000` and `http://localhost:8000/v1` are the same) and, where no model
    /// is named, asks for its list.
    ///
    /// # Errors
    /// When the address makes no sense, the key has characters that a header cannot hold, or no model is named and the
    /// server does not list exactly one.
    pub fn open(url: &str, options: EndpointOptions) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).with_context(|| format!("--endpoint {url:?} is not an address"))?;
        ensure!(
            matches!(parsed.scheme(), "http" | "https") && parsed.has_host(),
            "--endpoint {url:?}: an address starts with http:// or https://"
        );
        ensure!(parsed.query().is_none(), "--endpoint {url:?}: an address with a query cannot be extended");
        let mut base = parsed.as_str().trim_end_matches('/').to_owned();
        if parsed.path() == "/" {
            base.push_str("/v1");
        }
        let mut headers = header::HeaderMap::new();
        if let Some(key) = &options.api_key {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {key}"))
                .context("the server's key has characters that a header cannot hold")?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        // Another part of the process may have chosen a provider already: then that one serves.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(options.timeout)
            .user_agent(concat!("herd/", env!("CARGO_PKG_VERSION")))
            .build()?;
        // Two threads, so that answers arrive while the caller works on one.
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        // OpenAI's newest models refuse the old name, other servers may not know the new one.
        let openai = parsed.host_str().is_some_and(|host| host.ends_with("openai.com"));
        let mut endpoint = Self {
            runtime,
            client,
            url: base,
            model: String::new(),
            length_field: if openai { "max_completion_tokens" } else { "max_tokens" },
            options,
            stop_tokens: StopTokens::default(),
        };
        endpoint.model = match endpoint.options.model.clone() {
            Some(model) => model,
            None => endpoint.only_model()?,
        };
        Ok(endpoint)
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

    /// See [`crate::Sampler::describe`].
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{} at {}, {} requests at a time", self.model, self.url, self.options.concurrency)
    }

    /// See [`crate::Sampler::identity`].
    #[must_use]
    pub fn identity(&self) -> String {
        let stop_tokens = format!("{:?}", self.stop_tokens);
        let identity = Fingerprint::new().text("url", &self.url).text("model", &self.model);
        identity.text("stop tokens", &stop_tokens).finish()
    }

    /// See [`crate::Sampler::sample`].
    ///
    /// # Errors
    /// What `done` returns.
    pub fn sample(&self, requests: &[SampleRequest], done: Done) -> anyhow::Result<()> {
        let url = format!("{}/chat/completions", self.url);
        self.runtime.block_on(async {
            // Dropping the set at an error of `done` cancels what is under way.
            let mut under_way = JoinSet::new();
            let mut places = std::collections::HashMap::new();
            let mut waiting = requests.iter().enumerate();
            loop {
                while under_way.len() < self.options.concurrency.max(1) {
                    let Some((place, request)) = waiting.next() else { break };
                    let body =
                        wire::body(request, &self.model, self.length_field, self.options.logprobs, &self.stop_tokens);
                    let (client, url, retry) = (self.client.clone(), url.clone(), self.options.retry.clone());
                    let task = under_way.spawn(async move { ask(&client, &url, body.to_string(), &retry).await });
                    places.insert(task.id(), place);
                }
                let Some(joined) = under_way.join_next_with_id().await else { return Ok(()) };
                let (id, answer) = match joined {
                    Ok((id, answer)) => (id, answer),
                    Err(error) => (error.id(), Err(SampleError::Request(format!("a defect of the client: {error}")))),
                };
                let place = places.remove(&id).context("an answer to nothing that was asked")?;
                done(place, answer)?;
            }
        })
    }

    /// The only model that the server lists.
    fn only_model(&self) -> anyhow::Result<String> {
        let url = format!("{}/models", self.url);
        let list = self.runtime.block_on(async {
            let response = self.client.get(&url).timeout(CONNECT_TIMEOUT.min(self.options.timeout)).send().await;
            let response = response.map_err(|error| sentence(&error))?;
            let (status, text) = (response.status(), read(response).await.map_err(|failure| failure.into_text())?);
            match status.is_success() {
                true => serde_json::from_str::<Value>(&text).map_err(|error| error.to_string()),
                false => Err(format!("{status}: {}", wire::error_text(&text))),
            }
        });
        let list = list.map_err(anyhow::Error::msg).with_context(|| {
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
}

impl Failure {
    fn into_text(self) -> String {
        match self {
            Self::Refused(text) | Self::Transient(text, _) => text,
        }
    }
}

/// One answer, in as many attempts as the policy allows.
async fn ask(client: &Client, url: &str, body: String, retry: &RetryPolicy) -> Result<Answer, SampleError> {
    let mut attempt = 0;
    loop {
        match attempt_once(client, url, body.clone()).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Refused(reason)) => return Err(SampleError::Refused { url: url.to_owned(), reason }),
            Err(Failure::Transient(reason, _)) if attempt >= retry.retries => {
                return Err(SampleError::NoAnswer { url: url.to_owned(), attempts: attempt + 1, reason });
            }
            Err(Failure::Transient(_, asked)) => tokio::time::sleep(retry.pause(attempt, asked)).await,
        }
        attempt += 1;
    }
}

async fn attempt_once(client: &Client, url: &str, body: String) -> Result<Answer, Failure> {
    let request = client.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
    let response = request.send().await.map_err(|error| Failure::Transient(sentence(&error), None))?;
    let status = response.status();
    let asked = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|value| retry_after(value, SystemTime::now()));
    let text = read(response).await?;
    if !status.is_success() {
        let reason = format!("{status}: {}", wire::error_text(&text));
        return Err(match is_transient(status.as_u16()) {
            true => Failure::Transient(reason, asked),
            false => Failure::Refused(reason),
        });
    }
    // A proxy may cut a response or put a page of its own in its place: the next one may be whole.
    let parsed = serde_json::from_str(&text).map_err(|error| format!("the response is not JSON: {error}"));
    parsed.and_then(|response| wire::answer(&response)).map_err(|reason| Failure::Transient(reason, None))
}

/// The text of a response, within limits.
async fn read(mut response: Response) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Transient(sentence(&error), None))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST_RESPONSE {
            return Err(Failure::Refused(format!("the response is larger than {LARGEST_RESPONSE} bytes")));
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// reqwest's error with its causes, without the address.
fn sentence(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { String::new() };
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}
