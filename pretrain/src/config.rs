//! The keys of `herd pretrain`. They are separate from those of the later stages, because most of these (epochs, chat templates,
//! adapters) have no meaning here; keys with the same meaning have the same names.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use llama::device::{Count, Dtype, Place};
use pretrain_stream::plan::{Course, Ramp, Reweight};
use serde::{Deserialize, Serialize};
use trainer::stage::{Class, StageConfig, Training};
use trainer::{AverageKind, Interval, Reduce, ScheduleKind, SpikeGuard, TrainSettings};

/// Number of past steps of the spike guard, as in OLMo-core.
const SPIKE_WINDOW: usize = 128;

/// The configuration of a run. Every key may be set in the file given by `--config`; flags take precedence. The defaults are those of the
/// Llama 3 paper's scaling runs (section 3.2.1), and of Llama 2 where that paper states none.
#[derive(clap::Args, Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The model to start from: a name in the cache or a folder, such as `herd model new` makes
    #[arg(long)]
    pub model: PathBuf,
    /// Token shards of a source (a folder, or a file NAME.ds) and its share of the tokens. Repeatable
    #[arg(long, num_args = 1.., value_name = "SHARDS[:WEIGHT]")]
    pub data: Vec<String>,
    /// Number of tokens to train on; the last step may exceed it
    #[arg(long)]
    pub tokens: u64,
    /// Folder for checkpoints, metrics and the result; the same command resumes a stopped run
    #[arg(long, value_name = "RUN")]
    pub output: PathBuf,
    /// Token shards of held-out text
    #[arg(long, num_args = 1.., value_name = "SHARDS", help_heading = "Data")]
    pub eval_data: Vec<PathBuf>,
    /// Number of tokens of held-out text for an evaluation, spread evenly over it
    #[arg(long, help_heading = "Data")]
    pub eval_tokens: u64,
    /// New source weights after a number of tokens, one for each source, as 500000000:0.4,0.6. Repeatable
    #[arg(long, num_args = 1.., value_name = "TOKENS:WEIGHTS", help_heading = "Data")]
    pub reweight: Vec<String>,
    /// Let tokens attend to earlier documents of the same row
    #[arg(long, help_heading = "Data")]
    pub cross_documents: bool,
    /// Compare the digests of all shards before the first step, whatever their size [default: up to 8 GB]
    #[arg(long, help_heading = "Data")]
    pub verify_data: bool,

    /// Tokens of a row
    #[arg(long, help_heading = "Steps")]
    pub sequence_length: u64,
    /// Tokens of an optimizer step, a multiple of --sequence-length
    #[arg(long, help_heading = "Steps")]
    pub batch_tokens: u64,
    /// New batch size and sequence length after a number of tokens, as 252000000:8388608:8192. Repeatable
    #[arg(long, num_args = 1.., value_name = "TOKENS:BATCH:LENGTH", help_heading = "Steps")]
    pub ramp: Vec<String>,
    /// Number of tokens in a micro-batch, which passes through the model at once; changes memory and speed, not the result
    #[arg(long, help_heading = "Steps")]
    pub micro_batch_tokens: usize,
    /// Seed of the data order
    #[arg(long, help_heading = "Steps")]
    pub seed: u64,

    /// Peak learning rate
    #[arg(long, visible_alias = "lr", help_heading = "Optimizer")]
    pub learning_rate: f64,
    /// Learning-rate schedule after the warm-up
    #[arg(long, help_heading = "Optimizer")]
    pub schedule: ScheduleKind,
    /// Number of warm-up steps
    #[arg(long, help_heading = "Optimizer")]
    pub warmup_steps: u64,
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
    /// Weight decay, on matrices only: a step shrinks them by this value times the learning rate
    #[arg(long, help_heading = "Optimizer")]
    pub weight_decay: f64,
    /// Maximum gradient norm, 0 for no limit
    #[arg(long, help_heading = "Optimizer")]
    pub max_grad_norm: f64,
    /// Average of the weights over the steps, which is evaluated and becomes the result
    #[arg(long, help_heading = "Optimizer")]
    pub average: AverageKind,
    /// Maximum decay of the average ema, which grows from 0.1
    #[arg(long, help_heading = "Optimizer")]
    pub average_decay: f64,
    /// Coefficient of the z-loss, the squared logarithm of the softmax's denominator (PaLM: 1e-4), 0 for none; needs memory for the
    /// logits of a micro-batch
    #[arg(long, help_heading = "Optimizer")]
    pub z_loss: f64,
    /// Skip a step whose loss or gradient norm is this many standard deviations above the last 128 steps, 0 for never
    #[arg(long, help_heading = "Optimizer")]
    pub spike_sigma: f64,

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

    /// The keys in the form that all training stages share; see [`Config::settle`].
    #[arg(skip)]
    #[serde(skip)]
    pub(crate) training: Training,
}

impl Default for Config {
    fn default() -> Self {
        let common = Training::default();
        Self {
            model: PathBuf::new(),
            data: Vec::new(),
            tokens: 0,
            output: PathBuf::new(),
            eval_data: Vec::new(),
            eval_tokens: 1_000_000,
            reweight: Vec::new(),
            cross_documents: false,
            verify_data: false,
            sequence_length: 1024,
            batch_tokens: 65_536,
            ramp: Vec::new(),
            micro_batch_tokens: 4096,
            seed: common.seed,
            learning_rate: 3e-4,
            schedule: ScheduleKind::Cosine,
            warmup_steps: 100,
            final_lr_ratio: 0.1,
            decay_ratio: common.decay_ratio,
            beta1: 0.9,
            beta2: 0.95,
            eps: 1e-8,
            weight_decay: 0.1,
            max_grad_norm: 1.0,
            average: AverageKind::None,
            average_decay: common.average_decay,
            z_loss: 0.0,
            spike_sigma: 0.0,
            eval_steps: 0,
            checkpoint_steps: 0,
            checkpoint_minutes: common.checkpoint_minutes,
            keep_last: common.keep_last,
            keep_best: common.keep_best,
            recompute: false,
            recompute_layers: None,
            dtype: None,
            device: None,
            threads: None,
            reduce: common.reduce,
            context_parallel: common.context_parallel,
            deterministic: common.deterministic,
            rank_seconds: common.rank_seconds,
            check_weights: common.check_weights,
            check_gradients: common.check_gradients,
            save_dtype: None,
            training: common,
        }
    }
}

impl Config {
    /// The folders of the sources, with their weights.
    ///
    /// # Errors
    /// When there is no source, or when a weight is not a number of at least 0.
    pub fn sources(&self) -> anyhow::Result<(Vec<PathBuf>, Vec<f64>)> {
        ensure!(!self.data.is_empty(), "--data is missing: name a folder of token shards");
        let source = |text: &String| -> anyhow::Result<(PathBuf, f64)> {
            match text.rsplit_once(':') {
                Some((path, weight)) if !Path::new(text).exists() && !weight.contains('/') => {
                    let number: f64 = weight.parse().map_err(|_| {
                        anyhow::anyhow!("--data {text}: {weight:?} is not a number; write SHARDS:WEIGHT, as code/:0.17")
                    })?;
                    ensure!(number >= 0.0 && number.is_finite(), "--data {text}: the weight must be 0 or more");
                    Ok((path.into(), number))
                }
                _ => Ok((text.into(), 1.0)),
            }
        };
        Ok(self.data.iter().map(source).collect::<anyhow::Result<Vec<_>>>()?.into_iter().unzip())
    }

    /// The specification of the plan.
    ///
    /// # Errors
    /// When a flag is invalid or contradicts another; the error names it.
    pub fn course(&self) -> anyhow::Result<Course> {
        ensure!(self.tokens > 0, "--tokens is missing: say how many tokens to train on");
        let mut ramps = vec![Ramp { at: 0, batch_tokens: self.batch_tokens, length: self.sequence_length }];
        for text in &self.ramp {
            let numbers: Vec<u64> = text.split(':').filter_map(|number| number.parse().ok()).collect();
            match numbers[..] {
                [at, batch_tokens, length] if text.split(':').count() == 3 => {
                    ramps.push(Ramp { at, batch_tokens, length })
                }
                _ => bail!("--ramp {text}: write TOKENS:BATCH:LENGTH in whole numbers, as 252000000:8388608:8192"),
            }
        }
        let mut weights = vec![Reweight { at: 0, weights: self.sources()?.1 }];
        for text in &self.reweight {
            let wrong = || format!("--reweight {text}: write TOKENS:WEIGHTS, as 500000000:0.4,0.6");
            let (at, list) = text.split_once(':').with_context(wrong)?;
            let list = list
                .split(',')
                .map(str::parse)
                .collect::<Result<Vec<f64>, _>>()
                .map_err(|_| anyhow::anyhow!(wrong()))?;
            weights.push(Reweight { at: at.parse().with_context(wrong)?, weights: list });
        }
        let course = Course { seed: self.seed, tokens: self.tokens, ramps, weights };
        course.check().map_err(anyhow::Error::msg)?;
        Ok(course)
    }

    /// Converts the keys into the form that all training stages share. `data` and `eval_data` are the headers of the shards, which
    /// contain the digests of everything else.
    ///
    /// # Errors
    /// The same as [`Config::course`].
    pub fn settle(&mut self, data: Vec<String>, eval_data: Vec<String>) -> anyhow::Result<()> {
        let longest = usize::try_from(self.course()?.longest())?;
        ensure!(
            self.micro_batch_tokens >= longest,
            "--micro-batch-tokens is {}, but the longest row has {longest} tokens: make the first at least the second",
            self.micro_batch_tokens
        );
        self.training = Training {
            model: self.model.clone(),
            data,
            output: self.output.clone(),
            eval_data,
            max_length: Some(longest),
            batch_tokens: usize::try_from(self.batch_tokens)?,
            micro_batch_tokens: self.micro_batch_tokens,
            seed: self.seed,
            learning_rate: self.learning_rate,
            schedule: self.schedule,
            warmup_ratio: 0.0,
            final_lr_ratio: self.final_lr_ratio,
            decay_ratio: self.decay_ratio,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
            weight_decay: self.weight_decay,
            max_grad_norm: self.max_grad_norm,
            average: self.average,
            average_decay: self.average_decay,
            eval_steps: self.eval_steps,
            checkpoint_steps: self.checkpoint_steps,
            checkpoint_minutes: self.checkpoint_minutes,
            keep_last: self.keep_last,
            keep_best: self.keep_best,
            recompute: self.recompute,
            recompute_layers: self.recompute_layers,
            dtype: self.dtype,
            device: self.device,
            threads: self.threads,
            reduce: self.reduce,
            context_parallel: self.context_parallel,
            deterministic: self.deterministic,
            rank_seconds: self.rank_seconds,
            check_weights: self.check_weights,
            check_gradients: self.check_gradients,
            save_dtype: self.save_dtype,
            ..Training::default()
        };
        Ok(())
    }
}

impl AsRef<Config> for Config {
    fn as_ref(&self) -> &Config {
        self
    }
}

impl AsMut<Config> for Config {
    fn as_mut(&mut self) -> &mut Config {
        self
    }
}

impl StageConfig for Config {
    fn training(&self) -> &Training {
        &self.training
    }

    fn check(&self) -> anyhow::Result<()> {
        for (name, value) in [("--z-loss", self.z_loss), ("--spike-sigma", self.spike_sigma)] {
            ensure!(value >= 0.0 && value.is_finite(), "{name} is {value}; it must be 0 or more");
        }
        ensure!(self.eval_tokens > 0, "--eval-tokens is 0: leave --eval-data out to evaluate nothing");
        Ok(())
    }

    fn class(key: &str) -> Class {
        match key {
            // These keys change what is evaluated or checked, not what is learned.
            "eval_tokens" | "verify_data" => Class::Free,
            _ => Class::Course,
        }
    }

    fn adjust(&self, settings: &mut TrainSettings) {
        settings.schedule.warmup_steps = self.warmup_steps;
        settings.spike_guard =
            (self.spike_sigma > 0.0).then_some(SpikeGuard { sigma: self.spike_sigma, window: SPIKE_WINDOW });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            data: vec!["text/:0.83".into(), "code:0.17".into()],
            tokens: 1_000_000,
            ramp: vec!["200000:131072:2048".into()],
            reweight: vec!["500000:0.5,0.5".into()],
            ..Config::default()
        }
    }

    #[test]
    fn flags_make_a_course() {
        let course = config().course().unwrap();
        assert_eq!(config().sources().unwrap().0, [PathBuf::from("text/"), "code".into()]);
        assert_eq!((course.window(), course.longest(), course.ramps[1].at), (1024, 2048, 200_000));
        assert_eq!(
            course.weights,
            [Reweight { at: 0, weights: vec![0.83, 0.17] }, Reweight { at: 500_000, weights: vec![0.5, 0.5] }]
        );
    }

    #[test]
    fn mistakes_are_sentences() {
        type Change = fn(&mut Config);
        let wrong: [(Change, &str); 7] = [
            (|c| c.tokens = 0, "--tokens is missing"),
            (|c| c.data.clear(), "--data is missing"),
            (|c| c.data[0] = "text/:x".into(), "--data text/:x: \"x\" is not a number"),
            (|c| c.data[0] = "text/:-1".into(), "the weight must be 0 or more"),
            (|c| c.ramp[0] = "200000:131072".into(), "--ramp 200000:131072: write TOKENS:BATCH:LENGTH"),
            (|c| c.reweight[0] = "500000:a,b".into(), "--reweight 500000:a,b: write TOKENS:WEIGHTS"),
            (
                |c| c.ramp[0] = "200000:131072:1536".into(),
                "the longest sequence, 1536, is no multiple of the length 1024",
            ),
        ];
        for (change, sentence) in wrong {
            let mut config = config();
            change(&mut config);
            let error = format!("{:#}", config.course().unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
    }
}
