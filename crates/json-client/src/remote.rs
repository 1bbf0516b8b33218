//! A client for a JSON server (a model, a verifier): many concurrent requests, each with a timeout and a few
//! attempts, and a result for each request in every case.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use reqwest::{Client, RequestBuilder, Url, header};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::RequestError;
use crate::message::error_text;
use crate::retry::{RetryPolicy, is_transient, retry_after};

/// Maximum number of bytes of a response that are read.
const LARGEST_RESPONSE: usize = 64 << 20;
/// Time limit of a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The message for a successful response that is not JSON.
pub const NOT_JSON: &str = "the response is not JSON";
/// The number of consecutive requests that fail in all attempts before an address counts as dead. From then on, each
/// further request has one attempt; the first success makes the address alive again.
const DEAD_AFTER: u32 = 8;

/// Options for requests.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Maximum number of open requests.
    pub concurrency: usize,
    /// Time limit of one attempt, from the connection to the last byte.
    pub timeout: Duration,
    /// The retry policy.
    pub retry: RetryPolicy,
    /// Sent as a bearer token.
    pub bearer: Option<String>,
}

/// A server that answers `POST` of JSON with JSON.
pub struct Remote {
    runtime: Runtime,
    client: Client,
    /// The address without a slash at its end.
    base: String,
    options: RemoteOptions,
}

/// The address without a slash at its end.
///
/// # Errors
/// When the address is invalid.
pub fn address(flag: &str, url: &str) -> anyhow::Result<String> {
    let parsed = Url::parse(url).with_context(|| format!("{flag} {url:?} is not an address"))?;
    ensure!(
        matches!(parsed.scheme(), "http" | "https") && parsed.has_host(),
        "{flag} {url:?}: an address starts with http:// or https://"
    );
    ensure!(parsed.query().is_none(), "{flag} {url:?}: an address with a query cannot be extended");
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// The HTTP client, and the runtime that it runs on.
///
/// # Errors
/// When the key has characters that a header cannot hold.
pub fn client(options: &RemoteOptions) -> anyhow::Result<(Runtime, Client)> {
    let mut headers = header::HeaderMap::new();
    if let Some(key) = &options.bearer {
        let mut value = header::HeaderValue::from_str(&format!("Bearer {key}"))
            .context("the server's key has characters that a header cannot hold")?;
        value.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, value);
    }
    // Another part of the process may already have installed a provider; then that one is used.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .default_headers(headers)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(options.timeout)
        .user_agent(concat!("herd/", env!("CARGO_PKG_VERSION")))
        .build()?;
    // Two threads, so that answers arrive while the caller processes one.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    Ok((runtime, client))
}

/// The failure of one attempt.
#[derive(Debug)]
pub enum Failure {
    /// A permanent failure.
    Refused(String),
    /// A failure that may not recur, with the pause that the server asks for.
    Transient(String, Option<Duration>),
}

impl Remote {
    /// The server at `url`, from the option `flag`. No request is sent yet, so the server need not be running.
    ///
    /// # Errors
    /// When the address is invalid, or the key has characters that a header cannot hold.
    pub fn new(flag: &str, url: &str, options: RemoteOptions) -> anyhow::Result<Self> {
        let base = address(flag, url)?;
        let (runtime, client) = client(&options)?;
        Ok(Self { runtime, client, base, options })
    }

    /// Like [`Remote::new`], for an OpenAI-compatible server: `http://localhost:8000` and `http://localhost:8000/v1`
    /// are the same.
    ///
    /// # Errors
    /// See [`Remote::new`].
    pub fn openai(flag: &str, url: &str, options: RemoteOptions) -> anyhow::Result<Self> {
        let mut remote = Self::new(flag, url, options)?;
        if Url::parse(&remote.base)?.path() == "/" {
            remote.base.push_str("/v1");
        }
        Ok(remote)
    }

    /// The address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// Whether the address is in this domain or a subdomain.
    #[must_use]
    pub fn is_at(&self, domain: &str) -> bool {
        let below = |host: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        Url::parse(&self.base).is_ok_and(|url| url.host_str().is_some_and(below))
    }

    /// The JSON at `path`, in one attempt of at most ten seconds.
    ///
    /// # Errors
    /// The reason of the failure.
    pub fn get(&self, path: &str) -> Result<Value, String> {
        let request = self.client.get(format!("{}{path}", self.base));
        let request = request.timeout(CONNECT_TIMEOUT.min(self.options.timeout));
        self.runtime.block_on(attempt(request, Ok)).map_err(|failure| match failure {
            Failure::Refused(reason) | Failure::Transient(reason, _) => reason,
        })
    }

    /// Sends every question `(path, body)`. `read` converts each response to an answer, and `done` gets the answers
    /// in the order of arrival. A response that `read` refuses counts as a failed attempt.
    ///
    /// # Errors
    /// Errors that `done` returns; they cancel the open requests.
    pub fn ask_all<T: Send + 'static>(
        &self,
        questions: impl IntoIterator<Item = (&'static str, Value)>,
        read: fn(Value) -> Result<T, String>,
        done: &mut dyn FnMut(usize, Result<T, RequestError>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let (mut under_way, mut places) = (JoinSet::new(), HashMap::new());
            let mut waiting = questions.into_iter().enumerate();
            let mut failures = 0;
            loop {
                while under_way.len() < self.options.concurrency.max(1) {
                    let Some((place, (path, body))) = waiting.next() else { break };
                    let (client, url) = (self.client.clone(), format!("{}{path}", self.base));
                    let mut retry = self.options.retry.clone();
                    if failures >= DEAD_AFTER {
                        retry.retries = 0;
                    }
                    let task = under_way.spawn(async move { ask(&client, url, body.to_string(), &retry, read).await });
                    places.insert(task.id(), place);
                }
                let Some(joined) = under_way.join_next_with_id().await else { return Ok(()) };
                let (id, answer) = match joined {
                    Ok((id, answer)) => (id, answer),
                    Err(error) => (error.id(), Err(RequestError::Request(format!("a defect of the client: {error}")))),
                };
                failures = if matches!(answer, Err(RequestError::NoAnswer { .. })) { failures + 1 } else { 0 };
                let place = places.remove(&id).context("an answer to nothing that was asked")?;
                done(place, answer)?;
            }
        })
    }
}

/// Gets one answer, in as many attempts as the policy allows.
async fn ask<T>(
    client: &Client,
    url: String,
    body: String,
    retry: &RetryPolicy,
    read: fn(Value) -> Result<T, String>,
) -> Result<T, RequestError> {
    let mut attempts = 0;
    loop {
        let request = client.post(&url).header(header::CONTENT_TYPE, "application/json").body(body.clone());
        match attempt(request, read).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Refused(reason)) => return Err(RequestError::Refused { url, reason }),
            Err(Failure::Transient(reason, _)) if attempts >= retry.retries => {
                return Err(RequestError::NoAnswer { url, attempts: attempts + 1, reason });
            }
            Err(Failure::Transient(_, asked)) => tokio::time::sleep(retry.pause(attempts, asked)).await,
        }
        attempts += 1;
    }
}

/// Sends a request once; `read` converts the JSON of the response.
///
/// # Errors
/// The failure, and whether a later attempt may succeed.
pub async fn attempt<T>(request: RequestBuilder, read: fn(Value) -> Result<T, String>) -> Result<T, Failure> {
    let failed = |error: reqwest::Error| Failure::Transient(sentence(&error), None);
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    let asked = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|value| retry_after(value, SystemTime::now()));
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST_RESPONSE {
            return Err(Failure::Refused(format!("the response is larger than {LARGEST_RESPONSE} bytes")));
        }
    }
    if !status.is_success() {
        let reason = format!("{status}: {}", error_text(&String::from_utf8_lossy(&bytes)));
        return Err(match is_transient(status.as_u16()) {
            true => Failure::Transient(reason, asked),
            false => Failure::Refused(reason),
        });
    }
    // A proxy may truncate a response or replace it by its own page; the next response may be complete.
    let parsed = serde_json::from_slice(&bytes).map_err(|error| format!("{NOT_JSON}: {error}"));
    parsed.and_then(read).map_err(|reason| Failure::Transient(reason, None))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_whole_name() {
        let is_at = |url: &str| {
            let (retry, timeout) = (RetryPolicy::default(), Duration::from_secs(1));
            let options = RemoteOptions { concurrency: 1, timeout, retry, bearer: None };
            Remote::new("--endpoint", url, options).unwrap().is_at("openai.com")
        };
        assert!(is_at("https://openai.com/v1") && is_at("https://api.openai.com/v1"));
        assert!(!is_at("https://notopenai.com/v1") && !is_at("https://openai.com.example.org/v1"));
    }
}
