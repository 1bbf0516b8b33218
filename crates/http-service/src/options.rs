//! What the server is told at its start.

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
    /// Where to listen; port 0 takes a free one. Default `127.0.0.1:8080`.
    pub addr: SocketAddr,
    /// Handlers that run at the same time. Default: the number of processors.
    pub threads: usize,
    /// Items that may wait beyond those that run; more are answered with 429. Default 1024.
    pub queue: usize,
    /// Largest request body in bytes; more is answered with 413. Default 32 MiB.
    pub max_body_bytes: usize,
    /// Open connections; more wait in the operating system. Default 256. The memory that request bodies can take is
    /// at most this times `max_body_bytes`.
    pub max_connections: usize,
    /// How long a client may take to send a request's headers, and may idle between two requests. Default 30 s.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body; then 408. Default 60 s.
    pub body_timeout: Duration,
    /// How long a client may leave an answer unread before it is disconnected. Default 60 s.
    pub write_timeout: Duration,
    /// How long requests may go on after SIGTERM or SIGINT. Default 60 s.
    pub drain_timeout: Duration,
    /// What clients have to send as a bearer token; without it, 401. `/healthz` and `/metrics` answer everybody. Default: none.
    pub token: Option<String>,
}

/// The token in an environment variable; none where it is not set, or empty.
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

/// The request is wrong: one sentence that says what to change. Answered with 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRequest(pub String);

/// Why a handler has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The request is wrong: 400.
    BadRequest(String),
    /// The worker could not do it: 500.
    Internal(String),
}

impl From<BadRequest> for Failure {
    fn from(bad: BadRequest) -> Self {
        Self::BadRequest(bad.0)
    }
}

/// A request in flight, until this is dropped: draining waits for it. A handler that streams keeps it in the answer's
/// body.
pub struct Ticket {
    pub(crate) _in_flight: Box<dyn Send + Sync>,
}

/// A future that a [`Service`] returns.
pub type Answer = Pin<Box<dyn Future<Output = Response> + Send>>;

/// A handler that makes its own responses, streams for instance, within the worker's limits.
pub trait Service: Send + Sync + 'static {
    /// Answers a request with this body. When the client goes away, the future or the response's body is dropped.
    fn call(&self, body: Vec<u8>, ticket: Ticket) -> Answer;
    /// The response where the worker itself refuses: too large, too slow, shutting down.
    fn refuse(&self, status: StatusCode, sentence: String) -> Response;
}

pub(crate) type Handler = Arc<dyn Fn(Value) -> Result<Value, Failure> + Send + Sync>;
pub(crate) type ReadGauge = Box<dyn Fn() -> f64 + Send + Sync>;
pub(crate) type Page = Arc<dyn Fn() -> Value + Send + Sync>;
pub(crate) type PageOf = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;
/// Makes the body of an error from its status and sentence.
pub(crate) type ErrorBody = Arc<dyn Fn(StatusCode, &str) -> Value + Send + Sync>;

/// Whether a number at `/metrics` goes up and down or up only.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MetricKind {
    Gauge,
    Counter,
}

/// Which handler answers which path, and the handlers' own gauges.
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
    /// No routes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `POST path` calls `handler` with the body, or with each item of the body where that is a list.
    ///
    /// The handler is an ordinary blocking function; [`Options::threads`] of them run at the same time. It has to end
    /// by itself: the worker has a limit for everything but the handler's own time. Its error is a
    /// [`BadRequest`] or a [`Failure`].
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

    /// `GET path` is answered by what `page` returns, which has to be quick.
    #[must_use]
    pub fn get(mut self, path: impl Into<String>, page: impl Fn() -> Value + Send + Sync + 'static) -> Self {
        self.pages.push((path.into(), Arc::new(page)));
        self
    }

    /// `GET prefix` followed by any name is answered by what `page` returns for the name, or with 404.
    #[must_use]
    pub fn get_of(
        mut self,
        prefix: impl Into<String>,
        page: impl Fn(&str) -> Option<Value> + Send + Sync + 'static,
    ) -> Self {
        self.pages_of.push((prefix.into(), Arc::new(page)));
        self
    }

    /// The body of what the worker itself answers where no handler is asked (404, 405, health), in the place of
    /// `{"error": sentence}`.
    #[must_use]
    pub fn error_body(mut self, body: impl Fn(StatusCode, &str) -> Value + Send + Sync + 'static) -> Self {
        self.error_body = Some(Arc::new(body));
        self
    }

    /// What `/healthz` says that this is: a service's name and its version.
    #[must_use]
    pub fn identity(mut self, service: impl Into<String>, version: impl Into<String>) -> Self {
        self.identity = Some((service.into(), version.into()));
        self
    }

    /// Lets web pages of this origin (`*` for all) ask this server from a browser.
    #[must_use]
    pub fn cors(mut self, origin: Option<HeaderValue>) -> Self {
        self.cors = origin;
        self
    }

    /// Adds a gauge to `/metrics`; `read` is called at each scrape and has to be quick.
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

    /// Adds a counter to `/metrics`; what `read` returns never falls.
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
