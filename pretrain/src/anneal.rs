//! `herd pretrain anneal`: decays the learning rate to 0 over the last tokens, and averages the weights over these steps (the Llama 3
//! paper, section 3.4.3). It is pretraining of a trained model with other defaults.

use serde::{Deserialize, Serialize};
use trainer::stage::{Class, StageConfig, Training};
use trainer::{AverageKind, ScheduleKind, TrainSettings};

use crate::config::Config;

/// The keys of [`Config`] with the defaults of annealing: no warm-up, a linear decay to 0, the plain mean of the weights of all steps.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Anneal {
    /// The keys.
    #[command(flatten)]
    #[serde(flatten)]
    pub config: Config,
}

impl Default for Anneal {
    fn default() -> Self {
        Self {
            config: Config {
                // The final learning rate of a run with the defaults of pretraining.
                learning_rate: 3e-5,
                schedule: ScheduleKind::Linear,
                warmup_steps: 0,
                final_lr_ratio: 0.0,
                average: AverageKind::Polyak,
                decay_ratio: 1.0,
                ..Config::default()
            },
        }
    }
}

impl StageConfig for Anneal {
    fn training(&self) -> &Training {
        self.config.training()
    }

    fn check(&self) -> anyhow::Result<()> {
        self.config.check()
    }

    fn class(key: &str) -> Class {
        Config::class(key)
    }

    fn adjust(&self, settings: &mut TrainSettings) {
        self.config.adjust(settings);
    }
}

impl AsRef<Config> for Anneal {
    fn as_ref(&self) -> &Config {
        &self.config
    }
}

impl AsMut<Config> for Anneal {
    fn as_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}
