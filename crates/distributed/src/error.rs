//! What can go wrong between processes, each as one sentence.

use std::ffi::{CStr, c_char};

/// What went wrong between processes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The variables of the launcher contradict each other or lack one.
    #[error("{0}")]
    Variables(String),
    /// The processes did not find each other.
    #[error("{0}")]
    Join(String),
    /// The processes do not do the same work: another configuration, or collectives in another order or length.
    #[error("{0}")]
    Unequal(String),
    /// A process is gone, stopped, or late.
    #[error("{0}")]
    Lost(String),
    /// libtorch refused.
    #[error("libtorch: {0}")]
    Refused(String),
}

/// The result of a function of `cpp/`.
pub(crate) fn check(message: *mut c_char) -> Result<(), Error> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null message is a NUL-terminated string from strdup that nobody else holds.
    let text = unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned();
    unsafe { libc::free(message.cast()) };
    // What follows is the C++ stack.
    let text = text.split("\nException raised from").next().unwrap_or_default();
    Err(Error::Refused(text.trim_end().replace('\n', " ")))
}
