//! The configuration keys that all training stages share.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::ensure;
use run::Class;
use serde::{Deserialize, Serialize};

use super::sources::OverLong;
use crate::watch::cost::Trained;
use crate::{
    AverageKind, AverageSettings, Interval, OptimizerSettings, Plan, Reduce, Schedule, ScheduleKind, Source, StepSize,
    TrainSettings, WeightsFile,
};
use llama::device::{Compute, Count, Dtype, Place};
use llama::{LlamaConfig, locate};

/// Default maximal length of an example in tokens, if `--max-length` is not given and the model's context is not shorter.
pub const MAX_LENGTH: usize = 2048;

/// Default of `--check-weights` with several processes: steps between comparisons of the weights.
pub(super) const CHECK_WEIGHTS: u64 = 100;

/// Largest allowed weight of a training file. A larger one is probably a typo, and the data order would fill the memory.
const MOST_WEIGHT: f64 = 1000.0;

/// The configuration of a training run that all stages share: each key is declared once, with its flag and its help text. A
/// stage flattens it into its own configuration (`#[command(flatten)] #[serde(flatten)]`) and overrides some defaults.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The model to start from: a name in the cache or a folder
    #[arg(long)]
    pub model: PathBuf,
    /// Training data; with a weight of 2 an epoch has each record twice, with 0.5 a random half of them. Repeatable
    #[arg(long, num_args = 1.., value_name = "FILE[:WEIGHT]")]
    pub data: Vec<String>,
    /// Folder for checkpoints, metrics and the result; the same command resumes a stopped run
    #[arg(long, value_name = "RUN")]
    pub output: PathBuf,
    /// Held-out data
    #[arg(long, num_args = 1.., value_name = "FILE", help_heading = "Data")]
    pub eval_data: Vec<String>,
    /// Share of the training examples to hold out
    #[arg(long, help_heading = "Data")]
    pub eval_fraction: f64,
    /// Write invalid records to RUN/rejected-N.jsonl instead of stopping at the first
    #[arg(long, help_heading = "Data")]
    pub skip_bad: bool,
    /// Variable of the chat template, such as date_string="26 Jul 2024"; JSON is parsed. Repeatable
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Data")]
    pub template_var: Vec<String>,
    /// Tokenise text that spells a special token, such as <filename>, as plain text instead of refusing the record
    #[arg(long, help_heading = "Data")]
    pub plain_special_tokens: bool,
    /// Maximum length of an example, in tokens [default: 2048, or the model's context if that is shorter]
    #[arg(long, help_heading = "Data")]
    pub max_length: Option<usize>,
    /// What to do with examples longer than --max-length
    #[arg(long, help_heading = "Data")]
    pub over_long: OverLong,

    /// Number of passes through the data
    #[arg(long, help_heading = "Steps")]
    pub epochs: u64,
    /// Number of optimizer steps, instead of epochs
    #[arg(long, help_heading = "Steps")]
    pub max_steps: Option<usize>,
    /// Approximate number of tokens in an optimizer step
    #[arg(long, help_heading = "Steps")]
    pub batch_tokens: usize,
    /// Number of examples in an optimizer step, instead of --batch-tokens
    #[arg(long, help_heading = "Steps")]
    pub batch_size: Option<usize>,
    /// Number of tokens in a micro-batch, which passes through the model at once; changes memory and speed, not the result
    #[arg(long, help_heading = "Steps")]
    pub micro_batch_tokens: usize,
    /// Seed of the data order and of all noise
    #[arg(long, help_heading = "Steps")]
    pub seed: u64,

    /// Peak learning rate
    #[arg(long, visible_alias = "lr", help_heading = "Optimizer")]
    pub learning_rate: f64,
    /// Learning-rate schedule after the warm-up
    #[arg(long, help_heading = "Optimizer")]
    pub schedule: ScheduleKind,
    /// Share of the steps that warm up
    #[arg(long, help_heading = "Optimizer")]
    pub warmup_ratio: f64,
    /// Learning rate at the end, as a share of the peak
    #[arg(long, help_heading = "Optimizer")]
    pub final_lr_ratio: f64,
    /// Share of the steps for the decay of the schedule wsd, and for the average polyak
    #[arg(long, help_heading = "Optimizer")]
    pub decay_ratio: f64,
    /// Decay rate of AdamW's first moment
    #[arg(long, help_heading = "Optimizer")]
    pub beta1: f64,
    /// Decay rate of AdamW's second moment
    #[arg(long, help_heading = "Optimizer")]
    pub beta2: f64,
    /// AdamW's epsilon
    #[arg(long, help_heading = "Optimizer")]
    pub eps: f64,
    /// Weight decay, on matrices only
    #[arg(long, help_heading = "Optimizer")]
    pub weight_decay: f64,
    /// Maximum gradient norm, 0 for no limit
    #[arg(long, help_heading = "Optimizer")]
    pub max_grad_norm: f64,
    /// Average of the weights over the steps, which is evaluated and becomes the result; with LoRA it needs --merge
    #[arg(long, help_heading = "Optimizer")]
    pub average: AverageKind,
    /// Maximum decay of the average ema, which grows from 0.1
    #[arg(long, help_heading = "Optimizer")]
    pub average_decay: f64,

    /// Rank of LoRA, 0 for full fine-tuning
    #[arg(long, help_heading = "LoRA")]
    pub lora_rank: i64,
    /// LoRA's alpha [default: twice the rank]
    #[arg(long, help_heading = "LoRA")]
    pub lora_alpha: Option<f64>,
    /// Dropout on the inputs of LoRA's updates, as a share
    #[arg(long, help_heading = "LoRA")]
    pub lora_dropout: f64,
    /// Projections to which LoRA is applied
    #[arg(long, num_args = 1.., help_heading = "LoRA")]
    pub lora_targets: Vec<String>,
    /// Also write the merged model
    #[arg(long, help_heading = "LoRA")]
    pub merge: bool,

    /// Steps between evaluations, 0 for evaluations only before and after training
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub eval_steps: u64,
    /// Steps between checkpoints, 0 for no checkpoints by steps
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub checkpoint_steps: u64,
    /// Minutes between checkpoints, 0 for no checkpoints by time; auto: Young's interval, from the measured cost of a checkpoint
    #[arg(long, value_name = "N|auto", help_heading = "Evaluation and checkpoints")]
    pub checkpoint_minutes: Interval,
    /// Number of newest checkpoints to keep
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub keep_last: usize,
    /// Number of best checkpoints to keep, by evaluation loss
    #[arg(long, help_heading = "Evaluation and checkpoints")]
    pub keep_best: usize,

    /// Recompute activations in the backward pass instead of keeping them: less memory, a third more time
    #[arg(long, help_heading = "Machine")]
    pub recompute: bool,
    /// Recompute the activations of the first N layers only; auto: as few layers as the free memory allows
    #[arg(long, value_name = "N|auto", conflicts_with = "recompute", help_heading = "Machine")]
    pub recompute_layers: Option<Count>,
    /// Type to compute in; master weights and moments are always float32 [default: bf16 where it is fast, f32 elsewhere]
    #[arg(long, help_heading = "Machine")]
    pub dtype: Option<Dtype>,
    /// Where to compute: cpu, cuda (the first GPU) or cuda:N [default: the first GPU if there is one that libtorch can use]
    #[arg(long, help_heading = "Machine")]
    pub device: Option<Place>,
    /// Threads for the processor's arithmetic; auto: as many as are fastest beside the other programs [default: one for each core]
    #[arg(long, value_name = "N|auto", help_heading = "Machine")]
    pub threads: Option<Count>,
    /// How the gradients of several processes are summed
    #[arg(long, help_heading = "Machine")]
    pub reduce: Reduce,
    /// Context parallelism: divide the tokens of each row among the processes instead of the micro-batches, for rows that are too long
    /// for one process
    #[arg(long, help_heading = "Machine")]
    pub context_parallel: bool,
    /// Sum in a fixed order on a GPU, so that a stopped and resumed run ends with the same bits; slower. On a processor this always holds
    #[arg(long, help_heading = "Machine")]
    pub deterministic: bool,
    /// Seconds that a process waits for another before it fails
    #[arg(long, help_heading = "Machine")]
    pub rank_seconds: f64,
    /// Steps between comparisons of the bits of all weights, across processes and with what was written; 0 for none [default: 100 with
    /// several processes, 0 alone]
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub check_weights: Option<u64>,
    /// Steps between recomputations of a neighbour's micro-batch, whose gradient must have the same bits; 0 for none
    #[arg(long, value_name = "N", help_heading = "Machine")]
    pub check_gradients: u64,
    /// Type of the saved weights [default: the type in the model's files]
    #[arg(long, help_heading = "Machine")]
    pub save_dtype: Option<Dtype>,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            data: Vec::new(),
            eval_data: Vec::new(),
            eval_fraction: 0.0,
            output: PathBuf::new(),
            skip_bad: false,
            template_var: Vec::new(),
            plain_special_tokens: false,
            max_length: None,
            over_long: OverLong::Error,
            epochs: 1,
            max_steps: None,
            batch_tokens: 16_384,
            batch_size: None,
            micro_batch_tokens: 4096,
            learning_rate: 1e-5,
            schedule: ScheduleKind::Cosine,
            warmup_ratio: 0.03,
            final_lr_ratio: 0.1,
            decay_ratio: 0.2,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            max_grad_norm: 1.0,
            lora_rank: 0,
            lora_alpha: None,
            lora_dropout: 0.0,
            lora_targets: vec!["all-linear".into()],
            merge: false,
            average: AverageKind::None,
            average_decay: 0.999,
            recompute: false,
            recompute_layers: None,
            eval_steps: 0,
            checkpoint_steps: 0,
            checkpoint_minutes: Interval::Minutes(10.0),
            keep_last: 2,
            keep_best: 1,
            seed: 0,
            dtype: None,
            device: None,
            threads: None,
            reduce: Reduce::Exact,
            context_parallel: false,
            deterministic: false,
            rank_seconds: 600.0,
            check_weights: None,
            check_gradients: 0,
            save_dtype: None,
        }
    }
}

impl Training {
    /// Checks the values and their combinations.
    ///
    /// # Errors
    /// A sentence that names the flag and what to write instead.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.model.as_os_str().is_empty(), "--model is missing: name a model folder, or a model in the cache");
        ensure!(!self.data.is_empty(), "--data is missing: name a file of training data");
        ensure!(!self.output.as_os_str().is_empty(), "--output is missing: name a folder for the run");
        // A length beyond the model's context is reported before the micro-batch size that would hold it.
        if let Some(context) = self.context() {
            self.max_length_in(context)?;
        }
        ensure!(
            self.micro_batch_tokens >= self.longest(),
            "--micro-batch-tokens is {}, but --max-length allows examples of {} tokens: make the first at least the second",
            self.micro_batch_tokens,
            self.longest()
        );
        ensure!(self.longest() >= 2, "--max-length must be at least 2");
        ensure!(self.batch_tokens >= 1 && self.batch_size != Some(0), "a step must have at least one example");
        ensure!(
            self.epochs >= 1 && self.max_steps != Some(0),
            "--epochs and --max-steps must be at least 1, or there is nothing to train"
        );
        for (name, value) in [
            ("--eval-fraction", self.eval_fraction),
            ("--warmup-ratio", self.warmup_ratio),
            ("--final-lr-ratio", self.final_lr_ratio),
            ("--decay-ratio", self.decay_ratio),
            ("--beta1", self.beta1),
            ("--beta2", self.beta2),
            ("--average-decay", self.average_decay),
            ("--lora-dropout", self.lora_dropout),
        ] {
            ensure!((0.0..=1.0).contains(&value), "{name} is {value}; it must lie between 0 and 1");
        }
        for (name, value) in [
            ("--learning-rate", self.learning_rate),
            ("--eps", self.eps),
            ("--weight-decay", self.weight_decay),
            ("--max-grad-norm", self.max_grad_norm),
            (
                "--checkpoint-minutes",
                if let Interval::Minutes(minutes) = self.checkpoint_minutes { minutes } else { 0.0 },
            ),
        ] {
            ensure!(value >= 0.0 && value.is_finite(), "{name} is {value}; it must be 0 or more");
        }
        ensure!(
            self.rank_seconds > 0.0 && self.rank_seconds <= 1e6,
            "--rank-seconds is {}; it must be more than 0, and a million at most",
            self.rank_seconds
        );
        ensure!(self.lora_rank >= 0, "--lora-rank is {}; it must be 0 (full fine-tuning) or more", self.lora_rank);
        if self.lora_rank == 0 {
            ensure!(self.lora_alpha.is_none(), "--lora-alpha without --lora-rank: give a rank, or leave it out");
            ensure!(self.lora_dropout == 0.0, "--lora-dropout without --lora-rank: give a rank, or leave it out");
            ensure!(!self.merge, "--merge without --lora-rank: full fine-tuning has nothing to merge");
        }
        ensure!(
            !self.context_parallel || self.lora_dropout == 0.0,
            "--lora-dropout with --context-parallel: the processes would draw the same random numbers for other tokens; leave one \
             out"
        );
        ensure!(self.lora_alpha.is_none_or(|alpha| alpha > 0.0), "--lora-alpha must be more than 0");
        ensure!(
            self.average == AverageKind::None || self.lora_rank == 0 || self.merge,
            "--average with --lora-rank needs --merge: the average of low-rank updates has no low rank, so the result is the \
             merged model"
        );
        ensure!(
            self.dtype != Some(Dtype::F16),
            "--dtype f16 is not for training: small gradients become 0 in it; use bf16 or f32"
        );
        ensure!(
            !(self.recompute && self.recompute_layers.is_some()),
            "--recompute is for all layers, --recompute-layers for some: leave one of them out"
        );
        self.sources()?;
        Ok(())
    }

    /// The context of the model in tokens; `None` if it cannot be read, which loading the model reports.
    fn context(&self) -> Option<usize> {
        let folder = locate::locate(&self.model.to_string_lossy()).ok()?;
        usize::try_from(LlamaConfig::from_dir(&folder).ok()?.max_position_embeddings).ok()
    }

    /// Maximal length of an example in tokens that the configuration allows, for any model.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.max_length.unwrap_or(MAX_LENGTH)
    }

    /// Maximal length of an example in tokens for a model with this context length.
    ///
    /// # Errors
    /// When `--max-length` exceeds the model's context.
    pub fn max_length_in(&self, context: usize) -> anyhow::Result<usize> {
        if let Some(asked) = self.max_length {
            ensure!(
                asked <= context,
                "--max-length is {asked}, but the context of {} is {context} tokens: lower --max-length to {context} (longer \
                 examples then follow --over-long), or extend the model's context first (max_position_embeddings and \
                 rope_scaling in its config.json)",
                self.model.display()
            );
        }
        Ok(self.longest().min(context))
    }

    /// Effect of a change of a key on a resumed run ([`Class`]); `None` if it changes the course. The micro-batch size changes
    /// the order of sums, and with LoRA dropout or NEFTune also which random numbers a token gets. Device and data type change
    /// the rounding.
    #[must_use]
    pub fn class(key: &str) -> Option<Class> {
        match key {
            // These inputs are compared by content instead of path.
            "model" | "data" | "eval_data" => Some(Class::Free),
            "output" | "checkpoint_steps" | "checkpoint_minutes" | "keep_last" | "keep_best" | "eval_steps"
            | "rank_seconds" | "check_weights" | "check_gradients" => Some(Class::Free),
            // Recomputation gives the same sums, bit for bit.
            "recompute" | "recompute_layers" => Some(Class::Free),
            "micro_batch_tokens" | "dtype" | "device" | "threads" | "reduce" | "context_parallel" | "deterministic" => {
                Some(Class::Bits)
            }
            "merge" | "save_dtype" => Some(Class::Output),
            _ => None,
        }
    }

    /// The training files with their weights.
    ///
    /// # Errors
    /// When a weight is not a number from 0 to [`MOST_WEIGHT`].
    pub fn sources(&self) -> anyhow::Result<Vec<(PathBuf, f64)>> {
        self.data.iter().map(|text| source(text)).collect()
    }

    /// Plans which examples each step sees.
    #[must_use]
    pub fn plan(&self, sources: &[Source]) -> Plan {
        let size = self.batch_size.map_or(StepSize::Tokens(self.batch_tokens), StepSize::Examples);
        Plan::new(sources, self.epochs, self.max_steps, size, self.seed)
    }

    /// Number of layers, counted from the first, that are recomputed; `usize::MAX` for all. With `auto` this is the upper
    /// bound.
    #[must_use]
    pub fn recompute_layers(&self) -> usize {
        match self.recompute_layers {
            Some(Count::Of(layers)) => layers,
            Some(Count::Auto) => usize::MAX,
            None if self.recompute => usize::MAX,
            None => 0,
        }
    }

    /// The requested device, data type and thread count, not resolved yet.
    #[must_use]
    pub fn compute(&self) -> Compute {
        Compute { dtype: self.dtype, device: self.device, threads: self.threads }
    }

    /// Time that a process waits for another before it gives up.
    #[must_use]
    pub fn rank_limit(&self) -> Duration {
        Duration::from_secs_f64(self.rank_seconds)
    }

    /// The settings of the loop for a run of `steps` steps.
    #[must_use]
    pub fn settings(&self, steps: u64, trained: Trained, fingerprint: String) -> TrainSettings {
        let share = |ratio: f64| (ratio * steps as f64).ceil() as u64;
        let above = |value: u64| (value > 0).then_some(value);
        TrainSettings {
            optimizer: OptimizerSettings {
                beta1: self.beta1,
                beta2: self.beta2,
                eps: self.eps,
                weight_decay: self.weight_decay,
                decay_norms_and_biases: false,
                max_grad_norm: (self.max_grad_norm > 0.0).then_some(self.max_grad_norm),
            },
            schedule: Schedule {
                kind: self.schedule,
                peak: self.learning_rate,
                warmup_steps: share(self.warmup_ratio),
                total_steps: steps,
                final_ratio: self.final_lr_ratio,
                decay_steps: share(self.decay_ratio),
            },
            seed: self.seed,
            recompute: self.recompute_layers(),
            memory: None,
            trained,
            weights_file: match trained {
                Trained::Everything => WeightsFile::Model,
                Trained::Adapter { .. } => WeightsFile::Adapter,
            },
            checkpoint_steps: above(self.checkpoint_steps),
            checkpoint_interval: self.checkpoint_minutes,
            keep_last: self.keep_last,
            keep_best: self.keep_best,
            eval_steps: above(self.eval_steps),
            average: AverageSettings {
                kind: self.average,
                decay: self.average_decay,
                start: match self.average {
                    AverageKind::Polyak => steps - share(self.decay_ratio).clamp(1, steps.max(1)).min(steps),
                    _ => 0,
                },
            },
            spike_guard: None,
            rates: Vec::new(),
            lora: None,
            reduce: self.reduce,
            context_parallel: self.context_parallel,
            check_weights: self.check_weights.and_then(above),
            check_gradients: above(self.check_gradients),
            fingerprint,
        }
    }
}

fn source(text: &str) -> anyhow::Result<(PathBuf, f64)> {
    // A file whose name contains a colon.
    if Path::new(text).exists() {
        return Ok((text.into(), 1.0));
    }
    match text.rsplit_once(':') {
        Some((path, weight)) if !path.is_empty() && !weight.contains('/') => {
            let weight: f64 = weight.parse().map_err(|_| {
                anyhow::anyhow!("--data {text}: {weight:?} is not a number; write path:weight, as a.jsonl:0.5")
            })?;
            ensure!(
                (0.0..=MOST_WEIGHT).contains(&weight),
                "--data {text}: the weight is how often an epoch has each record; it must lie between 0 and {MOST_WEIGHT} \
                 (for more passes over all data there is --epochs)"
            );
            Ok((path.into(), weight))
        }
        _ => Ok((text.into(), 1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training() -> Training {
        Training {
            model: "m".into(),
            data: vec!["a.jsonl:2".into(), "b/c.jsonl".into()],
            output: "o".into(),
            ..Training::default()
        }
    }

    #[test]
    fn files_have_weights() {
        training().check().unwrap();
        assert_eq!(training().sources().unwrap(), [("a.jsonl".into(), 2.0), ("b/c.jsonl".into(), 1.0)]);
    }

    #[test]
    fn mistakes_are_sentences() {
        type Change = fn(&mut Training);
        let wrong: [(Change, &str); 6] = [
            (|t| t.data = vec!["a:x".into()], "\"x\" is not a number"),
            (|t| t.data.clear(), "--data is missing"),
            (|t| t.max_length = Some(5000), "--micro-batch-tokens is 4096, but --max-length allows examples of 5000"),
            (|t| t.merge = true, "--merge without --lora-rank"),
            (|t| t.warmup_ratio = 1.5, "--warmup-ratio is 1.5"),
            (
                |t| (t.recompute, t.recompute_layers) = (true, Some(Count::Of(3))),
                "--recompute is for all layers, --recompute-layers for some",
            ),
        ];
        for (change, sentence) in wrong {
            let mut training = training();
            change(&mut training);
            let error = format!("{:#}", training.check().unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn the_context_is_checked_before_the_size_of_a_row() {
        let dir = tempfile::tempdir().unwrap();
        llama::NewModel { hidden: 8, layers: 1, context: 128, seed: 0 }.write(dir.path()).unwrap();
        let long = Training { model: dir.path().into(), max_length: Some(20_000), ..training() };
        let error = long.check().unwrap_err().to_string();
        assert!(error.starts_with("--max-length is 20000, but the context of"), "{error}");
        Training { max_length: Some(128), ..long }.check().unwrap();
    }

    #[test]
    fn layers_to_compute_again() {
        let layers =
            |recompute, recompute_layers| Training { recompute, recompute_layers, ..training() }.recompute_layers();
        assert_eq!(layers(false, None), 0);
        assert_eq!(layers(true, None), usize::MAX);
        assert_eq!(layers(false, Some(Count::Of(3))), 3);
    }

    /// A resume accepts the changes that an out-of-memory error suggests (`train/step.rs`).
    #[test]
    fn keys_that_save_memory_change_bits_at_most() {
        assert_eq!(Training::class("micro_batch_tokens"), Some(Class::Bits));
        for key in ["recompute", "recompute_layers"] {
            assert_eq!(Training::class(key), Some(Class::Free), "{key}");
        }
        assert_eq!(Training::class("learning_rate"), None);
        assert_eq!(Training::class("merge"), Some(Class::Output));
    }
}
