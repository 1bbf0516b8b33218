//! `run.json`: one schema for every command that leaves a folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use chrono::{Local, SecondsFormat};
use dataset::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::inputs::Input;

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// The file's name in a run folder.
pub const RECORD: &str = "run.json";

/// What `run.json` says: enough to repeat a run, and to see whether it is finished and whole. Its keys are the same for
/// every stage but below `stage`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this schema ([`SCHEMA`]).
    pub schema: u32,
    /// Whether the result is complete.
    pub finished: bool,
    /// The command line as it was typed, of the last session.
    pub command: Vec<String>,
    /// The folder that relative paths of the command start from.
    pub directory: PathBuf,
    /// Versions of the programs.
    pub versions: Versions,
    /// The seed of everything random, for stages that have one.
    pub seed: Option<u64>,
    /// Digest of the stage, its course-changing keys and its inputs.
    pub fingerprint: String,
    /// What was read.
    pub inputs: Vec<Input>,
    /// What was made.
    pub outputs: Vec<Output>,
    /// Where it was made.
    pub hardware: Hardware,
    /// When the first session began (RFC 3339).
    pub started: String,
    /// Seconds of all sessions; one that was killed counts up to the last time that it wrote the record.
    pub duration_seconds: f64,
    /// The sessions after the first.
    pub resumed: Vec<Resumed>,
    /// Whether repeating the run on the same hardware, with the same versions and threads, gives the same bytes.
    pub bit_exact: bool,
    /// Why the bytes may differ, a sentence each.
    pub notes: Vec<String>,
    /// What the run reached, for people.
    pub summary: String,
    /// What differs from stage to stage.
    pub stage: Stage,
}

/// The part of a record that is another for every stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The command without `herd`, as `sft` or `rejection-sampling run`.
    pub name: String,
    /// The resolved configuration, as `config.toml` has it.
    pub config: Map<String, Value>,
    /// Figures of what the stage did.
    pub figures: Value,
}

/// Versions of the programs that made a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This program.
    pub herd: String,
    /// The commit that it was built from, if the build knew it (`HERD_COMMIT`).
    pub commit: Option<String>,
    /// libtorch, for stages that compute with it.
    pub libtorch: Option<String>,
}

/// A file of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// Relative to the run folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its content.
    pub sha256: String,
}

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The processor's name.
    pub cpu: Option<String>,
    /// Processor cores that the process may use.
    pub cores: Option<usize>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Where tensors were computed, `cpu` or `cuda:0`.
    pub device: Option<String>,
    /// The type they were computed in.
    pub dtype: Option<String>,
    /// Threads of the processor's arithmetic.
    pub threads: Option<usize>,
}

/// A further session of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// When it began (RFC 3339).
    pub at: String,
    /// What differs from the session before and was accepted.
    pub changed: Vec<Change>,
}

/// A key with another value than before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The configuration's key, or `hardware.threads` and the like.
    pub key: String,
    /// The value before.
    pub before: Value,
    /// The value now.
    pub now: Value,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let shown = |value: &Value| match value {
            Value::Null => "not set".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        write!(f, "{}: {} before, {} now", self.key, shown(&self.before), shown(&self.now))
    }
}

impl Record {
    /// An empty record of a stage that begins now, on this machine, with the command line of this process.
    ///
    /// # Errors
    /// When the current folder cannot be found.
    pub fn new(stage: &str) -> anyhow::Result<Self> {
        Ok(Self {
            schema: SCHEMA,
            finished: false,
            command: std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect(),
            directory: std::env::current_dir().context("cannot find the current folder")?,
            versions: Versions::here(None),
            seed: None,
            fingerprint: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            hardware: Hardware::here(),
            started: now(),
            duration_seconds: 0.0,
            resumed: Vec::new(),
            bit_exact: true,
            notes: Vec::new(),
            summary: String::new(),
            stage: Stage { name: stage.to_owned(), config: Map::new(), figures: Value::Null },
        })
    }

    /// The record in a run folder; none where there is none.
    ///
    /// # Errors
    /// A sentence for a record that is damaged or that an earlier version of herd wrote.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        Self::read_file(&folder.join(RECORD))
    }

    /// As [`Record::read`], from a file of another name.
    ///
    /// # Errors
    /// As [`Record::read`].
    pub fn read_file(path: &Path) -> anyhow::Result<Option<Self>> {
        if !path.is_file() {
            return Ok(None);
        }
        let damaged = || format!("{} is damaged; choose another --output, or remove the folder", path.display());
        let value: Value = serde_json::from_slice(&fs::read(path)?).with_context(damaged)?;
        ensure!(
            value["schema"] == SCHEMA,
            "{} was written by another version of herd ({}), which this version cannot go on with; choose another \
             --output, or remove the folder",
            path.display(),
            match &value["schema"] {
                Value::Null => format!("{}, before its schema 1", value["version"].as_str().unwrap_or("unknown")),
                schema => format!("schema {schema}, this version has {SCHEMA}"),
            }
        );
        Ok(Some(serde_json::from_value(value).with_context(damaged)?))
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        self.write_file(&folder.join(RECORD))
    }

    /// As [`Record::write`], to a file of another name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write_file(&self, path: &Path) -> anyhow::Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        Ok(dataset::write_file(path, text.as_bytes())?)
    }

    /// The files of the result that are missing or have another content than they were left with.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn damage(&self, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
        let mut damaged = Vec::new();
        for output in &self.outputs {
            let path = folder.join(&output.path);
            if fs::metadata(&path).map(|meta| meta.len()).ok() != Some(output.bytes)
                || digest::file(&path)? != output.sha256
            {
                damaged.push(path);
            }
        }
        Ok(damaged)
    }
}

/// The time as in records (RFC 3339).
fn now() -> String {
    Local::now().to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// The files below `folder` that `names` mention (files or whole folders), with their digests, in the order of their
/// paths. Names that do not exist are left out.
///
/// # Errors
/// When a file cannot be read.
pub fn outputs(folder: &Path, names: &[&str]) -> anyhow::Result<Vec<Output>> {
    let mut found = Vec::new();
    for name in names {
        collect(folder, name, &mut found)?;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(folder: &Path, name: &str, found: &mut Vec<Output>) -> anyhow::Result<()> {
    let path = folder.join(name);
    if path.is_dir() {
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            collect(folder, &format!("{name}/{}", entry?.file_name().to_string_lossy()), found)?;
        }
    } else if path.is_file() {
        let bytes = fs::metadata(&path)?.len();
        found.push(Output { path: name.to_owned(), bytes, sha256: digest::file(&path)? });
    }
    Ok(())
}

impl Versions {
    /// Of this program, with the libtorch that the stage computes with.
    #[must_use]
    pub fn here(libtorch: Option<&str>) -> Self {
        Self {
            herd: env!("CARGO_PKG_VERSION").into(),
            commit: option_env!("HERD_COMMIT").map(Into::into),
            libtorch: libtorch.map(Into::into),
        }
    }
}

impl Hardware {
    /// This machine, without what only a computing stage knows.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
            line.map(|value| value.trim().to_owned())
        };
        let kilobytes = field(&read("/proc/meminfo"), "MemTotal");
        let kilobytes = kilobytes.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name"),
            cores: std::thread::available_parallelism().ok().map(usize::from),
            memory: kilobytes.map(|kilobytes| kilobytes * 1024),
            device: None,
            dtype: None,
            threads: None,
        }
    }
}
