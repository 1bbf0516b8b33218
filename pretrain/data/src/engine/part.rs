//! Parts: folders with the outcome of one piece of an input.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use dataset::digest;
use serde::{Deserialize, Serialize};

/// Names of the files of a part.
pub(super) mod names {
    pub const PART: &str = "part.json";
    pub const DOCUMENTS: &str = "documents.jsonl.zst";
    pub const DROPPED: &str = "dropped.jsonl.zst";
    pub const LEDGER: &str = "ledger.json";
    pub const NUMBERS: &str = "documents.parquet";
    pub const URLS: &str = "urls.parquet";
    pub const EXACT: &str = "exact.parquet";
    pub const BANDS: &str = "bands.parquet";
    pub const LINES: &str = "lines.parquet";
    pub const ORDER: &str = "order.parquet";
    pub const SCORES: &str = "scores.parquet";
}

/// Maximum number of documents in a part, since a place has 20 bits for them.
pub const MOST: u64 = 1 << 20;

/// The description of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The number of its input.
    pub input: u64,
    /// The number of the part within the input.
    pub number: u64,
    /// The path of the input; for inputs of later phases, relative to the run's folder.
    pub path: String,
    /// Number of events read from the input for this part: documents and unreadable places.
    pub events: u64,
    /// Whether this is the last part of the input.
    pub last: bool,
    /// Number of documents.
    pub documents: u64,
    /// Size of the texts in bytes.
    pub bytes: u64,
    /// Number of documents without a MinHash signature because they are short.
    pub short: u64,
    /// The first messages about unreadable places.
    pub problems: Vec<String>,
    /// Size and SHA-256 of its files.
    pub files: BTreeMap<String, (u64, String)>,
}

/// The folder of a part in the folder of its phase.
pub(super) fn folder(phase: &Path, input: u64, number: u64) -> PathBuf {
    phase.join(format!("{input:06}-{number:05}"))
}

/// The place of a document: a number that does not depend on other parts.
pub(super) fn place(input: u64, number: u64, ordinal: u64) -> u64 {
    input << 36 | number << 20 | ordinal
}

/// The components of a place.
#[must_use]
pub fn place_parts(place: u64) -> (u64, u64, u64) {
    (place >> 36, place >> 20 & 0xffff, place & 0xf_ffff)
}

impl Part {
    /// Reads a part's description; `None` if the part does not exist.
    ///
    /// # Errors
    /// When the description is damaged.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(names::PART);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let part = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged; remove its folder and run the command again", path.display()))?;
        Ok(Some(part))
    }

    /// Writes the description, after all other files of the part.
    pub(super) fn write(mut self, folder: &Path, files: &[&str]) -> anyhow::Result<()> {
        for name in files {
            let path = folder.join(name);
            let bytes = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
            self.files.insert((*name).to_owned(), (bytes, digest::file(&path)?));
        }
        let text = format!("{}\n", serde_json::to_string_pretty(&self)?);
        Ok(dataset::write_file(folder.join(names::PART), text.as_bytes())?)
    }

    /// Compares the files with their digests.
    ///
    /// # Errors
    /// When a file is missing or was changed; the error names the file.
    pub fn verify(&self, folder: &Path) -> anyhow::Result<()> {
        for (name, (bytes, sha256)) in &self.files {
            let path = folder.join(name);
            let same =
                std::fs::metadata(&path).is_ok_and(|meta| meta.len() == *bytes) && digest::file(&path)? == *sha256;
            ensure!(
                same,
                "{} was changed or cut off after it was written; remove the folder {} and run the command again",
                path.display(),
                folder.display()
            );
        }
        Ok(())
    }
}

/// All parts of a phase, in the order of their places.
///
/// # Errors
/// When a folder cannot be read.
pub fn all(phase: &Path) -> anyhow::Result<Vec<(PathBuf, Part)>> {
    let mut found = Vec::new();
    if !phase.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(phase).with_context(|| format!("cannot read {}", phase.display()))? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if let (false, Some(part)) = (hidden || path.extension().is_some(), Part::read(&path)?) {
            found.push((path, part));
        }
    }
    found.sort_by_key(|(_, part)| (part.input, part.number));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_their_parts() {
        for (input, number, ordinal) in [(0, 0, 0), (5, 3, 7), ((1 << 27) - 1, 65_535, MOST - 1)] {
            assert_eq!(place_parts(place(input, number, ordinal)), (input, number, ordinal));
        }
    }
}
