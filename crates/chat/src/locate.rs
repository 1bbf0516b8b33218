//! Finds tokenizers by folder or name.

use std::path::PathBuf;

use anyhow::bail;

/// The folder of a tokenizer that is given as `--tokenizer`: a path to a folder, or the name of a model in the cache.
///
/// # Errors
/// A sentence when there is neither.
pub fn locate_tokenizer(name_or_path: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(name_or_path);
    if path.join("tokenizer.json").is_file() {
        return Ok(path);
    }
    let models = pinned::cache_dir()?.join("models");
    let cached = models.join(name_or_path);
    if !name_or_path.contains('/') && cached.join("tokenizer.json").is_file() {
        return Ok(cached);
    }
    bail!(
        "--tokenizer {name_or_path}: no folder with a tokenizer.json, and no such name in {}; `herd model get {name_or_path}` \
         may fetch it",
        models.display()
    )
}
