//! Finds models by name or path.

use std::path::{Path, PathBuf};

/// The folder of downloaded and imported models, with one folder for each name.
pub fn models_dir() -> anyhow::Result<PathBuf> {
    Ok(pinned::cache_dir()?.join("models"))
}

/// The folder of a model that is given as a path to a folder or as a name in the cache.
pub fn locate(name_or_path: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(name_or_path);
    if path.is_dir() {
        return Ok(path.to_owned());
    }
    if path.is_file() {
        anyhow::bail!("{name_or_path} is a file; bring it into a model folder first: herd model import {name_or_path}");
    }
    let models = models_dir()?;
    let cached = models.join(name_or_path);
    if !name_or_path.contains('/') && cached.is_dir() {
        return Ok(cached);
    }
    if name_or_path.contains('/') || name_or_path.starts_with('.') {
        anyhow::bail!("no model at {name_or_path}: there is no such folder");
    }
    let known = names(&models);
    let known = if known.is_empty() { "it is empty".into() } else { format!("it has {}", known.join(", ")) };
    anyhow::bail!(
        "no model {name_or_path:?}: no such folder, and no such name in {} ({known}); \
         `herd model get {name_or_path}` may fetch it",
        models.display()
    )
}

/// Names of the models in the cache, sorted. Folders that are still being written start with a dot and are left out.
pub fn names(models: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(models).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| entry.path().join("config.json").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}
