//! The inputs of a run, identified by content.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use dataset::digest::{self, Fingerprint};
use serde::{Deserialize, Serialize};

/// A file or folder that a run reads, or another input with known content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The configuration key that names the input.
    pub key: String,
    /// The path of the input. For inputs that are not files: their name, such as a URL.
    pub path: String,
    /// For training data: how many times an epoch contains each record.
    pub weight: Option<f64>,
    /// SHA-256: of a file, over its content; of a model folder, over the names and digests of its files.
    pub sha256: String,
}

impl Input {
    /// The input for a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn file(key: &str, path: &Path) -> anyhow::Result<Self> {
        let sha256 = digest::file(path).with_context(|| format!("--{}", key.replace('_', "-")))?;
        Ok(Self { key: key.into(), path: shown(path), weight: None, sha256 })
    }

    /// The input for a model folder, digested as by [`model_folder`].
    ///
    /// # Errors
    /// When a file of the folder cannot be read.
    pub fn model(key: &str, folder: &Path) -> anyhow::Result<Self> {
        let sha256 = model_folder(Fingerprint::new(), folder)?.finish();
        Ok(Self { key: key.into(), path: shown(folder), weight: None, sha256 })
    }

    /// An input that is not a file: its digest is that of `content`.
    #[must_use]
    pub fn other(key: &str, name: &str, content: &str) -> Self {
        Self { key: key.into(), path: name.into(), weight: None, sha256: digest::bytes(content.as_bytes()) }
    }

    /// Sets the weight of the records.
    #[must_use]
    pub fn weighted(self, weight: f64) -> Self {
        Self { weight: Some(weight), ..self }
    }

    /// Whether both inputs have the same content.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        (&self.key, self.weight, &self.sha256) == (&other.key, other.weight, &other.sha256)
    }
}

/// The absolute path, so that the record does not depend on the working directory.
fn shown(path: &Path) -> String {
    let absolute: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.to_string_lossy().into_owned()
}

/// Adds the content of a model folder to a fingerprint: weights, configuration, tokenizer and chat template, byte by
/// byte.
///
/// # Errors
/// When a file cannot be read.
pub fn model_folder(mut print: Fingerprint, folder: &Path) -> anyhow::Result<Fingerprint> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| {
        [".json", ".jinja", ".safetensors"].iter().any(|ending| name.ends_with(ending)) && name != crate::RECORD
    });
    // Templates for conversations with tools are in a separate folder.
    let templates = fs::read_dir(folder.join("additional_chat_templates")).into_iter().flatten().flatten();
    let templates = templates.map(|entry| format!("additional_chat_templates/{}", entry.file_name().to_string_lossy()));
    names.extend(templates.filter(|name| name.ends_with(".jinja")));
    names.sort();
    for name in names {
        print = print.file(&name, folder.join(&name))?;
    }
    Ok(print)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_of_a_model_folder_counts() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("config.json", "{}");
        write("model.safetensors", "weights");
        let of = || Input::model("model", dir.path()).unwrap();
        let first = of();
        // Texts that no stage reads, and the record of the run that produced the model.
        write("README.md", "text");
        write("run.json", "{}");
        assert!(first.same(&of()));
        // A template for tools.
        fs::create_dir(dir.path().join("additional_chat_templates")).unwrap();
        assert!(first.same(&of()));
        write("additional_chat_templates/tool_use.jinja", "{{ tools }}");
        let with_tools = of();
        assert!(!first.same(&with_tools));
        write("additional_chat_templates/tool_use.jinja", "{{ other }}");
        assert!(!with_tools.same(&of()));
        fs::remove_dir_all(dir.path().join("additional_chat_templates")).unwrap();
        // The size is the same; the content differs.
        write("model.safetensors", "weighty");
        assert!(!first.same(&of()));
        write("model.safetensors", "weights");
        assert!(first.same(&of()));
        assert!(!first.same(&of().weighted(2.0)));
    }
}
