//! What the server is told at its start.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

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

pub(crate) type Handler = Arc<dyn Fn(Value) -> Result<Value, Failure> + Send + Sync>;
pub(crate) type ReadGauge = Box<dyn Fn() -> f64 + Send + Sync>;

/// Which handler answers which path, and the handlers' own gauges.
#[derive(Default)]
pub struct Routes {
    pub(crate) handlers: Vec<(String, Handler)>,
    pub(crate) gauges: Vec<(String, String, ReadGauge)>,
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

    /// Adds a gauge to `/metrics`; `read` is called at each scrape and has to be quick.
    #[must_use]
    pub fn gauge(
        mut self,
        name: impl Into<String>,
        help: impl Into<String>,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        self.gauges.push((name.into(), help.into(), Box::new(read)));
        self
    }
}
