//! Fetches pictures from addresses that clients of a server name. Host rules apply, and only public addresses are contacted.
//!
//! The README lists what is refused, and why.

mod public;
mod rules;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, header, redirect};
use tokio::runtime::Runtime;

pub use public::is_public;
pub use rules::Rule;

/// The reason why a picture is not fetched, as one sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// Maximum number of redirects.
const REDIRECTS: usize = 3;

/// The allowed hosts, and the limits on an answer.
#[derive(Debug, Clone)]
pub struct Options {
    /// The allowed hosts; all others are refused.
    pub rules: Vec<Rule>,
    /// Maximum number of bytes of a picture's file.
    pub max_bytes: u64,
    /// Time limit for one picture, from the first connection to the last byte, including redirects.
    pub timeout: Duration,
}

/// Decides which addresses may be contacted: [`is_public`], except in tests.
type Reachable = fn(IpAddr) -> bool;

/// Fetches pictures.
#[derive(Debug)]
pub struct Fetcher {
    /// `None` only while the fetcher is dropped.
    runtime: Option<Runtime>,
    client: Client,
    options: Options,
    reachable: Reachable,
}

impl Fetcher {
    /// Makes a fetcher. No request is sent yet.
    ///
    /// # Errors
    /// When the system has no certificates, or refuses a thread.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::with(options, is_public, None)
    }

    fn with(options: Options, reachable: Reachable, names: Option<Names>) -> Result<Self, Error> {
        let cannot = |error: &dyn std::error::Error| Error(format!("pictures cannot be fetched: {}", causes(error)));
        // Another part of the process may already have installed a provider; then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(Arc::new(Checked { reachable, names }))
            // A proxy would resolve names itself.
            .no_proxy()
            // Each redirect is checked against the rules.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("herd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| cannot(&error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(|error| cannot(&error))?;
        Ok(Self { runtime: Some(runtime), client, options, reachable })
    }

    /// Fetches the bytes of the picture at an address. It blocks, so asynchronous code must not call it.
    ///
    /// # Errors
    /// One sentence without the content of the response.
    pub fn fetch(&self, address: &str) -> Result<Vec<u8>, Error> {
        let url = rules::allowed(address, &self.options.rules)?;
        let Some(runtime) = &self.runtime else { return Err(Error("pictures are not fetched any more".into())) };
        runtime.block_on(async {
            let limit = self.options.timeout;
            tokio::time::timeout(limit, self.follow(url))
                .await
                .unwrap_or_else(|_| Err(Error(format!("the image did not arrive within {} s", limit.as_secs_f64()))))
        })
    }

    async fn follow(&self, mut url: Url) -> Result<Vec<u8>, Error> {
        for _ in 0..=REDIRECTS {
            // The resolver is not called for numeric addresses.
            if let Some(address) = literal(&url)
                && !(self.reachable)(address)
            {
                return Err(Error(format!("images are not fetched from {address}, which is no public address")));
            }
            let answer = self.client.get(url.clone()).header(header::ACCEPT, "image/*").send().await;
            let answer = answer.map_err(|error| Error(format!("the image cannot be fetched: {}", causes(&error))))?;
            let status = answer.status();
            if status.is_redirection() {
                let to = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
                let to = to.and_then(|to| url.join(to).ok());
                url =
                    to.ok_or_else(|| Error(format!("the image's address answered {status} without a new address")))?;
                rules::check(&url, &self.options.rules).map_err(|error| Error(format!("a redirect: {error}")))?;
                continue;
            }
            if !status.is_success() {
                return Err(Error(format!("the image's address answered {status}")));
            }
            return self.body(answer).await;
        }
        Err(Error(format!("the image's address has more than {REDIRECTS} redirects")))
    }

    async fn body(&self, mut answer: reqwest::Response) -> Result<Vec<u8>, Error> {
        let most = self.options.max_bytes;
        let large = || Error(format!("the image has more than {most} bytes"));
        if answer.content_length().is_some_and(|length| length > most) {
            return Err(large());
        }
        let mut bytes = Vec::new();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if (bytes.len() + chunk.len()) as u64 > most => return Err(large()),
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => return Ok(bytes),
                Err(error) => return Err(Error(format!("the image broke off: {}", causes(&error)))),
            }
        }
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        // A normal drop would block, which asynchronous code must not do.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The address of a numeric host.
fn literal(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// An error with its causes, but without the address, which may contain a secret.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = error.source().or(Some(error));
    while let Some(cause) = next {
        let _ = write!(text, "{}{cause}", if text.is_empty() { "" } else { ": " });
        next = cause.source();
    }
    text
}

/// Resolves the host names of a test.
type Names = fn(&str) -> Vec<IpAddr>;

/// A resolver that removes addresses which must not be contacted. Connections use the remaining addresses.
struct Checked {
    reachable: Reachable,
    names: Option<Names>,
}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let (reachable, names) = (self.reachable, self.names);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found: Vec<SocketAddr> = match names {
                Some(names) => names(&name).into_iter().map(|address| SocketAddr::new(address, 0)).collect(),
                None => tokio::net::lookup_host((name.as_str(), 0)).await?.collect(),
            };
            let some = !found.is_empty();
            let public: Vec<SocketAddr> = found.into_iter().filter(|address| reachable(address.ip())).collect();
            if some && public.is_empty() {
                return Err(Error(format!("{name} has no public address")).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
