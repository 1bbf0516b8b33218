//! Flags and configuration file, and where each value came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};
use trainer::device::{Dtype, Place};
use trainer::{AverageKind, ScheduleKind};

/// What to do with a conversation longer than `max_length`.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OverLong {
    /// Stop and say which
    Error,
    /// Leave it out and count it
    Drop,
    /// Cut tokens off the start, whole answers where need be, and never into an answer; count it
    TruncatePrompt,
}

/// Which assistant turns are trained.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TrainOn {
    /// Every assistant turn
    AllTurns,
    /// The last one only
    LastTurn,
    /// Every assistant turn as an example of its own, for templates that rewrite earlier turns
    EachTurn,
}

/// Everything that decides a run. Every key may stand in the file given by `--config`; flags win over it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model folder.
    pub model: PathBuf,
    /// Training data, `path` or `path:weight`.
    pub data: Vec<String>,
    /// Held-out data; instead of or next to `eval_fraction`.
    pub eval_data: Vec<String>,
    /// Share of the training conversations to hold out.
    pub eval_fraction: f64,
    /// The run folder.
    pub output: PathBuf,
    /// Field that holds the prompt, for records without `messages`.
    pub prompt_column: Option<String>,
    /// Field that holds the answer, for records without `messages`.
    pub answer_column: Option<String>,
    /// Set bad lines aside in `rejected-N.jsonl` instead of stopping.
    pub skip_bad: bool,
    /// Which assistant turns are trained.
    pub train_on: TrainOn,
    /// The longest conversation, in tokens.
    pub max_length: usize,
    /// What to do with longer ones.
    pub over_long: OverLong,
    /// Epochs.
    pub epochs: u64,
    /// Optimizer steps; instead of epochs.
    pub max_steps: Option<usize>,
    /// Tokens per optimizer step.
    pub batch_tokens: usize,
    /// Conversations per optimizer step; instead of `batch_tokens`.
    pub batch_size: Option<usize>,
    /// Tokens that pass through the model at a time: memory, not mathematics.
    pub micro_batch_tokens: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// What follows the warm-up.
    pub schedule: ScheduleKind,
    /// Share of the steps that warm up.
    pub warmup_ratio: f64,
    /// Learning rate at the end, as a share of the peak.
    pub final_lr_ratio: f64,
    /// Share of the steps that decay, for the schedule `wsd`.
    pub decay_ratio: f64,
    /// AdamW's first decay rate.
    pub beta1: f64,
    /// AdamW's second decay rate.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub eps: f64,
    /// Weight decay, on matrices only.
    pub weight_decay: f64,
    /// Largest gradient norm; 0 for no limit.
    pub max_grad_norm: f64,
    /// Strength of NEFTune's noise on the embeddings; 0 for none.
    pub neftune_alpha: f64,
    /// Rank of LoRA; 0 for full fine-tuning.
    pub lora_rank: i64,
    /// LoRA's alpha.
    pub lora_alpha: Option<f64>,
    /// Projections that LoRA is put on: names, or `all-linear`.
    pub lora_targets: Vec<String>,
    /// Also write the merged model after LoRA.
    pub merge: bool,
    /// Average of the weights over the steps.
    pub average: AverageKind,
    /// Decay of the average `ema`.
    pub average_decay: f64,
    /// Compute activations again in the backward pass instead of keeping them.
    pub recompute: bool,
    /// Steps between evaluations; 0 for only before and after.
    pub eval_steps: u64,
    /// Steps between checkpoints; 0 for none by steps.
    pub checkpoint_steps: u64,
    /// Minutes between checkpoints; 0 for none by time.
    pub checkpoint_minutes: f64,
    /// Newest checkpoints to keep.
    pub keep_last: usize,
    /// Best checkpoints to keep, by evaluation loss.
    pub keep_best: usize,
    /// Seed of the data order and of all noise.
    pub seed: u64,
    /// Type to compute in.
    pub dtype: Option<Dtype>,
    /// Where to compute.
    pub device: Option<Place>,
    /// Threads of the processor.
    pub threads: Option<usize>,
    /// Type of the saved weights.
    pub save_dtype: Option<Dtype>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            model: PathBuf::new(),
            data: Vec::new(),
            eval_data: Vec::new(),
            eval_fraction: 0.0,
            output: PathBuf::new(),
            prompt_column: None,
            answer_column: None,
            skip_bad: false,
            train_on: TrainOn::AllTurns,
            max_length: 2048,
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
            neftune_alpha: 0.0,
            lora_rank: 0,
            lora_alpha: None,
            lora_targets: vec!["all-linear".into()],
            merge: false,
            average: AverageKind::None,
            average_decay: 0.999,
            recompute: false,
            eval_steps: 0,
            checkpoint_steps: 0,
            checkpoint_minutes: 10.0,
            keep_last: 2,
            keep_best: 1,
            seed: 0,
            dtype: None,
            device: None,
            threads: None,
            save_dtype: None,
        }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// The configuration file.
    File,
    /// The command line.
    Flag,
}

impl Origin {
    /// A word for tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Flag => "flag",
        }
    }
}

/// A configuration, and for every key where it came from.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    /// The origin of each key.
    pub origins: BTreeMap<String, Origin>,
}

/// Puts the file's keys over the defaults, and the flags over both, and checks the whole.
///
/// # Errors
/// A sentence on the file, the key or the combination that is wrong.
pub fn resolve(file: Option<&Path>, flags: Map<String, Value>) -> anyhow::Result<Resolved> {
    let mut keys = Map::new();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let table = DeTable::parse(&text).with_context(|| format!("{} is not TOML", path.display()))?;
        for (key, value) in table.get_ref() {
            let key = key.get_ref();
            let value = json(value.get_ref()).with_context(|| format!("{}: {key}", path.display()))?;
            keys.insert(key.clone().into_owned(), value);
        }
    }
    let known = serde_json::to_value(Config::default())?;
    let known = known.as_object().context("a configuration is an object")?;
    let mut origins: BTreeMap<String, Origin> = known.keys().map(|key| (key.clone(), Origin::Default)).collect();
    origins.extend(keys.keys().map(|key| (key.clone(), Origin::File)));
    origins.extend(flags.keys().map(|key| (key.clone(), Origin::Flag)));
    keys.extend(flags);
    let config = serde_json::from_value::<Config>(Value::Object(keys)).map_err(|error| match file {
        Some(path) => anyhow::anyhow!("{}: {error}", path.display()),
        None => error.into(),
    })?;
    config.check()?;
    Ok(Resolved { config, origins })
}

/// A value of the file as JSON, which serde then reads like the flags.
fn json(value: &DeValue) -> anyhow::Result<Value> {
    Ok(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())?.into(),
        DeValue::Float(number) => number.as_str().parse::<f64>()?.into(),
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => items.iter().map(|item| json(item.get_ref())).collect::<anyhow::Result<_>>()?,
        DeValue::Table(_) => bail!("the file has no tables: every key stands by itself, as learning_rate = 2e-5"),
    })
}

impl Config {
    fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.model.as_os_str().is_empty(), "--model is missing: name a model folder, or a model in the cache");
        ensure!(!self.data.is_empty(), "--data is missing: name a file of conversations");
        ensure!(!self.output.as_os_str().is_empty(), "--output is missing: name a folder for the run");
        ensure!(
            self.prompt_column.is_some() == self.answer_column.is_some(),
            "--prompt-column and --answer-column belong together: give both or neither"
        );
        ensure!(
            self.micro_batch_tokens >= self.max_length,
            "--micro-batch-tokens is {}, but a conversation may have --max-length {} tokens: make the first at least the \
             second",
            self.micro_batch_tokens,
            self.max_length
        );
        ensure!(self.max_length >= 2, "--max-length must be at least 2");
        ensure!(self.batch_tokens >= 1 && self.batch_size != Some(0), "a step must have at least one conversation");
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
        ] {
            ensure!((0.0..=1.0).contains(&value), "{name} is {value}; it must lie between 0 and 1");
        }
        for (name, value) in [
            ("--learning-rate", self.learning_rate),
            ("--eps", self.eps),
            ("--weight-decay", self.weight_decay),
            ("--max-grad-norm", self.max_grad_norm),
            ("--neftune-alpha", self.neftune_alpha),
            ("--checkpoint-minutes", self.checkpoint_minutes),
        ] {
            ensure!(value >= 0.0 && value.is_finite(), "{name} is {value}; it must be 0 or more");
        }
        ensure!(self.lora_rank >= 0, "--lora-rank is {}; it must be 0 (full fine-tuning) or more", self.lora_rank);
        if self.lora_rank == 0 {
            ensure!(self.lora_alpha.is_none(), "--lora-alpha without --lora-rank: give a rank, or leave it out");
            ensure!(!self.merge, "--merge without --lora-rank: full fine-tuning has nothing to merge");
        }
        self.sources()?;
        Ok(())
    }

    /// Training files with their weights.
    ///
    /// # Errors
    /// When a weight is no number of at least 0.
    pub fn sources(&self) -> anyhow::Result<Vec<(PathBuf, f64)>> {
        self.data.iter().map(|text| source(text)).collect()
    }

    /// As TOML, every key that has a value.
    ///
    /// # Errors
    /// Never in practice: a configuration can always be written.
    pub fn to_toml(&self) -> anyhow::Result<String> {
        let Value::Object(keys) = serde_json::to_value(self)? else { bail!("a configuration is an object") };
        // JSON's strings, numbers, booleans and lists of them are TOML's too.
        let lines = keys.iter().filter(|(_, value)| !value.is_null()).map(|(key, value)| format!("{key} = {value}\n"));
        Ok(lines.collect())
    }
}

fn source(text: &str) -> anyhow::Result<(PathBuf, f64)> {
    match text.rsplit_once(':') {
        Some((path, weight)) if !path.is_empty() && !weight.contains('/') => {
            let weight: f64 = weight.parse().map_err(|_| {
                anyhow::anyhow!("--data {text}: {weight:?} is no number; write path:weight, as a.jsonl:0.5")
            })?;
            ensure!(weight >= 0.0 && weight.is_finite(), "--data {text}: the weight must be 0 or more");
            Ok((path.into(), weight))
        }
        _ => Ok((text.into(), 1.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flags(extra: Value) -> Map<String, Value> {
        let mut all = json!({"model": "m", "data": ["a.jsonl:2", "b/c.jsonl"], "output": "o"});
        all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        all.as_object().unwrap().clone()
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "seed = 7\nlearning_rate = 2e-5\nschedule = \"wsd\"\n").unwrap();
        let resolved = resolve(Some(&path), flags(json!({"learning_rate": 3e-5}))).unwrap();
        assert_eq!(resolved.config.learning_rate, 3e-5);
        assert_eq!((resolved.config.seed, resolved.config.schedule), (7, ScheduleKind::Wsd));
        let origin = |key: &str| resolved.origins[key].as_str();
        assert_eq!([origin("learning_rate"), origin("seed"), origin("beta1")], ["flag", "file", "default"]);
        assert_eq!(resolved.config.sources().unwrap(), [("a.jsonl".into(), 2.0), ("b/c.jsonl".into(), 1.0)]);
        // What is written down reads back the same.
        std::fs::write(&path, resolved.config.to_toml().unwrap()).unwrap();
        assert_eq!(resolve(Some(&path), Map::new()).unwrap().config, resolved.config);
    }

    #[test]
    fn mistakes_are_sentences() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "learning_rat = 1\n").unwrap();
        let error = format!("{:#}", resolve(Some(&path), flags(json!({}))).unwrap_err());
        assert!(error.contains("c.toml: unknown field `learning_rat`"), "{error}");
        for (extra, sentence) in [
            (json!({"data": ["a:x"]}), "\"x\" is no number"),
            (json!({"data": []}), "--data is missing"),
            (
                json!({"max_length": 5000}),
                "--micro-batch-tokens is 4096, but a conversation may have --max-length 5000",
            ),
            (json!({"merge": true}), "--merge without --lora-rank"),
            (json!({"warmup_ratio": 1.5}), "--warmup-ratio is 1.5"),
            (json!({"prompt_column": "q"}), "belong together"),
        ] {
            let error = format!("{:#}", resolve(None, flags(extra)).unwrap_err());
            assert!(error.contains(sentence), "{error}");
        }
    }
}
