//! The flags of the keys that every training stage has.

use std::path::PathBuf;

use serde::Serialize;

use super::sources::OverLong;
use crate::{AverageKind, ScheduleKind};
use llama::device::{Dtype, Place};

/// For `#[command(flatten)] #[serde(flatten)]` in a stage's arguments. What a flag is called, the configuration file calls
/// so too, with `_` for `-`. Defaults are the stage's: [`super::show_defaults`] puts them into the help.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
pub struct TrainingArgs {
    /// The model to start from: a name in the cache or a folder
    #[arg(long)]
    pub model: Option<PathBuf>,
    /// Training data; a weight of 2 has each record twice in an epoch, 0.5 a random half. Repeatable
    #[arg(long, num_args = 1.., value_name = "FILE[:WEIGHT]")]
    pub data: Vec<String>,
    /// The folder for checkpoints, metrics and the result; the same command goes on where it was stopped
    #[arg(long, value_name = "RUN")]
    pub output: Option<PathBuf>,
    /// Held-out data
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Data")]
    pub eval_data: Vec<String>,
    /// Share of the training examples to hold out
    #[arg(long, help_heading = "Data")]
    pub eval_fraction: Option<f64>,
    /// Set bad lines aside in RUN/rejected-N.jsonl instead of stopping at the first
    #[arg(long, help_heading = "Data")]
    pub skip_bad: bool,
    /// A variable of the chat template, such as date_string="26 Jul 2024"; JSON is taken as such. Repeatable
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Data")]
    pub template_var: Vec<String>,
    /// Tokenise text that spells a special token, such as <filename>, as plain text instead of refusing the record
    #[arg(long, help_heading = "Data")]
    pub plain_special_tokens: bool,
    /// The longest example, in tokens [default: 2048, or the model's context where that is shorter]
    #[arg(long, help_heading = "Data")]
    pub max_length: Option<usize>,
    /// What to do with examples longer than --max-length
    #[arg(long, help_heading = "Data")]
    pub over_long: Option<OverLong>,

    /// Times through the data
    #[arg(long, help_heading = "Steps")]
    pub epochs: Option<u64>,
    /// Optimizer steps, instead of epochs
    #[arg(long, help_heading = "Steps")]
    pub max_steps: Option<usize>,
    /// Tokens per optimizer step, about
    #[arg(long, help_heading = "Steps")]
    pub batch_tokens: Option<usize>,
    /// Examples per optimizer step, instead of --batch-tokens
    #[arg(long, help_heading = "Steps")]
    pub batch_size: Option<usize>,
    /// Tokens that pass through the model at a time; changes memory and speed, not the result
    #[arg(long, help_heading = "Steps")]
    pub micro_batch_tokens: Option<usize>,
    /// Seed of the data order and of all noise
    #[arg(long, help_heading = "Steps")]
    pub seed: Option<u64>,

    /// Peak learning rate
    #[arg(long, visible_alias = "lr", help_heading = "Optimizer")]
    pub learning_rate: Option<f64>,
    /// What follows the warm-up
    #[arg(long, help_heading = "Optimizer")]
    pub schedule: Option<ScheduleKind>,
    /// Share of the steps that warm up
    #[arg(long, help_heading = "Optimizer")]
    pub warmup_ratio: Option<f64>,
    /// Learning rate at the end, as a share of the peak
    #[arg(long, help_heading = "Optimizer")]
    pub final_lr_ratio: Option<f64>,
    /// Share of the steps that decay, for the schedule wsd, and that the average polyak is over
    #[arg(long, help_heading = "Optimizer")]
    pub decay_ratio: Option<f64>,
    /// Decay rate of AdamW's first moment
    #[arg(long, help_heading = "Optimizer")]
    pub beta1: Option<f64>,
    /// Decay rate of AdamW's second moment
    #[arg(long, help_heading = "Optimizer")]
    pub beta2: Option<f64>,
    /// AdamW's epsilon
    #[arg(long, help_heading = "Optimizer")]
    pub eps: Option<f64>,
    /// Weight decay, on matrices only
    #[arg(long, help_heading = "Optimizer")]
    pub weight_decay: Option<f64>,
    /// Largest gradient norm, 0 for no limit
    #[arg(long, help_heading = "Optimizer")]
    pub max_grad_norm: Option<f64>,
    /// Average of the weights over the steps, which is evaluated and becomes the result; with LoRA it needs --merge
    #[arg(long, help_heading = "Optimizer")]
    pub average: Option<AverageKind>,
    /// Largest decay of the average ema, which grows from 0.1
    #[arg(long, help_heading = "Optimizer")]
    pub average_decay: Option<f64>,

    /// Rank of LoRA, 0 for full fine-tuning
    #[arg(long, help_heading = "LoRA")]
    pub lora_rank: Option<i64>,
    /// LoRA's alpha [default: twice the rank]
    #[arg(long, help_heading = "LoRA")]
    pub lora_alpha: Option<f64>,
    /// Share of the inputs of LoRA's updates that are dropped in training
    #[arg(long, help_heading = "LoRA")]
    pub lora_dropout: Option<f64>,
    /// Projections to put LoRA on
    #[arg(long, num_args = 1.., help_heading = "LoRA")]
    pub lora_targets: Vec<String>,
    /// Also write the merged model
    #[arg(long, help_heading = "LoRA")]
    pub merge: bool,

    /// Steps between evaluations, 0 for only before and after
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub eval_steps: Option<u64>,
    /// Steps between checkpoints, 0 for none by steps
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub checkpoint_steps: Option<u64>,
    /// Minutes between checkpoints, 0 for none by time
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub checkpoint_minutes: Option<f64>,
    /// Newest checkpoints to keep
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub keep_last: Option<usize>,
    /// Best checkpoints to keep, by evaluation loss
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub keep_best: Option<usize>,

    /// Compute activations again in the backward pass instead of keeping them: less memory, a third more time
    #[arg(long, help_heading = "Machine")]
    pub recompute: bool,
    /// Type to compute in; master weights and moments are float32 always [default: bf16 where it is fast, f32 elsewhere]
    #[arg(long, help_heading = "Machine")]
    pub dtype: Option<Dtype>,
    /// Where to compute [default: the GPU if there is one that libtorch can use]
    #[arg(long, help_heading = "Machine")]
    pub device: Option<Place>,
    /// Threads for the processor's arithmetic [default: one for each core]
    #[arg(long, help_heading = "Machine")]
    pub threads: Option<usize>,
    /// Type of the saved weights [default: as the model's files]
    #[arg(long, help_heading = "Machine")]
    pub save_dtype: Option<Dtype>,
}
