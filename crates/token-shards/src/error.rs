//! Errors of shards.

use std::io;
use std::path::{Path, PathBuf};

/// The reason why a shard cannot be read or written. Each message is one sentence that names the file and says what
/// is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The system refused to open, read or write.
    #[error("{}: {action}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The attempted operation.
        action: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// The content is faulty.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The fault, and what to do.
        problem: String,
    },
    /// The atomic writer failed.
    #[error(transparent)]
    Dataset(#[from] dataset::Error),
}

/// The result of this crate's functions.
pub type Result<T, E = ShardError> = std::result::Result<T, E>;

/// Turns an I/O error into [`ShardError::Io`].
pub(crate) fn io<'a>(path: &'a Path, action: &'static str) -> impl Fn(io::Error) -> ShardError + 'a {
    move |cause| ShardError::Io { path: path.to_path_buf(), action, cause }
}

/// A [`ShardError::File`].
pub(crate) fn bad(path: &Path, problem: impl Into<String>) -> ShardError {
    ShardError::File { path: path.to_path_buf(), problem: problem.into() }
}
