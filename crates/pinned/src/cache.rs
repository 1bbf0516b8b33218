//! The folder for downloads and prepared files.

use std::path::PathBuf;

/// `HERD_CACHE`, else `herd` in the XDG cache folder (`XDG_CACHE_HOME`, else `~/.cache`).
pub fn cache_dir() -> anyhow::Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("HERD_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("herd")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/herd")));
    cache.ok_or_else(|| anyhow::anyhow!("no cache folder: none of HERD_CACHE, XDG_CACHE_HOME and HOME is set"))
}
