//! The flags of `herd dpo`.

use std::path::PathBuf;

use serde::Serialize;
use trainer::stage::{TrainingArgs, show_defaults};

use crate::config::{Config, FormattingTokens, SharePrompt};
use crate::losses::LossKind;

/// Arguments of `herd dpo`. Every flag but `--config` may also stand in the configuration file, with `_` for `-`.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
#[command(defer(show_defaults::<Config>))]
pub struct Args {
    /// A TOML file with any of the keys below (`learning_rate = 1e-5`); flags win over it
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

    /// Train on preferences of these strengths, such as significantly_better better; records without one count always
    #[arg(long, num_args = 1.., value_name = "LEVEL", help_heading = "Data")]
    strengths: Vec<String>,

    /// The preference loss
    #[arg(long, help_heading = "Preference loss")]
    loss: Option<LossKind>,
    /// How strongly the policy is held to the reference: the scale of rewards
    #[arg(long, help_heading = "Preference loss")]
    beta: Option<f64>,
    /// Factor on the NLL of the chosen response, per token and over its formatting tokens too
    #[arg(long, help_heading = "Preference loss")]
    nll_weight: Option<f64>,
    /// Whether headers and terminators of both responses count in the preference loss
    #[arg(long, help_heading = "Preference loss")]
    formatting_tokens: Option<FormattingTokens>,
    /// For --loss cdpo: the share of labels that may be wrong
    #[arg(long, help_heading = "Preference loss")]
    label_smoothing: Option<f64>,
    /// For --loss simpo: the target margin of rewards
    #[arg(long, help_heading = "Preference loss")]
    simpo_gamma: Option<f64>,

    /// The reference model: a name in the cache or a folder [default: the model that training starts from]
    #[arg(long, value_name = "MODEL", help_heading = "Reference")]
    reference: Option<PathBuf>,
    /// Compute the reference's log-probs in every step instead of once before the first; needs no cache, takes longer
    #[arg(long, help_heading = "Reference")]
    live_reference: bool,
    /// The folder that keeps the reference's log-probs, to share it between runs [default: RUN/reference]
    #[arg(long, value_name = "FOLDER", help_heading = "Reference")]
    reference_cache: Option<PathBuf>,

    /// When chosen and rejected share the tokens that both begin with; changes memory and speed, not the result
    #[arg(long, help_heading = "Machine")]
    share_prompt: Option<SharePrompt>,
}
