//! The keys of `herd safety guard train`.

use anyhow::ensure;
use clap::ValueEnum;
use guard::train::Options;
use run::Input;
use serde::{Deserialize, Serialize};
use trainer::stage::sources::OverLong;
use trainer::stage::{StageConfig, Training};

/// The tiers of a guard.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// A language model and the linear tier
    Both,
    /// The linear tier alone; needs no --model
    Linear,
}

/// The configuration of a run.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The keys that all training stages share.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: Training,
    /// The keys that all guards share.
    #[command(flatten)]
    #[serde(flatten)]
    pub options: Options,
    /// The tiers of the guard
    #[arg(long, help_heading = "Guard")]
    pub head: Head,
    /// Number of variants of the policy to train besides the full one: a random part of the categories, in another order, some by name
    /// only
    #[arg(long, help_heading = "Guard")]
    pub variants: usize,
}

impl Default for Config {
    /// One epoch in steps of 32 texts at learning rate 5e-5.
    fn default() -> Self {
        let training = Training {
            batch_size: Some(32),
            learning_rate: 5e-5,
            over_long: OverLong::Drop,
            plain_special_tokens: true,
            ..Training::default()
        };
        Self { training, options: Options::default(), head: Head::Both, variants: 24 }
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        self.options.check()?;
        for (path, weight) in self.training.sources()? {
            ensure!(weight == 1.0, "--data {}: the weight is {weight}; a guard has each record once", path.display());
        }
        // A skipped record would be written out with its text.
        ensure!(!self.training.skip_bad, "--skip-bad: bad records of a guard's data are to be mended, not set aside");
        Ok(())
    }

    fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        self.options.inputs()
    }
}
