//! What is known of a stage that has run: what went in, what came out, what it cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inputs;

/// `stage.json` in a stage's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The stage's name.
    pub name: String,
    /// Digest of the command and of everything that it read.
    pub fingerprint: String,
    /// The command, as one would type it.
    pub command: String,
    /// Whether it ended well.
    pub done: bool,
    /// What went wrong in each attempt that failed.
    #[serde(default)]
    pub failures: Vec<String>,
    /// Seconds of all attempts.
    #[serde(default)]
    pub seconds: f64,
    /// Seconds of processor time of all attempts, children included.
    #[serde(default)]
    pub cpu_seconds: f64,
    /// The most memory that one of its processes held, in bytes.
    #[serde(default)]
    pub peak_memory: u64,
    /// The files that it left.
    #[serde(default)]
    pub outputs: BTreeMap<String, FileMark>,
    /// Where its command names files outside its folder that it made itself: they are no inputs.
    #[serde(default)]
    pub created: BTreeSet<String>,
}

/// A file as it was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMark {
    /// Its size.
    pub bytes: u64,
    /// When it was changed last, in nanoseconds since 1970. While it and the size stand, the content is taken to.
    pub modified: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// The record's file.
pub const NAME: &str = "stage.json";
/// The stage's output is written here.
pub const LOG: &str = "log.txt";

impl Record {
    /// The record in a stage's folder; none where there is none or it is damaged.
    pub fn read(folder: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(folder.join(NAME)).ok()?).ok()
    }

    /// Writes it down.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        Ok(dataset::write_file(folder.join(NAME), format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes())?)
    }

    /// The first file that is missing or is not what was left.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn damage(&self, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
        for (name, left) in &self.outputs {
            let path = folder.join(name);
            let untouched = fs::metadata(&path).is_ok_and(|meta| {
                meta.is_file() && meta.len() == left.bytes && inputs::modified(&meta) == left.modified
            });
            let same = untouched
                || fs::symlink_metadata(&path).is_ok()
                    && inputs::mark(&path).is_ok_and(|now| now.bytes == left.bytes && now.sha256 == left.sha256);
            if !same {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}
