//! Saves the result of a run: `model/`, or `adapter/` and with `--merge` also `model/`.

use std::fs;
use std::path::Path;

use anyhow::Context;
use llama::{Llama, LoraConfig, ModelFolder};
use tch::{Device, Kind, Tensor};

use super::adapter::extra_of;
use super::training::Training;
use crate::Extra;
use crate::{AverageKind, RunFolder, WeightsFile};
use llama::device::Dtype;

/// Inputs of the saved result.
pub(super) struct Result<'a> {
    pub run: &'a RunFolder,
    pub training: &'a Training,
    /// Folder of the model that training started from.
    pub base: &'a Path,
    pub model: &'a ModelFolder,
    pub lora: Option<&'a LoraConfig>,
    pub extra: &'a Extra,
}

impl Result<'_> {
    /// Writes the files that a checkpoint needs beside the weights to be a model or adapter folder.
    pub fn decorate(&self, target: &Path) -> anyhow::Result<()> {
        match self.lora {
            None if self.extra.frozen => Ok(()),
            None => self.write_texts(target, Kind::Float),
            Some(lora) => write_adapter_config(lora, target),
        }
    }

    /// Writes the trained float32 `weights` as the result.
    pub fn save(&self, weights: &[(String, Tensor)]) -> anyhow::Result<()> {
        let kind = self.training.save_dtype.map(Dtype::kind);
        let Some(lora) = self.lora else {
            let kind = match kind {
                Some(kind) => kind,
                None => llama::weights_kind(self.base)?,
            };
            return save_folder(&self.run.join("model"), |target| {
                self.write_texts(target, kind)?;
                WeightsFile::Model.write(target, weights, kind).map(drop)
            });
        };
        // The average of low-rank updates is not of low rank, so it cannot be saved as an adapter.
        let averaged = self.training.average != AverageKind::None;
        if !averaged {
            save_folder(&self.run.join("adapter"), |target| {
                write_adapter_config(lora, target)?;
                WeightsFile::Adapter.write(target, weights, Kind::Float).map(drop)
            })?;
        }
        if !self.training.merge {
            // A merged model of an earlier session is not a result of this command.
            let merged = self.run.join("model");
            return if merged.is_dir() { Ok(fs::remove_dir_all(merged)?) } else { Ok(()) };
        }
        // Merge into the base model's files in float32; merging into a narrower type would round twice.
        let kind = match kind {
            Some(kind) => kind,
            None => llama::weights_kind(self.base)?,
        };
        let mut merged = Llama::load(self.base, Some(Kind::Float), Device::Cpu)?;
        let updates = weights.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        if averaged {
            merged.merge_updates(lora, &updates)?;
        } else {
            merged.set_adapter(lora, &updates)?;
            merged.merge_adapter();
        }
        let mut all = self.extra.without_head(merged.named_parameters());
        all.extend(extra_of(weights, self.extra));
        save_folder(&self.run.join("model"), |target| {
            self.write_texts(target, kind)?;
            WeightsFile::Model.write(target, &all, kind).map(drop)
        })
    }

    /// Writes the configuration and tokenizer of a model folder: everything except the weights.
    fn write_texts(&self, target: &Path, kind: Kind) -> anyhow::Result<()> {
        let mut config = self.model.model.config().to_json(kind)?;
        if let Some(keys) = config.as_object_mut() {
            keys.extend(self.extra.config.clone());
        }
        let text = format!("{}\n", serde_json::to_string_pretty(&config)?);
        dataset::write_file(target.join("config.json"), text.as_bytes())?;
        self.model.tokenizer.save(target)?;
        Ok(())
    }
}

fn write_adapter_config(lora: &LoraConfig, target: &Path) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(lora)?;
    Ok(dataset::write_file(target.join("adapter_config.json"), format!("{text}\n").as_bytes())?)
}

/// Like [`run::replace_folder`]; the error states what to do.
pub(super) fn save_folder(target: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    run::replace_folder(target, fill).with_context(|| {
        format!("cannot save {}; the checkpoints are whole: make room and run the same command again", target.display())
    })
}
