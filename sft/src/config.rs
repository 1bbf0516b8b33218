//! The keys of this stage, in addition to those of every training stage.

use anyhow::ensure;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use trainer::stage::{StageConfig, Training};

/// Which assistant turns are trained.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainOn {
    /// Every assistant turn
    AllTurns,
    /// Only the last assistant turn
    LastTurn,
    /// Every assistant turn as a separate example, for templates that rewrite earlier turns
    EachTurn,
}

/// The configuration of a run. The file given by `--config` may set every key; flags override it. The defaults are
/// those of the recipe (the Llama 3 paper, section 4.1.3).
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The keys that every training stage has.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: Training,
    /// For records without messages: the field that holds the prompt, such as question
    #[arg(long, help_heading = "Data")]
    pub prompt_column: Option<String>,
    /// For records without messages: the field that holds the answer, such as answer
    #[arg(long, help_heading = "Data")]
    pub answer_column: Option<String>,
    /// Which assistant turns are trained
    #[arg(long, help_heading = "Data")]
    pub train_on: TrainOn,
    /// Strength of NEFTune's noise on the embeddings (Jain et al. 2023), 0 for none
    #[arg(long, help_heading = "Optimizer")]
    pub neftune_alpha: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            training: Training::default(),
            prompt_column: None,
            answer_column: None,
            train_on: TrainOn::AllTurns,
            neftune_alpha: 0.0,
        }
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(
            self.prompt_column.is_some() == self.answer_column.is_some(),
            "--prompt-column and --answer-column belong together: give both or neither"
        );
        let alpha = self.neftune_alpha;
        ensure!(alpha >= 0.0 && alpha.is_finite(), "--neftune-alpha is {alpha}; it must be 0 or more");
        Ok(())
    }
}
