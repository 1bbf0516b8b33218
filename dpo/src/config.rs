//! The keys of this stage, in addition to those of every training stage.

use std::path::PathBuf;

use anyhow::ensure;
use clap::ValueEnum;
use llama::locate;
use run::Input;
use serde::{Deserialize, Serialize};
use trainer::stage::{Class, StageConfig, Training};

use crate::losses::{Loss, LossKind};
use crate::pairs::Part;

/// Whether headers and terminators count in the preference loss.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormattingTokens {
    /// They do not count, as in the Llama 3 paper
    Mask,
    /// They count
    Keep,
}

impl FormattingTokens {
    /// Whether a token counts in the preference loss.
    #[must_use]
    pub fn counts(self, part: Part) -> bool {
        match part {
            Part::Context => false,
            Part::Formatting => self == Self::Keep,
            Part::Content => true,
        }
    }
}

/// When the two responses of a pair share their prompt in a row.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharePrompt {
    /// If it is faster: from 16 shared tokens on
    Auto,
    /// Whenever there is a shared token
    Always,
    /// Never: each response has its own copy of the prompt
    Never,
}

impl SharePrompt {
    /// Whether a pair with `tokens` shared tokens shares them.
    #[must_use]
    pub fn shares(self, tokens: usize) -> bool {
        match self {
            Self::Auto => tokens >= 16,
            Self::Always => tokens > 0,
            Self::Never => false,
        }
    }
}

/// The configuration of a run. The file given by `--config` may set every key; flags override it. The defaults are
/// those of the recipe (the Llama 3 paper, section 4.1.4) where it specifies them.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The keys that every training stage has.
    #[command(flatten)]
    #[serde(flatten)]
    pub training: Training,
    /// Train only on preferences of these strengths, such as significantly_better better; records without a strength
    /// always count
    #[arg(long, num_args = 1.., value_name = "LEVEL", help_heading = "Data")]
    pub strengths: Vec<String>,

    /// The preference loss
    #[arg(long, help_heading = "Preference loss")]
    pub loss: LossKind,
    /// Strength of the penalty for leaving the reference: the scale of the rewards
    #[arg(long, help_heading = "Preference loss")]
    pub beta: f64,
    /// Weight of the NLL of the chosen response, per token, with its formatting tokens
    #[arg(long, help_heading = "Preference loss")]
    pub nll_weight: f64,
    /// Whether the headers and terminators of both responses are part of the preference loss
    #[arg(long, help_heading = "Preference loss")]
    pub formatting_tokens: FormattingTokens,
    /// For --loss cdpo: the share of labels that may be wrong
    #[arg(long, help_heading = "Preference loss")]
    pub label_smoothing: f64,
    /// For --loss simpo: the target margin of rewards
    #[arg(long, help_heading = "Preference loss")]
    pub simpo_gamma: f64,

    /// The reference model: a name in the cache or a folder [default: the model that training starts from]
    #[arg(long, value_name = "MODEL", help_heading = "Reference")]
    pub reference: Option<PathBuf>,
    /// Compute the reference's log-probs in every step instead of once before the first; needs no cache, but takes
    /// longer
    #[arg(long, help_heading = "Reference")]
    pub live_reference: bool,
    /// The folder for the reference's log-probs, to share it between runs [default: RUN/reference]
    #[arg(long, value_name = "FOLDER", help_heading = "Reference")]
    pub reference_cache: Option<PathBuf>,

    /// When chosen and rejected share their common prefix; changes memory and speed, not the result
    #[arg(long, help_heading = "Machine")]
    pub share_prompt: SharePrompt,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            training: Training { batch_size: Some(32), ..Training::default() },
            reference: None,
            live_reference: false,
            reference_cache: None,
            loss: LossKind::Sigmoid,
            beta: 0.1,
            label_smoothing: 0.0,
            simpo_gamma: 0.0,
            nll_weight: 0.2,
            formatting_tokens: FormattingTokens::Mask,
            share_prompt: SharePrompt::Auto,
            strengths: Vec::new(),
        }
    }
}

impl Config {
    /// The loss that the keys define.
    #[must_use]
    pub fn loss(&self) -> Loss {
        Loss {
            kind: self.loss,
            beta: self.beta,
            label_smoothing: self.label_smoothing,
            simpo_gamma: self.simpo_gamma,
            nll_weight: self.nll_weight,
        }
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn class(key: &str) -> Class {
        match key {
            // Compared by content.
            "reference" => Class::Free,
            "reference_cache" => Class::Free,
            // Another layout of the rows sums in another order.
            "share_prompt" => Class::Bits,
            _ => Class::Course,
        }
    }

    fn inputs(&self) -> anyhow::Result<Vec<Input>> {
        let Some(reference) = &self.reference else { return Ok(Vec::new()) };
        Ok(vec![Input::model("reference", &locate::locate(&reference.to_string_lossy())?)?])
    }

    fn check(&self) -> anyhow::Result<()> {
        let training = &self.training;
        ensure!(
            training.micro_batch_tokens >= 2 * training.longest(),
            "--micro-batch-tokens is {}, but the two responses of a pair may have {} tokens together (twice --max-length): \
             make the first at least the second",
            training.micro_batch_tokens,
            2 * training.longest()
        );
        ensure!(
            training.batch_tokens == Training::default().batch_tokens || training.batch_size.is_none(),
            "--batch-tokens has no effect: this stage counts its steps in pairs; give --batch-size instead"
        );
        ensure!(self.beta > 0.0 && self.beta.is_finite(), "--beta is {}; it must be more than 0", self.beta);
        ensure!(
            self.nll_weight >= 0.0 && self.nll_weight.is_finite(),
            "--nll-weight is {}; it must be 0 or more",
            self.nll_weight
        );
        ensure!(
            (0.0..0.5).contains(&self.label_smoothing),
            "--label-smoothing is {}; it must be at least 0 and less than 0.5",
            self.label_smoothing
        );
        let is = |kind| self.loss == kind;
        ensure!(
            self.label_smoothing == 0.0 || is(LossKind::Cdpo),
            "--label-smoothing belongs to --loss cdpo; choose that, or leave it out"
        );
        ensure!(
            self.label_smoothing > 0.0 || !is(LossKind::Cdpo),
            "--loss cdpo needs --label-smoothing, the share of labels that may be wrong, such as 0.1"
        );
        ensure!(
            self.simpo_gamma == 0.0 || is(LossKind::Simpo),
            "--simpo-gamma belongs to --loss simpo; choose that, or leave it out"
        );
        ensure!(
            self.simpo_gamma >= 0.0 && self.simpo_gamma.is_finite(),
            "--simpo-gamma is {}; it must be 0 or more",
            self.simpo_gamma
        );
        if !self.loss.has_reference() {
            ensure!(
                self.reference.is_none() && !self.live_reference && self.reference_cache.is_none(),
                "--loss simpo has no reference model: leave --reference, --live-reference and --reference-cache out"
            );
        }
        ensure!(
            !self.live_reference || self.reference_cache.is_none(),
            "--reference-cache and --live-reference exclude each other: a live reference is not cached"
        );
        Ok(())
    }
}
