//! What is known of a stage that has run: what went in, what came out, what it cost.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::Context;
use dataset::digest::{self, Fingerprint};
use llama::locate;
use serde::{Deserialize, Serialize};

use super::recipe::Stage;

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

const NAME: &str = "stage.json";
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
        for (name, mark) in &self.outputs {
            let path = folder.join(name);
            let same = match fs::metadata(&path) {
                Err(_) => false,
                Ok(meta) if meta.len() != mark.bytes => false,
                Ok(meta) => modified(&meta) == mark.modified || digest::file(&path)? == mark.sha256,
            };
            if !same {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }
}

/// The files of a finished stage. Checkpoints and event files are its own business.
///
/// # Errors
/// When a file cannot be read.
pub fn outputs(folder: &Path) -> anyhow::Result<BTreeMap<String, FileMark>> {
    let mut marks = BTreeMap::new();
    for path in files(folder)? {
        let meta = fs::metadata(&path)?;
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        let mark = FileMark { bytes: meta.len(), modified: modified(&meta), sha256: digest::file(&path)? };
        marks.insert(name, mark);
    }
    Ok(marks)
}

/// Digest of a stage's command and of every file and folder that it names, models in the cache included. Where an earlier
/// stage left a digest of a file, and the file is as it was then, that one is taken.
///
/// # Errors
/// When a file cannot be read, or an earlier stage's result is not there.
pub fn fingerprint(stage: &Stage, earlier: &[Stage]) -> anyhow::Result<String> {
    let mut print = Fingerprint::new().text("version", env!("CARGO_PKG_VERSION"));
    for (word, symbol) in stage.words.iter().zip(&stage.identity) {
        print = print.text("word", symbol);
        if word.starts_with('-') || Path::new(word).starts_with(&stage.folder) {
            continue;
        }
        let Some(input) = input(word) else {
            let missing = earlier.iter().find(|other| Path::new(word).starts_with(&other.folder));
            anyhow::ensure!(
                missing.is_none(),
                "stage {} reads {word}, which stage {} did not write",
                stage.name,
                missing.map_or("", |other| &other.name)
            );
            continue;
        };
        let owner = earlier.iter().find(|other| input.starts_with(&other.folder));
        let record = owner.and_then(|owner| Some((owner, Record::read(&owner.folder)?)));
        for path in files(&input)? {
            let known = record.as_ref().and_then(|(owner, record)| {
                let mark = record.outputs.get(&*path.strip_prefix(&owner.folder).ok()?.to_string_lossy())?;
                let meta = fs::metadata(&path).ok()?;
                (meta.len() == mark.bytes && modified(&meta) == mark.modified).then(|| mark.sha256.clone())
            });
            let sha256 = match known {
                Some(sha256) => sha256,
                None => digest::file(&path)?,
            };
            print = print.text(&path.strip_prefix(&input).unwrap_or(&path).to_string_lossy(), &sha256);
        }
    }
    Ok(print.finish())
}

/// The file or folder that a word of a command line names: a path, a path with a weight, or a model in the cache.
fn input(word: &str) -> Option<PathBuf> {
    let plain = PathBuf::from(word);
    if plain.exists() {
        return Some(plain);
    }
    if let Some((path, weight)) = word.rsplit_once(':')
        && weight.parse::<f64>().is_ok()
        && Path::new(path).exists()
    {
        return Some(path.into());
    }
    locate::locate(word).ok()
}

/// All files under a path, in the order of their names, without hidden ones and what [`outputs`] leaves out.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let aside = name.starts_with('.') || [NAME, LOG, "checkpoints", "tensorboard"].contains(&&*name);
        if !aside {
            found.extend(files(&entry)?);
        }
    }
    Ok(found)
}

fn modified(meta: &fs::Metadata) -> u64 {
    let since = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_nanos() as u64)
}
