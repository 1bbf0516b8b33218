//! The keys of this stage, in addition to those of every training stage.

use std::path::PathBuf;

use anyhow::ensure;
use clap::ValueEnum;
use pictures::Limits;
use run::{Class, Input};
use serde::{Deserialize, Serialize};
use trainer::TrainSettings;
use trainer::stage::{StageConfig, Training};

use crate::adapter::{ENCODER, ENCODER_PREFIX};
use crate::encoder::EncoderOptions;

/// The pictures of an example.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pictures {
    /// The example's own pictures
    Own,
    /// The pictures of another example: the model learns the questions but not the pictures, for comparison (`eval --blind`)
    Other,
}

/// The configuration of a run. The file given by `--config` may set every key; flags override it.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The keys that all training stages share.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: Training,
    /// Initial image encoder: a Dinov2Model or MllamaForConditionalGeneration folder
    #[arg(long, value_name = "FOLDER", help_heading = "Vision")]
    pub encoder: Option<PathBuf>,
    /// Continue training the adapter and the encoder of this model, on the language model of --model
    #[arg(long, value_name = "FOLDER", help_heading = "Vision")]
    pub from: Option<PathBuf>,
    /// Insert a cross-attention layer for every N layers of the language model
    #[arg(long, value_name = "N", help_heading = "Vision")]
    pub cross_every: usize,
    /// DINOv2: the longer side of a picture in pixels [default: that of the encoder's config.json]
    #[arg(long, value_name = "N", help_heading = "Vision")]
    pub image_size: Option<u32>,
    /// DINOv2: layers, from 0, whose states are used in addition to the last one's
    #[arg(long, value_delimiter = ',', value_name = "LAYERS", help_heading = "Vision")]
    pub encoder_layers: Vec<usize>,
    /// Train the encoder too; its states are then recomputed at every step
    #[arg(long, help_heading = "Vision")]
    pub train_encoder: bool,
    /// Learning rate of the gates, which start at zero, as a multiple of --learning-rate
    #[arg(long, help_heading = "Vision")]
    pub gate_rate: f64,
    /// Learning rate of the encoder, as a multiple of --learning-rate
    #[arg(long, help_heading = "Vision")]
    pub encoder_rate: f64,
    /// The pictures of an example
    #[arg(long, help_heading = "Vision")]
    pub pictures: Pictures,
    /// Folder in which the encoder's states are cached; runs may share it [default: features in the output folder]
    #[arg(long, value_name = "FOLDER", help_heading = "Vision")]
    pub features: Option<PathBuf>,
    /// Refuse pictures with more pixels than this, according to their headers
    #[arg(long, value_name = "N", help_heading = "Vision")]
    pub max_pixels: u64,
}

impl Default for Config {
    /// AdamW with weight decay 0.01 and a cosine schedule, a cross-attention layer for every fourth layer (the Llama 3 paper, section 7).
    fn default() -> Self {
        Self {
            training: Training { learning_rate: 5e-4, weight_decay: 0.01, batch_size: Some(32), ..Training::default() },
            encoder: None,
            from: None,
            cross_every: 4,
            image_size: None,
            encoder_layers: Vec::new(),
            train_encoder: false,
            gate_rate: 10.0,
            encoder_rate: 0.1,
            pictures: Pictures::Own,
            features: None,
            max_pixels: Limits::default().max_pixels,
        }
    }
}

impl Config {
    /// The encoder options of a new adapter.
    #[must_use]
    pub fn encoder_options(&self) -> EncoderOptions {
        EncoderOptions { image_size: self.image_size, layers: self.encoder_layers.clone() }
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        match (&self.encoder, &self.from) {
            (None, None) => {
                anyhow::bail!("--encoder is missing: name a folder of Dinov2Model, or go on --from a model")
            }
            (Some(_), Some(_)) => {
                anyhow::bail!("--encoder and --from exclude each other: the model of --from has its encoder")
            }
            _ => {}
        }
        ensure!(
            self.from.is_none() || self.encoder_options() == EncoderOptions::default(),
            "--image-size and --encoder-layers are those of the model of --from: leave them out"
        );
        ensure!(self.cross_every >= 1, "--cross-every is 0; it must be 1 or more");
        for (name, value) in [("--gate-rate", self.gate_rate), ("--encoder-rate", self.encoder_rate)] {
            ensure!(value >= 0.0 && value.is_finite(), "{name} is {value}; it must be 0 or more");
        }
        let training = &self.training;
        ensure!(training.lora_rank == 0, "--lora-rank: the language model stays as it is; leave it out");
        ensure!(
            !training.recompute && training.recompute_layers.is_none(),
            "--recompute: vision train keeps all activations; make --micro-batch-tokens smaller instead"
        );
        ensure!(training.save_dtype.is_none(), "--save-dtype: an adapter is saved in float32; leave it out");
        Ok(())
    }

    fn class(key: &str) -> Class {
        match key {
            // Folders are compared by content; states do not depend on the place of their cache.
            "encoder" | "from" | "features" => Class::Free,
            _ => Class::Course,
        }
    }

    fn adjust(&self, settings: &mut TrainSettings) {
        settings.rates = vec![(ENCODER_PREFIX.to_owned(), self.encoder_rate), ("_gate".to_owned(), self.gate_rate)];
    }

    fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        let mut inputs = Vec::new();
        if let Some(folder) = &self.encoder {
            let folder = llama::locate::locate(&folder.to_string_lossy())?;
            inputs.push(Input::model("encoder", &folder)?);
        }
        if let Some(folder) = &self.from {
            inputs.push(Input::model("from", folder)?);
            inputs.push(Input::model("from", &folder.join(ENCODER))?);
        }
        Ok(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_sentences() {
        let usual = || Config { encoder: Some("e".into()), ..Config::default() };
        usual().check().unwrap();
        type Change = fn(&mut Config);
        let wrong: [(Change, &str); 6] = [
            (|c| c.encoder = None, "--encoder is missing"),
            (|c| c.from = Some("f".into()), "--encoder and --from exclude each other"),
            (|c| c.cross_every = 0, "--cross-every is 0"),
            (|c| c.gate_rate = -1.0, "--gate-rate is -1"),
            (|c| c.training.lora_rank = 8, "--lora-rank: the language model stays as it is"),
            (|c| c.training.recompute = true, "--recompute: vision train keeps"),
        ];
        for (change, sentence) in wrong {
            let mut config = usual();
            change(&mut config);
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
        let mut config = Config { encoder: None, from: Some("f".into()), image_size: Some(28), ..usual() };
        assert!(config.check().unwrap_err().to_string().contains("those of the model of --from"));
        config.image_size = None;
        config.check().unwrap();
    }
}
