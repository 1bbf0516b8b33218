//! Errors between processes, each as one sentence.

use std::ffi::{CStr, c_char};

/// An error between processes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The launcher's variables contradict each other, or one is missing.
    #[error("{0}")]
    Variables(String),
    /// The processes did not find each other.
    #[error("{0}")]
    Join(String),
    /// The processes differ in their configuration, or call collectives in another order or with another length.
    #[error("{0}")]
    Unequal(String),
    /// A process is gone, stopped, or late.
    #[error("{0}")]
    Lost(String),
    /// libtorch reported an error.
    #[error("libtorch: {0}")]
    Refused(String),
}

/// Converts the result of a function of `cpp/`.
pub(crate) fn check(message: *mut c_char) -> Result<(), Error> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null message is a NUL-terminated string from strdup that nobody else holds.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    unsafe { libc::free(message.cast()) };
    // The rest of the message is the C++ stack.
    let text = text.split("\nException raised from").next().unwrap_or_default();
    Err(Error::Refused(text.trim_end().replace('\n', " ")))
}
