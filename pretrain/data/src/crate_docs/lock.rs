//! Packages of a `Cargo.lock`, and their archives in cargo's cache.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// The part of a `Cargo.lock` that is read.
#[derive(Debug, Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
}

/// A package that is pinned by version and SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its archive; local packages have none.
    pub checksum: Option<String>,
}

/// The packages with these names, in the order of the names; of several versions, the newest.
///
/// # Errors
/// When the file cannot be read, or has no package of a name from a registry.
pub fn packages(lock: &Path, names: &[String]) -> anyhow::Result<Vec<Package>> {
    let text = std::fs::read_to_string(lock).with_context(|| format!("cannot read {}", lock.display()))?;
    let all: Lock = toml::from_str(&text).with_context(|| lock.display().to_string())?;
    names
        .iter()
        .map(|name| {
            let of_name = all.package.iter().filter(|package| package.name == *name && package.checksum.is_some());
            let newest = of_name.max_by_key(|package| numbers(&package.version));
            newest.cloned().with_context(|| {
                format!("{}: --packages {name}: there is no package of that name from a registry", lock.display())
            })
        })
        .collect()
}

/// The numbers of a version, for comparisons.
fn numbers(version: &str) -> Vec<u64> {
    let plain = version.split(['+', '-']).next().unwrap_or_default();
    plain.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The archive of a package in cargo's cache, with the digest that the lock file gives it.
///
/// # Errors
/// When the archive is not there, or is another file than the pinned one.
pub fn archive(cargo_home: &Path, package: &Package) -> anyhow::Result<PathBuf> {
    let cache = cargo_home.join("registry/cache");
    let file = format!("{}-{}.crate", package.name, package.version);
    let registries = std::fs::read_dir(&cache).with_context(|| format!("cannot read {}", cache.display()))?;
    let mut folders: Vec<PathBuf> =
        registries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    folders.sort();
    let path = folders.iter().map(|folder| folder.join(&file)).find(|path| path.is_file()).with_context(|| {
        format!("{}: there is no {file}; `cargo fetch` downloads the packages of Cargo.lock", cache.display())
    })?;
    let digest = dataset::digest::file(&path)?;
    ensure!(
        Some(&digest) == package.checksum.as_ref(),
        "{} has SHA-256 {digest}, not the {} of Cargo.lock: remove it and run `cargo fetch`",
        path.display(),
        package.checksum.as_deref().unwrap_or_default()
    );
    Ok(path)
}

/// Cargo's folder: `CARGO_HOME`, or `.cargo` in the home folder.
///
/// # Errors
/// When neither is known.
pub fn cargo_home() -> anyhow::Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).context("neither CARGO_HOME nor HOME is set")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "version = 4\n[[package]]\nname = \"a\"\nversion = \"0.9.1\"\nchecksum = \"x\"\n[[package]]\nname = \
                        \"a\"\nversion = \"0.10.0\"\nchecksum = \"y\"\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n";

    #[test]
    fn the_newest_version_of_a_registry_is_taken() {
        let place = tempfile::tempdir().unwrap();
        let lock = place.path().join("Cargo.lock");
        std::fs::write(&lock, LOCK).unwrap();
        let found = packages(&lock, &["a".to_owned()]).unwrap();
        assert_eq!((found.len(), found[0].version.as_str()), (1, "0.10.0"));
        let error = packages(&lock, &["own".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("--packages own: there is no package"), "{error}");
    }

    #[test]
    fn an_archive_must_have_the_pinned_digest() {
        let home = tempfile::tempdir().unwrap();
        let cache = home.path().join("registry/cache/index");
        std::fs::create_dir_all(&cache).unwrap();
        let package =
            |checksum: String| Package { name: "a".into(), version: "1.0.0".into(), checksum: Some(checksum) };
        let error = archive(home.path(), &package(String::new())).unwrap_err().to_string();
        assert!(error.contains("there is no a-1.0.0.crate; `cargo fetch`"), "{error}");
        std::fs::write(cache.join("a-1.0.0.crate"), "bytes").unwrap();
        let right = dataset::digest::bytes(b"bytes");
        assert!(archive(home.path(), &package(right)).unwrap().ends_with("a-1.0.0.crate"));
        let error = archive(home.path(), &package("0".into())).unwrap_err().to_string();
        assert!(error.contains("not the 0 of Cargo.lock"), "{error}");
    }
}
