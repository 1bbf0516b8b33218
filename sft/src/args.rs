//! The flags of `herd sft`.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value};
use trainer::device::{Dtype, Place};
use trainer::{AverageKind, ScheduleKind};

use crate::config::{OverLong, TrainOn};

/// Arguments of `herd sft`. Every flag but `--config` may also stand in the configuration file, with `_` for `-`.
#[derive(clap::Args, Debug, Clone, Default, Serialize)]
pub struct Args {
    /// A TOML file with any of the keys below (`learning_rate = 2e-5`); flags win over it
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Show the data, the plan and the memory estimate, and stop before the first step
    #[arg(long)]
    #[serde(skip)]
    pub dry_run: bool,

    /// The model to start from: a name in the cache or a folder
    #[arg(long)]
    model: Option<PathBuf>,
    /// Conversations to train on; a weight of 2 has each twice in an epoch, 0.5 a random half. Repeatable
    #[arg(long, num_args = 1.., value_name = "FILE[:WEIGHT]")]
    data: Vec<String>,
    /// The folder for checkpoints, metrics and the result; the same command goes on where it was stopped
    #[arg(long, value_name = "RUN")]
    output: Option<PathBuf>,
    /// Held-out conversations
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Data")]
    eval_data: Vec<String>,
    /// Share of the training conversations to hold out [default: 0]
    #[arg(long, help_heading = "Data")]
    eval_fraction: Option<f64>,
    /// For records without messages: the field that holds the prompt, such as question
    #[arg(long, help_heading = "Data")]
    prompt_column: Option<String>,
    /// For records without messages: the field that holds the answer, such as answer
    #[arg(long, help_heading = "Data")]
    answer_column: Option<String>,
    /// Set bad lines aside in RUN/rejected-N.jsonl instead of stopping at the first
    #[arg(long, help_heading = "Data")]
    skip_bad: bool,
    /// Which assistant turns are trained [default: all-turns]
    #[arg(long, help_heading = "Data")]
    train_on: Option<TrainOn>,
    /// The longest conversation, in tokens [default: 2048]
    #[arg(long, help_heading = "Data")]
    max_length: Option<usize>,
    /// What to do with longer ones [default: error]
    #[arg(long, help_heading = "Data")]
    over_long: Option<OverLong>,

    /// Times through the data [default: 1]
    #[arg(long, help_heading = "Steps")]
    epochs: Option<u64>,
    /// Optimizer steps, instead of epochs
    #[arg(long, help_heading = "Steps")]
    max_steps: Option<usize>,
    /// Tokens per optimizer step, about [default: 16384]
    #[arg(long, help_heading = "Steps")]
    batch_tokens: Option<usize>,
    /// Conversations per optimizer step, instead of --batch-tokens
    #[arg(long, help_heading = "Steps")]
    batch_size: Option<usize>,
    /// Tokens that pass through the model at a time; changes memory and speed, not the result [default: 4096]
    #[arg(long, help_heading = "Steps")]
    micro_batch_tokens: Option<usize>,
    /// Seed of the data order and of all noise [default: 0]
    #[arg(long, help_heading = "Steps")]
    seed: Option<u64>,

    /// Peak learning rate [default: 1e-5, the recipe's]
    #[arg(long, visible_alias = "lr", help_heading = "Optimizer")]
    learning_rate: Option<f64>,
    /// What follows the warm-up [default: cosine]
    #[arg(long, help_heading = "Optimizer")]
    schedule: Option<ScheduleKind>,
    /// Share of the steps that warm up [default: 0.03]
    #[arg(long, help_heading = "Optimizer")]
    warmup_ratio: Option<f64>,
    /// Learning rate at the end, as a share of the peak [default: 0.1]
    #[arg(long, help_heading = "Optimizer")]
    final_lr_ratio: Option<f64>,
    /// Share of the steps that decay, for the schedule wsd [default: 0.2]
    #[arg(long, help_heading = "Optimizer")]
    decay_ratio: Option<f64>,
    /// Decay rate of AdamW's first moment [default: 0.9]
    #[arg(long, help_heading = "Optimizer")]
    beta1: Option<f64>,
    /// Decay rate of AdamW's second moment [default: 0.95]
    #[arg(long, help_heading = "Optimizer")]
    beta2: Option<f64>,
    /// AdamW's epsilon [default: 1e-8]
    #[arg(long, help_heading = "Optimizer")]
    eps: Option<f64>,
    /// Weight decay, on matrices only [default: 0.1]
    #[arg(long, help_heading = "Optimizer")]
    weight_decay: Option<f64>,
    /// Largest gradient norm, 0 for no limit [default: 1]
    #[arg(long, help_heading = "Optimizer")]
    max_grad_norm: Option<f64>,
    /// Strength of NEFTune's noise on the embeddings (Jain et al. 2023), 0 for none [default: 0]
    #[arg(long, help_heading = "Optimizer")]
    neftune_alpha: Option<f64>,
    /// Average of the weights over the steps, which becomes the result [default: none]
    #[arg(long, help_heading = "Optimizer")]
    average: Option<AverageKind>,
    /// Decay of the average ema [default: 0.999]
    #[arg(long, help_heading = "Optimizer")]
    average_decay: Option<f64>,

    /// Rank of LoRA, 0 for full fine-tuning [default: 0]
    #[arg(long, help_heading = "LoRA")]
    lora_rank: Option<i64>,
    /// LoRA's alpha [default: twice the rank]
    #[arg(long, help_heading = "LoRA")]
    lora_alpha: Option<f64>,
    /// Projections to put LoRA on [default: all-linear]
    #[arg(long, num_args = 1.., help_heading = "LoRA")]
    lora_targets: Vec<String>,
    /// Also write the merged model
    #[arg(long, help_heading = "LoRA")]
    merge: bool,

    /// Steps between evaluations, 0 for only before and after [default: 0]
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    eval_steps: Option<u64>,
    /// Steps between checkpoints, 0 for none by steps [default: 0]
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    checkpoint_steps: Option<u64>,
    /// Minutes between checkpoints, 0 for none by time [default: 10]
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    checkpoint_minutes: Option<f64>,
    /// Newest checkpoints to keep [default: 2]
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    keep_last: Option<usize>,
    /// Best checkpoints to keep, by evaluation loss [default: 1]
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    keep_best: Option<usize>,

    /// Compute activations again in the backward pass instead of keeping them: less memory, a third more time
    #[arg(long, help_heading = "Machine")]
    recompute: bool,
    /// Type to compute in; master weights and moments are float32 always [default: bf16 where it is fast, f32 elsewhere]
    #[arg(long, help_heading = "Machine")]
    dtype: Option<Dtype>,
    /// Where to compute [default: the GPU if there is one that libtorch can use]
    #[arg(long, help_heading = "Machine")]
    device: Option<Place>,
    /// Threads for the processor's arithmetic [default: one for each core]
    #[arg(long, help_heading = "Machine")]
    threads: Option<usize>,
    /// Type of the saved weights [default: as the model's files]
    #[arg(long, help_heading = "Machine")]
    save_dtype: Option<Dtype>,
}

impl Args {
    /// The flags that were given, under their keys.
    ///
    /// # Errors
    /// Never in practice.
    pub fn given(&self) -> serde_json::Result<Map<String, Value>> {
        let Value::Object(mut flags) = serde_json::to_value(self)? else { return Ok(Map::new()) };
        flags.retain(|_, value| {
            !value.is_null() && *value != Value::Bool(false) && value.as_array().is_none_or(|v| !v.is_empty())
        });
        Ok(flags)
    }
}
