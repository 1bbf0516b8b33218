//! The record of a stage that has run: inputs, outputs, cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::inputs;

/// `stage.json` in a stage's folder.
#[derive(Debug, Clone)]
pub struct Record {
    /// The stage's name.
    pub name: String,
    /// Digest of the command and of all its inputs.
    pub fingerprint: String,
    /// The command, as typed in a shell.
    pub command: String,
    /// Whether it succeeded.
    pub done: bool,
    /// The error of each failed attempt.
    pub failures: Vec<String>,
    /// Seconds of all attempts.
    pub seconds: f64,
    /// Processor time of all attempts in seconds, including children.
    pub cpu_seconds: f64,
    /// Peak memory of its processes, in bytes.
    pub peak_memory: u64,
    /// The output files.
    pub outputs: BTreeMap<String, FileMark>,
    /// The places in its command that name files outside its folder which it made itself; they are not inputs.
    pub created: BTreeSet<String>,
}

impl TryFrom<run::Record> for Record {
    type Error = anyhow::Error;

    fn try_from(record: run::Record) -> anyhow::Result<Self> {
        let figures: Figures = serde_json::from_value(record.stage.figures).context("damaged figures of a stage")?;
        let text = |key: &str| record.stage.config.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self {
            name: text("stage"),
            command: text("command"),
            fingerprint: record.fingerprint,
            done: record.finished,
            failures: figures.failures,
            seconds: record.duration_seconds,
            cpu_seconds: figures.cpu_seconds,
            peak_memory: figures.peak_memory,
            created: figures.created,
            outputs: record
                .outputs
                .into_iter()
                .map(|output| {
                    let modified = figures.modified.get(&output.path).copied().unwrap_or_default();
                    (output.path, FileMark { bytes: output.bytes, modified, sha256: output.sha256 })
                })
                .collect(),
        })
    }
}

/// The recorded state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMark {
    /// Its size.
    pub bytes: u64,
    /// The last modification time, in nanoseconds since 1970. While it and the size are unchanged, the content counts
    /// as unchanged.
    pub modified: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// The record's file.
pub const NAME: &str = "stage.json";
/// The file for the stage's output.
pub const LOG: &str = "log.txt";

/// The part of `stage.json` that only a pipeline has; the rest is in the schema of every `run.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    failures: Vec<String>,
    cpu_seconds: f64,
    peak_memory: u64,
    /// The last modification time of each output.
    modified: BTreeMap<String, u64>,
    created: BTreeSet<String>,
}

impl Record {
    /// The record in a stage's folder; `None` if there is none. A record that cannot be read is reported on the
    /// terminal; the stage then counts as never run.
    pub fn read(folder: &Path) -> Option<Self> {
        let path = folder.join(NAME);
        let found = run::Record::read_file(&path).and_then(|record| record.map(Self::try_from).transpose());
        found.unwrap_or_else(|error| {
            eprintln!("warning: {error:#}; the stage counts as not run");
            None
        })
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let modified = self.outputs.iter().map(|(name, mark)| (name.clone(), mark.modified)).collect();
        let figures = Figures {
            failures: self.failures.clone(),
            cpu_seconds: self.cpu_seconds,
            peak_memory: self.peak_memory,
            modified,
            created: self.created.clone(),
        };
        let mut record = run::Record::new("run")?;
        record.finished = self.done;
        record.fingerprint = self.fingerprint.clone();
        record.duration_seconds = self.seconds;
        record.outputs = self
            .outputs
            .iter()
            .map(|(name, mark)| run::Output { path: name.clone(), bytes: mark.bytes, sha256: mark.sha256.clone() })
            .collect();
        record.stage.config.insert("stage".into(), self.name.clone().into());
        record.stage.config.insert("command".into(), self.command.clone().into());
        record.stage.figures = serde_json::to_value(figures)?;
        record.write_file(&folder.join(NAME))
    }

    /// The first file that is missing or has changed since the stage ended.
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
