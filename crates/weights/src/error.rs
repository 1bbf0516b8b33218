//! Errors of weight files.

use std::io;
use std::path::{Path, PathBuf};

/// The reason why a weight file cannot be read or written. Each message is one sentence that names the file and, if
/// there is one, the tensor, and says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The operating system refused to open, read or write a file.
    #[error("{path}: {action}: {cause}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The attempted operation.
        action: &'static str,
        /// The system's reason.
        cause: io::Error,
    },
    /// The file as a whole is faulty.
    #[error("{path}: {problem}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The fault, and what to do.
        problem: String,
    },
    /// One tensor of the file is faulty.
    #[error("{path}: tensor {}: {problem}", shown(tensor))]
    Tensor {
        /// The file or folder.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The fault, and what to do.
        problem: String,
    },
    /// One value of a GGUF file's metadata is faulty.
    #[error("{path}: metadata {}: {problem}", shown(key))]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The value's key.
        key: String,
        /// The fault, and what to do.
        problem: String,
    },
    /// A tensor is missing.
    #[error("{path}: there is no tensor {}{}", shown(tensor), nearest_text(nearest))]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// The requested name.
        tensor: String,
        /// The most similar existing names, best first.
        nearest: Vec<String>,
    },
}

impl WeightsError {
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_owned(), tensor: tensor.to_owned(), problem: problem.into() }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::Io { path, action, cause }
    }

    pub(crate) fn missing<'a>(path: &Path, tensor: &str, names: impl Iterator<Item = &'a str>) -> Self {
        Self::Missing { path: path.to_owned(), tensor: tensor.to_owned(), nearest: nearest(tensor, names) }
    }
}

/// A name from a file, in quotes, with escaped control characters, shortened if it is very long.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 120;
    match name.char_indices().nth(LONGEST) {
        None => format!("{name:?}"),
        Some((end, _)) => format!("{:?}... ({} bytes)", &name[..end], name.len()),
    }
}

fn nearest_text(nearest: &[String]) -> String {
    match nearest {
        [] => "; the file holds none".into(),
        names => format!("; the nearest names are {}", names.iter().map(|n| shown(n)).collect::<Vec<_>>().join(", ")),
    }
}

/// Up to three of `names` that are most similar to `wanted`.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    const COMPARED: usize = 256;
    let cut = |name: &'a str| name.char_indices().nth(COMPARED).map_or(name, |(end, _)| &name[..end]);
    let mut scored: Vec<(usize, &str)> =
        names.map(|name| (strsim::levenshtein(wanted.get(..COMPARED).unwrap_or(wanted), cut(name)), name)).collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_names_come_first() {
        let names = ["model.norm.weight", "model.layers.0.mlp.up_proj.weight", "lm_head.weight", "model.norm.bias"];
        let error = WeightsError::missing(Path::new("m"), "model.norm.weigth", names.into_iter());
        let text = error.to_string();
        assert!(
            text.starts_with(
                "m: there is no tensor \"model.norm.weigth\"; the nearest names are \"model.norm.weight\""
            ),
            "{text}"
        );
        assert!(shown(&"x".repeat(500)).len() < 160);
        assert_eq!(shown("a\nb"), r#""a\nb""#);
    }
}
