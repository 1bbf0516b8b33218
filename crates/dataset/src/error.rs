//! Errors, each with its place in the file.

use std::fmt;
use std::path::{Path, PathBuf};

/// The place of a record in its file, printed as `file:line`, or `file: row N` for Parquet and for a list.
///
/// Lines, rows and the records of a list are counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file as the caller named it.
    pub path: PathBuf,
    /// Line (or row) number from 1.
    pub number: u64,
    /// True for files that have rows instead of lines (Parquet).
    pub is_row: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let number = self.number;
        if self.is_row { write!(f, "{path}: row {number}") } else { write!(f, "{path}:{number}") }
    }
}

/// An error of this crate; its text is one sentence for the user.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a file.
    #[error("{}: {what}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operation, such as "cannot open".
        what: &'static str,
        /// The cause.
        cause: std::io::Error,
    },
    /// A record is wrong.
    #[error("{place}: {what}")]
    Bad {
        /// The place of the record.
        place: Place,
        /// What is wrong with the record, and what to change.
        what: String,
    },
    /// A whole file is wrong, or cannot hold the data to be written.
    #[error("{}: {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with the file, and what to change.
        what: String,
    },
    /// A value that is not part of a file yet.
    #[error("{0}")]
    Value(#[from] Invalid),
}

/// A message about a value that is not a valid record, starting with the field (`messages[2].role: ...`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    /// Adds an outer path to the message: `inside("messages[2]")` turns `role: ...` into `messages[2].role: ...`.
    pub(crate) fn inside(self, outer: &str) -> Self {
        let dot = if self.0.starts_with(['[', ':']) { "" } else { "." };
        Self(format!("{outer}{dot}{}", self.0))
    }
}

/// The result type of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Turns an I/O error into [`Error::Io`]: `.map_err(io(path, "cannot open"))`.
pub(crate) fn io<'a>(path: &'a Path, what: &'static str) -> impl Fn(std::io::Error) -> Error + 'a {
    move |cause| Error::Io { path: path.to_path_buf(), what, cause }
}
