//! An HTTP worker around ordinary blocking functions: JSON in, JSON out.
//!
//! `codeexec serve` and `mathverify serve` are this server with their own handlers. A body that is an object is one
//! item. A body that is a list is a batch: the response is a list in the same order, in which a failed item is
//! `{"error": "..."}`.
//!
//! ```no_run
//! use serde_json::{Value, json};
//! use http_service::{BadRequest, Options, Routes};
//!
//! fn double(item: Value) -> Result<Value, BadRequest> {
//!     let n = item["n"].as_i64().ok_or_else(|| BadRequest("n: must be a whole number".into()))?;
//!     Ok(json!({"n": 2 * n}))
//! }
//!
//! http_service::serve(Options::default(), Routes::new().post("/double", double))?;
//! # Ok::<(), http_service::Error>(())
//! ```
//!
//! ```text
//! $ curl localhost:8080/double -d '{"n": 4}'
//! {"n":8}
//! $ curl localhost:8080/double -d '[{"n": 1}, {}]'
//! [{"n":2},{"error":"n: must be a whole number"}]
//! ```
//!
//! | status | when |
//! |---|---|
//! | 200 | a result, or a batch of results and errors |
//! | 400 | the body is not JSON (with line and column), or the handler's [`BadRequest`] |
//! | 401 | [`Options::token`] is set and the request does not send it |
//! | 404, 405 | an unknown path, or a wrong method |
//! | 408 | the body did not arrive within [`Options::body_timeout`] |
//! | 413 | the body is larger than [`Options::max_body_bytes`], or a batch larger than the queue |
//! | 429 | the queue is full; `Retry-After` says when to retry |
//! | 500 | the handler failed ([`Failure::Internal`]) or panicked; the worker continues |
//! | 503 | the worker is draining after SIGTERM or SIGINT |
//!
//! Every response with a status other than 200 is `{"error": "one sentence"}` ([`Routes::error_body`] changes that).
//! `GET /healthz` (and `/health`) answers 200 with the service's name and version ([`Routes::identity`]), or 503
//! while draining; `GET /metrics` is Prometheus text. Items of a client that has disconnected are not run. At SIGTERM
//! or SIGINT, the worker accepts no new work, finishes its current work and returns; a process that then ends has
//! exit code 0.
mod http;
mod metrics;
mod options;
mod pool;
mod server;

pub use options::{Answer, BadRequest, Failure, Options, Routes, Service, Ticket, token_in};
pub use server::{Error, Worker, serve};
