//! The settings of the server.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::Value;

/// The server's address and limits. `Options { addr, ..Options::default() }` changes one of them.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on; port 0 takes a free port. Default `127.0.0.1:8080`.
    pub addr: SocketAddr,
    /// Number of handlers that run at the same time. Default: the number of CPUs.
    pub threads: usize,
    /// Maximum number of waiting items; further ones are answered with 429. Default 1024.
    pub queue: usize,
    /// Maximum size of a request body in bytes; a larger one is answered with 413. Default 32 MiB.
    pub max_body_bytes: usize,
    /// Maximum number of open connections; further ones wait in the operating system. Default 256. Request bodies
    /// take at most this times `max_body_bytes` of memory.
    pub max_connections: usize,
    /// Time limit for a client to send a request's headers, and for idling between two requests. Default 30 s.
    pub header_timeout: Duration,
    /// Time limit for a client to send a request's body; then 408. Default 60 s.
    pub body_timeout: Duration,
    /// Time for which a client may leave a response unread before it is disconnected. Default 60 s.
    pub write_timeout: Duration,
    /// Time limit for running requests after SIGTERM or SIGINT. Default 60 s.
    pub drain_timeout: Duration,
    /// The bearer token that clients must send; without it, 401. `/healthz` and `/metrics` need no token. Default:
    /// none.
    pub token: Option<String>,
}

/// The token in an environment variable; `None` if it is not set or empty.
#[must_use]
pub fn token_in(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|token| !token.is_empty())
}

impl Default for Options {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 8080)),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            queue: 1024,
            max_body_bytes: 32 << 20,
            max_connections: 256,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            drain_timeout: Duration::from_secs(60),
            token: None,
        }
    }
}

/// The request is wrong: a message that says what to change. Answered with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub String);

/// The reason why a handler has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The request is wrong: 400.
    BadRequest(String),
    /// The worker failed: 500.
    Internal(String),
}

impl From<BadRequest> for Failure {
    fn from(bad: BadRequest) -> Self {
        Self::BadRequest(bad.0)
    }
}

/// A request in flight, until this is dropped; draining waits for it. A handler that streams keeps it in the body of
/// the response.
pub struct Ticket {
    pub(crate) _in_flight: Box<dyn Send + Sync>,
}

/// A future that a [`Service`] returns.
pub type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler that makes its own responses, for example streams, within the limits of the worker.
pub trait Service: Send + Sync + 'static {
    /// Answers a request with this body. When the client disconnects, the future or the response's body is dropped.
    fn call(&self, body: Vec<u8>, ticket: Ticket) -> Answer;
    /// The response when the worker itself refuses a request: too large, too slow, shutting down.
    fn refuse(&self, status: StatusCode, sentence: String) -> Response;
}

pub(crate) type Handler = Arc<dyn Fn(Value) -> Result<Value, Failure> + Send + Sync>;
pub(crate) type ReadGauge = Box<dyn Fn() -> f64 + Send + Sync>;
pub(crate) type Page = Arc<dyn Fn() -> Value + Send + Sync>;
pub(crate) type PageOf = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;
/// Makes the body of an error from its status and sentence.
pub(crate) type ErrorBody = Arc<dyn Fn(StatusCode, &str) -> Value + Send + Sync>;

/// Whether a number at `/metrics` goes up and down, or only up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Gauge,
    Counter,
}

/// The handlers by path, and the handlers' own gauges.
#[derive(Default)]
pub struct Routes {
    pub(crate) handlers: Vec<(String, Handler)>,
    pub(crate) services: Vec<(String, Arc<dyn Service>)>,
    pub(crate) pages: Vec<(String, Page)>,
    pub(crate) pages_of: Vec<(String, PageOf)>,
    pub(crate) error_body: Option<ErrorBody>,
    pub(crate) cors: Option<HeaderValue>,
    pub(crate) identity: Option<(String, String)>,
    pub(crate) gauges: Vec<(MetricKind, String, String, ReadGauge)>,
}

impl Routes {
    /// An empty set of routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `POST path` calls `handler` with the body, or with each item of the body if it is a list.
    ///
    /// The handler is an ordinary blocking function; [`Options::threads`] of them run at the same time. It must end
    /// by itself: the worker limits everything except the handler's own time. Its error is a [`BadRequest`] or a
    /// [`Failure`].
    #[must_use]
    pub fn post<F, E>(mut self, path: impl Into<String>, handler: F) -> Self
    where
        F: Fn(Value) -> Result<Value, E> + Send + Sync + 'static,
        E: Into<Failure>,
    {
        let handler = Arc::new(move |item| handler(item).map_err(Into::into));
        self.handlers.push((path.into(), handler));
        self
    }

    /// `POST path` is answered by `service`.
    #[must_use]
    pub fn service(mut self, path: impl Into<String>, service: Arc<dyn Service>) -> Self {
        self.services.push((path.into(), service));
        self
    }

    /// `GET path` is answered with the result of `page`, which must be fast.
    #[must_use]
    pub fn get(mut self, path: impl Into<String>, page: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.pages.push((path.into(), Arc::new(page)));
        self
    }

    /// `GET prefix` followed by any name is answered with the result of `page` for the name, or with 404.
    #[must_use]
    pub fn get_of(
        mut self,
        prefix: impl Into<String>,
        page: impl Fn(&str) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.pages_of.push((prefix.into(), Arc::new(page)));
        self
    }

    /// The body of the worker's own responses outside handlers (404, 405, health), in place of `{"error": sentence}`.
    #[must_use]
    pub fn error_body(mut self, body: impl Fn(StatusCode, &str) -> Value + Send + Sync + 'static) -> Self {
        self.error_body = Some(Arc::new(body));
        self
    }

    /// The service name and version at `/healthz`.
    #[must_use]
    pub fn identity(mut self, service: impl Into<String>, version: impl Into<String>) -> Self {
        self.identity = Some((service.into(), version.into()));
        self
    }

    /// Allows requests from web pages of this origin (`*` for all) in a browser.
    #[must_use]
    pub fn cors(mut self, origin: Option<HeaderValue>) -> Self {
        self.cors = origin;
        self
    }

    /// Adds a gauge to `/metrics`; `read` is called at each scrape and must be fast.
    #[must_use]
    pub fn gauge(
        mut self,
        name: impl Into<String>,
        help: impl Into<String>,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.gauges.push((MetricKind::Gauge, name.into(), help.into(), Box::new(read)));
        self
    }

    /// Adds a counter to `/metrics`; the result of `read` must never decrease.
    #[must_use]
    pub fn counter(
        mut self,
        name: impl Into<String>,
        help: impl Into<String>,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.gauges.push((MetricKind::Counter, name.into(), help.into(), Box::new(read)));
        self
    }
}
