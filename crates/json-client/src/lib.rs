//! A client for services that answer `POST` of JSON with JSON: a model's server, a verifier.
//!
//! [`Remote::ask_all`] keeps many requests open, each with a timeout and a few attempts, and gives a result for each request in
//! every case.

mod message;
mod remote;
mod retry;

pub use message::error_text;
pub use remote::{CONNECT_TIMEOUT, Failure, NOT_JSON, Remote, RemoteOptions, address, attempt, client};
pub use retry::RetryPolicy;

/// The permanent failure of a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request is invalid: the chat template refuses it, the prompt is too long, or a value is invalid.
    #[error("{0}")]
    Request(String),
    /// The server refuses the request; a retry would not help.
    #[error("{url} refuses the request: {reason}")]
    Refused {
        /// The address of the request.
        url: String,
        /// The status and the message of the server.
        reason: String,
    },
    /// The server gave no answer in all attempts.
    #[error("{url} gave no answer in {attempts} attempts; at last: {reason}")]
    NoAnswer {
        /// The address of the request.
        url: String,
        /// Number of attempts.
        attempts: u32,
        /// The failure of the last attempt.
        reason: String,
    },
}
