//! Checkpoints: folders that get their name only when they are complete, and whose files are verified by digest before use.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use run::{recover, replace_folder};
use serde::{Deserialize, Serialize};

use crate::objective::Evaluation;
use crate::persist::state::Digests;

const MANIFEST: &str = "checkpoint.json";

/// Content of a checkpoint's `checkpoint.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Optimizer steps done.
    pub step: u64,
    /// Trained tokens seen so far.
    pub trained_tokens: u64,
    /// Tokens seen so far.
    pub tokens: u64,
    /// Seconds of training so far, over all parts of an interrupted run.
    pub seconds: f64,
    /// Evaluation of exactly these weights, if there was one.
    pub evaluation: Option<Evaluation>,
    /// If these weights are an average: the evaluation of the current weights at the same step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_evaluation: Option<Evaluation>,
    /// Digest of everything that determines the course of the run: the configuration, the data and the model.
    pub fingerprint: String,
    /// Size and SHA-256 of every other file, by its path relative to the folder.
    #[serde(default)]
    pub files: BTreeMap<String, FileDigest>,
}

/// Size and digest of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDigest {
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// The checkpoints of a run.
#[derive(Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    keep_last: usize,
    keep_best: usize,
}

impl Checkpoints {
    /// Opens the checkpoints under `folder`. Of older checkpoints, the `keep_last` newest and the `keep_best` with the lowest
    /// evaluation loss are kept. Incomplete files of a killed run are removed.
    ///
    /// # Errors
    /// When the folder cannot be created or read.
    pub fn open(folder: PathBuf, keep_last: usize, keep_best: usize) -> anyhow::Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
            let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
            if let Some(target) = name.strip_suffix(".old") {
                // The process was killed after moving the old checkpoint aside and before renaming the new one.
                recover(&folder.join(target))?;
                continue;
            } else if !name.ends_with(".partial") {
                continue;
            }
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(Self { folder, keep_last: keep_last.max(1), keep_best })
    }

    /// Writes a checkpoint. `fill` writes the files into a temporary folder and returns the digests of those that it hashed
    /// while writing. Files and folders are synced to disk, and the folder is renamed to its final name. Then older checkpoints
    /// are removed according to the policy. Returns the folder and its size in bytes.
    ///
    /// # Errors
    /// When the disk reports an error; earlier checkpoints are then unchanged.
    pub fn write(
        &self,
        mut manifest: Manifest,
        fill: impl FnOnce(&Path) -> anyhow::Result<Digests>,
    ) -> anyhow::Result<(PathBuf, u64)> {
        let target = self.folder.join(format!("step-{}", manifest.step));
        let mut all = 0;
        let written = replace_folder(&target, |partial| {
            let digests: HashMap<PathBuf, Option<String>> = fill(partial)?.into_iter().collect();
            for (name, path) in files(partial)? {
                let bytes = fs::metadata(&path)?.len();
                let sha256 = match digests.get(&path).cloned().flatten() {
                    Some(known) => known,
                    None => dataset::digest::file(&path)?,
                };
                manifest.files.insert(name, FileDigest { bytes, sha256 });
                all += bytes;
            }
            Ok(dataset::write_file(partial.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?)
        });
        written.with_context(|| {
            format!(
                "cannot save the checkpoint {}; earlier checkpoints are as they were: make room and run the same command again",
                target.display()
            )
        })?;
        self.prune();
        Ok((target, all))
    }

    /// The lowest evaluation loss among the kept checkpoints.
    #[must_use]
    pub fn best(&self) -> Option<f64> {
        let all = self.list().unwrap_or_default();
        let losses = all.iter().filter_map(|(_, path)| Some(read_manifest(path).ok()?.evaluation?.loss));
        losses.min_by(f64::total_cmp)
    }

    /// The newest checkpoint whose files are complete. Damaged checkpoints are reported to `report` and skipped. Checkpoints after the
    /// step `at_most` contain wrong numbers and are removed.
    ///
    /// # Errors
    /// When the folder cannot be read or a checkpoint cannot be removed.
    pub fn newest(&self, at_most: u64, mut report: impl FnMut(String)) -> anyhow::Result<Option<(PathBuf, Manifest)>> {
        for (step, path) in self.list()?.into_iter().rev() {
            if step > at_most {
                fs::remove_dir_all(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                report(format!("the checkpoint {} holds wrong numbers and is removed", path.display()));
                continue;
            }
            match verify(&path) {
                Ok(manifest) => return Ok(Some((path, manifest))),
                Err(error) => report(damaged(&path, &error)),
            }
        }
        Ok(None)
    }

    fn list(&self) -> anyhow::Result<Vec<(u64, PathBuf)>> {
        list(&self.folder)
    }

    /// Removes the checkpoints that the policy does not keep. A checkpoint that cannot be removed is ignored.
    fn prune(&self) {
        let all = self.list().unwrap_or_default();
        let loss = |path: &Path| read_manifest(path).ok()?.evaluation.map(|evaluation| evaluation.loss);
        let mut scored: Vec<(f64, &PathBuf)> = all.iter().filter_map(|(_, path)| Some((loss(path)?, path))).collect();
        scored.sort_by(|a, b| a.0.total_cmp(&b.0));
        let best: Vec<&PathBuf> = scored.iter().take(self.keep_best).map(|(_, path)| *path).collect();
        let old = all.len().saturating_sub(self.keep_last);
        for (_, path) in all[..old].iter().filter(|(_, path)| !best.contains(&path)) {
            fs::remove_dir_all(path).ok();
        }
    }
}

/// Steps and folders of all checkpoints under `folder` whose files are complete, oldest first. Damaged checkpoints are
/// described to `report` and skipped.
///
/// # Errors
/// When the folder cannot be read.
pub fn whole(folder: &Path, mut report: impl FnMut(String)) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let mut all = list(folder)?;
    all.retain(|(_, path)| match verify(path) {
        Ok(_) => true,
        Err(error) => {
            report(damaged(path, &error));
            false
        }
    });
    Ok(all)
}

fn damaged(path: &Path, error: &anyhow::Error) -> String {
    format!("the checkpoint {} is damaged and passed over: {error:#}", path.display())
}

/// Steps and folders of all checkpoints, oldest first.
fn list(folder: &Path) -> anyhow::Result<Vec<(u64, PathBuf)>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut all: Vec<(u64, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?, entry.path())))
        .collect();
    all.sort();
    Ok(all)
}

fn read_manifest(folder: &Path) -> anyhow::Result<Manifest> {
    let text = fs::read(folder.join(MANIFEST)).with_context(|| format!("{MANIFEST} cannot be read"))?;
    serde_json::from_slice(&text).with_context(|| format!("{MANIFEST} is not what this version writes"))
}

/// Verifies every file against its digest.
fn verify(folder: &Path) -> anyhow::Result<Manifest> {
    let manifest = read_manifest(folder)?;
    for (name, expected) in &manifest.files {
        let path = folder.join(name);
        let bytes = fs::metadata(&path).with_context(|| format!("{name} is missing"))?.len();
        if bytes != expected.bytes {
            bail!("{name} has {bytes} bytes instead of {}", expected.bytes);
        }
        if dataset::digest::file(&path)? != expected.sha256 {
            bail!("{name} has changed since it was written (its SHA-256 differs)");
        }
    }
    Ok(manifest)
}

/// All files below `folder`, by their relative paths.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?.into_iter().map(|(inner, path)| (format!("{name}/{inner}"), path)));
        } else {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(step: u64, loss: f64) -> Manifest {
        let evaluation = Some(Evaluation { loss, tokens: 1, metrics: BTreeMap::new() });
        Manifest {
            step,
            trained_tokens: 0,
            tokens: 0,
            seconds: 0.0,
            evaluation,
            last_evaluation: None,
            fingerprint: String::new(),
            files: BTreeMap::new(),
        }
    }

    fn fill(folder: &Path) -> anyhow::Result<Digests> {
        fs::create_dir(folder.join("state"))?;
        fs::write(folder.join("state/a"), "some bytes")?;
        Ok(Vec::new())
    }

    fn steps(checkpoints: &Checkpoints) -> Vec<u64> {
        checkpoints.list().unwrap().into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn keeps_the_last_and_the_best() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path().join("c"), 2, 1).unwrap();
        for (step, loss) in [(1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5), (10, 2.2)] {
            checkpoints.write(manifest(step, loss), fill).unwrap();
        }
        assert_eq!(steps(&checkpoints), [2, 4, 10]);
    }

    #[test]
    fn damage_is_reported_and_the_previous_one_used() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 5, 0).unwrap();
        type Damage = (fn(&Path), &'static str);
        let damages: [Damage; 4] = [
            (|p| fs::write(p.join("state/a"), "some bytez").unwrap(), "its SHA-256 differs"),
            (|p| fs::write(p.join("state/a"), "some").unwrap(), "4 bytes instead of 10"),
            (|p| fs::remove_file(p.join("state/a")).unwrap(), "state/a is missing"),
            (|p| fs::write(p.join(MANIFEST), "{").unwrap(), "checkpoint.json is not what"),
        ];
        checkpoints.write(manifest(1, 1.0), fill).unwrap();
        for (damage, sentence) in damages {
            let (path, _) = checkpoints.write(manifest(2, 1.0), fill).unwrap();
            assert_eq!(checkpoints.newest(u64::MAX, |_| panic!()).unwrap().unwrap().1.step, 2);
            damage(&path);
            let mut reports = Vec::new();
            let (_, found) = checkpoints.newest(u64::MAX, |report| reports.push(report)).unwrap().unwrap();
            assert_eq!((found.step, reports.len()), (1, 1));
            assert!(reports[0].contains(sentence), "{reports:?}");
        }
    }

    #[test]
    fn wrong_numbers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 5, 0).unwrap();
        for step in [10, 20, 30] {
            checkpoints.write(manifest(step, 1.0), fill).unwrap();
        }
        let mut reports = Vec::new();
        let (_, found) = checkpoints.newest(25, |report| reports.push(report)).unwrap().unwrap();
        assert_eq!((found.step, reports.len(), steps(&checkpoints)), (20, 1, vec![10, 20]));
        assert!(checkpoints.newest(0, |_| ()).unwrap().is_none());
    }

    #[test]
    fn bytes_that_were_digested_while_they_were_written_are_not_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 5, 0).unwrap();
        let known = |folder: &Path| {
            fill(folder)?;
            fs::write(folder.join("b"), "others")?;
            Ok(vec![(folder.join("state/a"), Some("known".to_owned())), (folder.join("b"), None)])
        };
        let (path, bytes) = checkpoints.write(manifest(1, 1.0), known).unwrap();
        let files = read_manifest(&path).unwrap().files;
        assert_eq!((files["state/a"].sha256.as_str(), bytes), ("known", 16));
        assert_eq!(files["b"].sha256, dataset::digest::bytes(b"others"));
    }

    #[test]
    fn a_kill_between_two_names_leaves_the_old_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 5, 0).unwrap();
        let (path, _) = checkpoints.write(manifest(1, 3.0), fill).unwrap();
        fs::rename(&path, dir.path().join("step-1.old")).unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 5, 0).unwrap();
        assert_eq!(steps(&checkpoints), [1]);
        assert_eq!(checkpoints.best(), Some(3.0));
        // Replaces a checkpoint that already has this name.
        checkpoints.write(manifest(1, 2.0), fill).unwrap();
        fs::create_dir(dir.path().join("step-1.old")).unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 5, 0).unwrap();
        assert_eq!((checkpoints.best(), fs::read_dir(dir.path()).unwrap().count()), (Some(2.0), 1));
    }

    #[test]
    fn a_failed_write_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 1, 0).unwrap();
        checkpoints.write(manifest(1, 1.0), fill).unwrap();
        let error = checkpoints
            .write(manifest(2, 1.0), |folder| {
                fill(folder)?;
                bail!("No space left on device")
            })
            .unwrap_err();
        assert!(format!("{error:#}").contains("step-2; earlier checkpoints are as they were"), "{error:#}");
        assert_eq!(checkpoints.newest(u64::MAX, |_| panic!()).unwrap().unwrap().1.step, 1);
        // Incomplete files of a killed run are neither used nor kept.
        fs::create_dir(dir.path().join("step-3.partial")).unwrap();
        let checkpoints = Checkpoints::open(dir.path().to_owned(), 1, 0).unwrap();
        assert_eq!(steps(&checkpoints), [1]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
