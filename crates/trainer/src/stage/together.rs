//! What the processes of a run settle before they train together.
//!
//! The first process has the run's folder, its lock and its record. The others work in a scratch folder of their own, so that
//! nothing of theirs stays.

use std::path::Path;

use anyhow::Context;
use distributed::World;
use run::{Class, Facts, Session};
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};

use super::{StageConfig, Training};
use crate::RunFolder;
use llama::device::Count;

/// A process's part in the run's folder.
pub(super) enum Part {
    /// It writes the folder.
    First(Box<Session>),
    /// It has a scratch folder.
    Other(RunFolder),
}

impl Part {
    /// Where it works.
    pub fn folder(&self) -> &RunFolder {
        match self {
            Self::First(session) => session.folder(),
            Self::Other(folder) => folder,
        }
    }

    /// What it knows of the run.
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

/// What the first process knows of the run.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Start {
    /// There is nothing left to do.
    pub finished: bool,
    /// Only the result is saved again.
    pub only_output: bool,
    /// Digest of all that decides the run's course.
    pub fingerprint: String,
}

impl Start {
    /// What the first process knows, on all.
    pub fn tell(&self, world: &World) -> anyhow::Result<Self> {
        Ok(serde_json::from_slice(&world.share_bytes("run", &serde_json::to_vec(self)?)?)?)
    }
}

/// Where to compute and in which type: with several processes each has a GPU of its own.
pub(super) fn compute(training: &Training, world: &mut World) -> anyhow::Result<(Device, Kind)> {
    let mut asked = super::compute(training)?;
    if asked.threads == Some(Count::Auto) && !world.is_alone() {
        // The first process tries it out for all: the number decides the last bits of sums.
        let tried = if world.is_first() { asked.resolve().map(|_| tch::get_num_threads())? } else { 0 };
        let threads = serde_json::from_slice(&world.share_bytes("threads", &serde_json::to_vec(&tried)?)?)?;
        asked.threads = Some(Count::Of(threads));
    }
    let (device, kind) = asked.resolve()?;
    if world.is_alone() || !device.is_cuda() {
        return Ok((device, kind));
    }
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0).max(1);
    // Launchers that show each process its own GPU only show it as the first.
    let device = Device::Cuda(world.local_rank() % count);
    world.use_device(device).context("a group of GPUs")?;
    Ok((device, kind))
}

/// Refuses processes with another configuration, other data or another version than the first.
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
        // What is free may differ by machine, but all have to save at the same steps.
        let free = (facts.class)(key) == Class::Free && !key.ends_with("_steps");
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

/// The run's folder, or a scratch folder, which is removed with the second value.
pub(super) fn folder(world: &World, output: &Path) -> anyhow::Result<(RunFolder, Option<tempfile::TempDir>)> {
    if world.is_first() {
        return Ok((RunFolder::open(output)?, None));
    }
    let scratch = tempfile::Builder::new().prefix("herd-rank-").tempdir().context("a scratch folder")?;
    Ok((RunFolder::open(&scratch.path().join("run"))?, Some(scratch)))
}
