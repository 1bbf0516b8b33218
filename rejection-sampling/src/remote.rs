//! A verifier, or another server of JSON, behind an address: many questions at a time, each with a time limit, a few
//! attempts, and a result in any case.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Client, Url, header};
use sampler::RetryPolicy;
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Questions that fail one after the other, in all of their attempts, until an address counts as dead: from then on
/// each further question has one attempt, and the first that succeeds makes it alive again.
const DEAD_AFTER: u32 = 8;
/// The most bytes of a response that are read.
const LARGEST_RESPONSE: usize = 16 << 20;

/// How to ask.
#[derive(Debug, Clone)]
pub struct RemoteOptions {
    /// Questions under way at a time.
    pub concurrency: usize,
    /// The longest that an attempt may take.
    pub timeout: Duration,
    /// When to ask again.
    pub retry: RetryPolicy,
    /// Sent as a bearer token.
    pub bearer: Option<String>,
}

/// A server that answers `POST` of a JSON object with a JSON object.
pub struct Remote {
    runtime: Runtime,
    client: Client,
    base: String,
    options: RemoteOptions,
}

impl Remote {
    /// The server at `url`; it is not asked yet, so it need not be there.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub fn new(flag: &str, url: &str, options: RemoteOptions) -> anyhow::Result<Self> {
        let parsed = Url::parse(url).with_context(|| format!("{flag} {url:?} is not an address"))?;
        ensure!(
            matches!(parsed.scheme(), "http" | "https") && parsed.has_host() && parsed.query().is_none(),
            "{flag} {url:?}: an address starts with http:// or https:// and has no query"
        );
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = header::HeaderMap::new();
        if let Some(key) = &options.bearer {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {key}"))
                .context("the server's key has characters that a header cannot hold")?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let client = Client::builder()
            .default_headers(headers)
            .timeout(options.timeout)
            .connect_timeout(Duration::from_secs(10))
            .build()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Self { runtime, client, base: parsed.as_str().trim_end_matches('/').to_owned(), options })
    }

    /// Asks every question `(path, body)` and hands each result, or the cause why there is none, to `done` in the order
    /// in which they come.
    ///
    /// # Errors
    /// What `done` returns.
    pub fn ask_all(
        &self,
        questions: Vec<(&'static str, Value)>,
        mut done: impl FnMut(usize, Result<Value, String>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let mut under_way = JoinSet::new();
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
                    under_way.spawn(async move { (place, ask(&client, &url, body.to_string(), &retry).await) });
                }
                let Some(joined) = under_way.join_next().await else { return Ok(()) };
                let (place, answer) = joined.context("a question to a verifier panicked")?;
                failures = if answer.is_ok() { 0 } else { failures + 1 };
                done(place, answer)?;
            }
        })
    }
}

/// How one attempt failed.
enum Failure {
    ForGood(String),
    Passing(String),
}

async fn ask(client: &Client, url: &str, body: String, retry: &RetryPolicy) -> Result<Value, String> {
    let mut attempt = 0;
    loop {
        match attempt_once(client, url, body.clone()).await {
            Ok(value) => return Ok(value),
            Err(Failure::ForGood(reason)) => return Err(format!("{url} refuses it: {reason}")),
            Err(Failure::Passing(reason)) if attempt >= retry.retries => {
                return Err(format!("{url} gave no answer in {} attempts; at last: {reason}", attempt + 1));
            }
            Err(Failure::Passing(_)) => tokio::time::sleep(retry.pause(attempt, None)).await,
        }
        attempt += 1;
    }
}

async fn attempt_once(client: &Client, url: &str, body: String) -> Result<Value, Failure> {
    let passing = |error: reqwest::Error| {
        let reason = if error.is_timeout() { "no answer in time" } else { "no connection" };
        Failure::Passing(reason.into())
    };
    let request = client.post(url).header(header::CONTENT_TYPE, "application/json").body(body);
    let mut response = request.send().await.map_err(passing)?;
    let status = response.status();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(passing)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST_RESPONSE {
            return Err(Failure::ForGood(format!("its response is larger than {LARGEST_RESPONSE} bytes")));
        }
    }
    if !status.is_success() {
        let said: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
        let reason = format!("{status}: {}", said.trim());
        let may_pass = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
        return Err(if may_pass { Failure::Passing(reason) } else { Failure::ForGood(reason) });
    }
    serde_json::from_slice(&bytes).map_err(|_| Failure::Passing("the response is not JSON".into()))
}
