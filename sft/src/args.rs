//! The flags of `herd sft`.

use std::path::PathBuf;

use serde::Serialize;
use trainer::stage::{TrainingArgs, show_defaults};

use crate::config::{Config, TrainOn};

/// Arguments of `herd sft`. Every flag but `--config` may also stand in the configuration file, with `_` for `-`.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
#[command(defer(show_defaults::<Config>))]
pub struct Args {
    /// A TOML file with any of the keys below (`learning_rate = 2e-5`); flags win over it
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Show the data, the plan and the memory estimate, and stop before the first step
    #[arg(long)]
    #[serde(skip)]
    pub dry_run: bool,

    #[command(flatten)]
    #[serde(flatten)]
    training: TrainingArgs,

    /// For records without messages: the field that holds the prompt, such as question
    #[arg(long, help_heading = "Data")]
    prompt_column: Option<String>,
    /// For records without messages: the field that holds the answer, such as answer
    #[arg(long, help_heading = "Data")]
    answer_column: Option<String>,
    /// Which assistant turns are trained
    #[arg(long, help_heading = "Data")]
    train_on: Option<TrainOn>,
    /// Strength of NEFTune's noise on the embeddings (Jain et al. 2023), 0 for none
    #[arg(long, help_heading = "Optimizer")]
    neftune_alpha: Option<f64>,
}
