//! Setup of the processes of a run before they train together.
//!
//! The first process has the run's folder, its lock and its record. Every other process works in a temporary folder, which is
//! removed afterwards.

use std::path::Path;

use anyhow::Context;
use distributed::World;
use run::{Class, Facts, Session};
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};

use super::{StageConfig, Training};
use crate::RunFolder;
use llama::device::Count;

/// The folder of a process.
pub(super) enum Part {
    /// The first process: the run's folder.
    First(Box<Session>),
    /// Another process: a temporary folder.
    Other(RunFolder),
}

impl Part {
    /// The folder that this process works in.
    pub fn folder(&self) -> &RunFolder {
        match self {
            Self::First(session) => session.folder(),
            Self::Other(folder) => folder,
        }
    }

    /// What this process knows about the state of the run; only the first process knows more than the default.
    pub fn start(&self) -> Start {
        match self {
            Self::First(session) => Start {
                finished: false,
                only_output: session.only_output(),
                fingerprint: session.fingerprint().to_owned(),
            },
            Self::Other(_) => Start::default(),
        }
    }
}

/// State of the run as the first process knows it.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Start {
    /// Whether there is nothing left to do.
    pub finished: bool,
    /// Whether only the result has to be saved again.
    pub only_output: bool,
    /// Digest of everything that determines the course of the run.
    pub fingerprint: String,
}

impl Start {
    /// Sends the first process's state to all processes, and returns it.
    pub fn tell(&self, world: &World) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&world.share_bytes("run", &serde_json::to_vec(self)?)?)?)
    }
}

/// Device and data type. With several processes, each has its own GPU.
pub(super) fn compute(training: &Training, world: &mut World) -> anyhow::Result<(Device, Kind)> {
    let mut asked = super::compute(training)?;
    if asked.threads == Some(Count::Auto) && !world.is_alone() {
        // The first process chooses the thread count for all, because the count affects the rounding of sums.
        let tried = if world.is_first() { asked.resolve().map(|_| tch::get_num_threads())? } else { 0 };
        let threads = serde_json::from_slice(&world.share_bytes("threads", &serde_json::to_vec(&tried)?)?)?;
        asked.threads = Some(Count::Of(threads));
    }
    let (device, kind) = asked.resolve()?;
    if training.deterministic {
        in_one_order(device)?;
    }
    if world.is_alone() || !device.is_cuda() {
        return Ok((device, kind));
    }
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0).max(1);
    // If the launcher makes only one GPU visible to each process, that GPU has index 0.
    let device = Device::Cuda(world.local_rank() % count);
    world.use_device(device).context("a group of GPUs")?;
    Ok((device, kind))
}

/// Selects deterministic sums for `--deterministic`. Must be called before anything is computed on a GPU.
fn in_one_order(device: Device) -> anyhow::Result<()> {
    if device.is_cuda() {
        torch_ext::set_deterministic(true).context("--deterministic")?;
    } else {
        eprintln!("--deterministic changes nothing on a processor, whose results repeat bit for bit without it");
    }
    Ok(())
}

/// Fails if a process has another configuration, other data or another version than the first process.
pub(super) fn agree<C: StageConfig>(world: &World, config: &C, facts: &Facts) -> anyhow::Result<()> {
    if world.is_alone() {
        return Ok(());
    }
    let mut own = vec![
        ("version of herd".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("stage".to_owned(), facts.stage.to_owned()),
        ("dtype in use".to_owned(), facts.hardware.dtype.clone().unwrap_or_default()),
    ];
    let config = serde_json::to_value(config)?;
    for (key, value) in config.as_object().into_iter().flatten() {
        // Free keys may differ by machine, except those ending in `_steps` and beginning with `check_`: all processes must save
        // and compare at the same steps.
        let free = (facts.class)(key) == Class::Free && !key.ends_with("_steps") && !key.starts_with("check_");
        if !free && !["device", "threads"].contains(&key.as_str()) {
            own.push((format!("value of {key}"), value.to_string()));
        }
    }
    for (number, input) in facts.inputs.iter().enumerate() {
        let digest = input.sha256.get(..16).unwrap_or(&input.sha256);
        own.push((
            format!("{} ({} {number})", input.path, input.key),
            format!("SHA-256 {digest}, weight {:?}", input.weight),
        ));
    }
    Ok(world.agree(&own)?)
}

/// The run's folder, or a temporary folder, which is removed when the second value is dropped.
pub(super) fn folder(world: &World, output: &Path) -> anyhow::Result<(RunFolder, Option<tempfile::TempDir>)> {
    if world.is_first() {
        return Ok((RunFolder::open(output)?, None));
    }
    let scratch = tempfile::Builder::new().prefix("herd-rank-").tempdir().context("a scratch folder")?;
    Ok((RunFolder::open(&scratch.path().join("run"))?, Some(scratch)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_needs_no_setting_for_the_same_bits() {
        torch_ext::init();
        in_one_order(Device::Cpu).unwrap();
        assert!(!torch_ext::is_deterministic());
    }
}
