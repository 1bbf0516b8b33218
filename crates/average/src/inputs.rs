//! The inputs of an average: folders with their weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use llama::locate;

/// The content of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A model: `config.json` and its weights.
    Model,
    /// A LoRA adapter in PEFT's format.
    Adapter,
}

/// A folder and its share of the average.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The folder.
    pub folder: PathBuf,
    /// Its weight; the average divides by their sum.
    pub weight: f64,
}

/// The sum of the weights.
pub(crate) fn total(inputs: &[Input]) -> f64 {
    inputs.iter().map(|input| input.weight).sum()
}

impl Kind {
    /// The common kind of all `inputs`.
    ///
    /// # Errors
    /// When a folder is neither a model nor an adapter, or the kinds are mixed.
    pub fn of(inputs: &[Input]) -> anyhow::Result<Self> {
        let mut kinds = inputs.iter().map(|input| anyhow::Ok((one(&input.folder)?, &input.folder)));
        let (kind, first) = kinds.next().context("there is nothing to average")??;
        for other in kinds {
            let (other, folder) = other?;
            ensure!(
                kind == other,
                "{} and {} are a model and an adapter; average models with models (`--merge` of the stage makes one of an \
                 adapter), or adapters with adapters",
                first.display(),
                folder.display()
            );
        }
        Ok(kind)
    }
}

fn one(folder: &Path) -> anyhow::Result<Kind> {
    if folder.join("adapter_config.json").is_file() {
        return Ok(Kind::Adapter);
    }
    if folder.join("config.json").is_file() {
        return Ok(Kind::Model);
    }
    bail!("{} is neither a model nor an adapter: it has no config.json and no adapter_config.json", folder.display())
}

/// Models or adapters by name or folder.
pub(crate) fn named(models: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    ensure!(models.len() > 1, "--models needs at least two, or there is nothing to average");
    models.iter().map(|model| locate::locate(model)).collect()
}

/// The newest `last` complete checkpoints of a run, oldest first; all of them if `last` is not given.
pub(crate) fn checkpoints(run: &Path, last: Option<usize>) -> anyhow::Result<Vec<PathBuf>> {
    let folder = run.join("checkpoints");
    ensure!(folder.is_dir(), "{} is not a run: it has no folder checkpoints", run.display());
    let mut whole = trainer::checkpoint::whole(&folder, |report| eprintln!("warning: {report}"))?;
    let wanted = last.unwrap_or(whole.len());
    ensure!(
        wanted > 0 && wanted <= whole.len() && whole.len() > 1,
        "{} has {} whole checkpoints, {} are asked for and at least 2 are needed; a run keeps more with --checkpoint-steps and \
         --keep-last",
        folder.display(),
        whole.len(),
        wanted
    );
    Ok(whole.split_off(whole.len() - wanted).into_iter().map(|(_, path)| path).collect())
}

/// Folders with the given weights, or with equal ones.
pub(crate) fn weighted(folders: Vec<PathBuf>, weights: &[f64]) -> anyhow::Result<Vec<Input>> {
    ensure!(
        weights.is_empty() || weights.len() == folders.len(),
        "--weights gives {} weights for {} models; give one for each",
        weights.len(),
        folders.len()
    );
    if let Some(wrong) = weights.iter().find(|weight| !weight.is_finite() || **weight < 0.0) {
        bail!("--weights: {wrong} is not a weight; it must be 0 or more");
    }
    ensure!(
        weights.is_empty() || weights.iter().any(|weight| *weight > 0.0),
        "--weights are all 0; at least one must be more"
    );
    let weight = |place: usize| weights.get(place).copied().unwrap_or(1.0);
    Ok(folders.into_iter().enumerate().map(|(n, folder)| Input { folder, weight: weight(n) }).collect())
}
