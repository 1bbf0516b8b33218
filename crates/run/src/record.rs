//! `run.json`: one schema for every command that writes a run folder.

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

/// The name of the record's file in a run folder.
pub const RECORD: &str = "run.json";

/// The content of `run.json`. It is enough to repeat a run, and to see whether the run is finished and its results
/// are undamaged. The keys are the same for every stage, except below `stage`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this schema ([`SCHEMA`]).
    pub schema: u32,
    /// Whether the result is complete.
    pub finished: bool,
    /// The command line as typed, of the last session.
    pub command: Vec<String>,
    /// The working directory: relative paths of the command start from it.
    pub directory: PathBuf,
    /// Versions of the programs.
    pub versions: Versions,
    /// The seed of all random choices, for stages that have one.
    pub seed: Option<u64>,
    /// Digest of the stage, of the keys that change its course, and of its inputs.
    pub fingerprint: String,
    /// The inputs.
    pub inputs: Vec<Input>,
    /// The output files.
    pub outputs: Vec<Output>,
    /// The machine.
    pub hardware: Hardware,
    /// The start of the first session (RFC 3339).
    pub started: String,
    /// Duration of all sessions, in seconds. A killed session counts up to the last time that it wrote the record.
    pub duration_seconds: f64,
    /// The sessions after the first.
    pub resumed: Vec<Resumed>,
    /// Whether repeating the run on the same hardware, with the same versions and threads, gives the same bytes.
    pub bit_exact: bool,
    /// The reasons why the bytes may differ, one sentence each.
    pub notes: Vec<String>,
    /// The result of the run, as text for people.
    pub summary: String,
    /// The part that differs from stage to stage.
    pub stage: Stage,
}

/// The part of a record that differs from stage to stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// The command without `herd`, such as `sft` or `rejection-sampling run`.
    pub name: String,
    /// The resolved configuration, with the keys of `config.toml`.
    pub config: Map<String, Value>,
    /// Figures of the stage.
    pub figures: Value,
}

/// Versions of the programs that made a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The version of herd.
    pub herd: String,
    /// The commit of the build, if the build knew it (`HERD_COMMIT`).
    pub commit: Option<String>,
    /// The version of libtorch, for stages that use it.
    pub libtorch: Option<String>,
}

/// A file of the result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The path, relative to the run folder.
    pub path: String,
    /// The size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content.
    pub sha256: String,
}

/// The machine of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The name of the CPU.
    pub cpu: Option<String>,
    /// Number of CPU cores that the process may use.
    pub cores: Option<usize>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// The device of the computation, `cpu` or `cuda:0`.
    pub device: Option<String>,
    /// The data type of the computation.
    pub dtype: Option<String>,
    /// Number of threads for computations on the CPU.
    pub threads: Option<usize>,
}

/// A further session of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resumed {
    /// The start of the session (RFC 3339).
    pub at: String,
    /// The accepted differences from the session before.
    pub changed: Vec<Change>,
}

/// A key whose value has changed.
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
    /// A new record for a stage that starts now, on this machine, with the command line of this process.
    ///
    /// # Errors
    /// When the current folder cannot be determined.
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

    /// Reads the record of a run folder; `None` if the folder has none.
    ///
    /// # Errors
    /// When the record is damaged, or an earlier version of herd wrote it.
    pub fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        Self::read_file(&folder.join(RECORD))
    }

    /// Like [`Record::read`], from a file with another name.
    ///
    /// # Errors
    /// See [`Record::read`].
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
    /// When the file cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<()> {
        self.write_file(&folder.join(RECORD))
    }

    /// Like [`Record::write`], to a file with another name.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_file(&self, path: &Path) -> anyhow::Result<()> {
        let text = format!("{}\n", serde_json::to_string_pretty(self)?);
        Ok(dataset::write_file(path, text.as_bytes())?)
    }

    /// The output files that are missing or whose content has changed since the run.
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

/// The current time in the format of records (RFC 3339).
fn now() -> String {
    Local::now().to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// The files below `folder` that `names` list (files or whole folders), with their digests, ordered by path. Names
/// that do not exist are left out.
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
    /// The versions of this program and of the libtorch that the stage uses.
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
    /// This machine, without the fields that only a stage with a model knows.
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
