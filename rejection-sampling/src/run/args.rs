//! The flags of `herd rejection-sampling run`.

use std::path::PathBuf;

use anyhow::ensure;
use llama::SamplingParams;
use sampler::SamplerArgs;
use serde_json::{Value, json};

use super::dialog::Loop;
use super::plan::Checkpoint;
use super::problems::Format;
use super::select::{Rules, Select};
use super::verify::{self, VerifyArgs};
use crate::judge_args::JudgeArgs;

/// Arguments of `herd rejection-sampling run`.
#[derive(clap::Args, Debug, Clone)]
pub struct Args {
    /// Problems, one a line (.jsonl, also .gz, .zst, .parquet)
    #[arg(long, value_name = "FILE")]
    pub problems: PathBuf,
    /// The folder for samples, selection, pairs and the record; the same command goes on where it was stopped
    #[arg(long, value_name = "RUN")]
    pub output: PathBuf,
    /// What decides which samples are kept
    #[arg(long)]
    pub select: Select,
    /// Samples of each problem
    #[arg(short, long, default_value_t = 16)]
    pub k: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub sampler: SamplerArgs,
    /// A further checkpoint to sample from; CAPABILITY=MODEL takes the place of --model for problems of that
    /// capability. Repeatable. With --endpoint these are names of its models
    #[arg(long, value_name = "[CAPABILITY=]MODEL")]
    pub checkpoint: Vec<String>,

    /// What the rows of the problem file are
    #[arg(long, value_enum, default_value = "problem", help_heading = "Problems")]
    pub format: Format,
    /// For --format gsm8k: the field of the question
    #[arg(long, default_value = "question", help_heading = "Problems")]
    pub prompt_column: String,
    /// For --format gsm8k: the field of its answer
    #[arg(long, default_value = "answer", help_heading = "Problems")]
    pub answer_column: String,
    /// For --format gsm8k: only problems whose worked answer has at most this many steps (lines above ####). A weak model
    /// solves the short ones only, and its samples of the others teach nothing
    #[arg(long, value_name = "N", help_heading = "Problems")]
    pub max_solution_steps: Option<usize>,
    /// Problems to leave out at the start
    #[arg(long, default_value_t = 0, help_heading = "Problems")]
    pub skip: usize,
    /// The most problems
    #[arg(long, help_heading = "Problems")]
    pub limit: Option<usize>,

    /// Temperatures, which the samples of a problem take in turn
    #[arg(long, value_delimiter = ',', default_value = "0.8", help_heading = "Sampling")]
    pub temperature: Vec<f64>,
    /// Keep this many of the most likely tokens; 0 keeps all
    #[arg(long, default_value_t = 0, help_heading = "Sampling")]
    pub top_k: usize,
    /// Keep the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = 1.0, help_heading = "Sampling")]
    pub top_p: f64,
    /// Drop tokens less likely than this times the most likely one
    #[arg(long, default_value_t = 0.0, help_heading = "Sampling")]
    pub min_p: f64,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, help_heading = "Sampling")]
    pub seed: u64,
    /// The most tokens of an answer
    #[arg(long, default_value_t = 512, help_heading = "Sampling")]
    pub max_new_tokens: usize,
    /// A string that ends an answer; may be given several times
    #[arg(long, help_heading = "Sampling")]
    pub stop: Vec<String>,
    /// System prompts that steer the style, taken in turn: lines {"capability", "name", "system"}
    #[arg(long, value_name = "FILE", help_heading = "Sampling")]
    pub styles: Option<PathBuf>,
    /// Keep the steering system prompt in the selected conversations and pairs
    #[arg(long, help_heading = "Sampling")]
    pub keep_style: bool,

    #[command(flatten)]
    #[allow(missing_docs)]
    pub verify: VerifyArgs,
    /// Attempts of the model to repair a program that failed, told of its outputs and failed tests
    #[arg(long, default_value_t = 0, help_heading = "Verification")]
    pub repairs: u64,
    /// Let the model write tests for programs that have none
    #[arg(long, help_heading = "Verification")]
    pub write_tests: bool,
    /// Do not ask whether an answer is in the language of its prompt
    #[arg(long, help_heading = "Verification")]
    pub any_language: bool,
    /// Ask again for samples and verdicts that an earlier run could not get
    #[arg(long, help_heading = "Verification")]
    pub retry_failed: bool,

    /// Count a right answer as right although a step of it is judged wrong; otherwise it is on no side
    #[arg(long, help_heading = "Selection")]
    pub outcome_only: bool,
    /// The reward model's folder, for --select rm and verifier+rm
    #[arg(long, value_name = "FOLDER", help_heading = "Selection")]
    pub reward_model: Option<PathBuf>,
    /// The most selected samples of a problem
    #[arg(long, default_value_t = 4, help_heading = "Selection")]
    pub per_problem: usize,
    /// The most preference pairs of a problem; where right answers are fewer, each stands against several wrong ones
    #[arg(long, default_value_t = 4, help_heading = "Selection")]
    pub pairs: usize,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub judge: JudgeArgs,
}

impl Args {
    /// Checks what clap cannot.
    ///
    /// # Errors
    /// A sentence that names the flag and what to write instead.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!((1..=1 << 20).contains(&self.k), "--k is {}; it must be at least 1", self.k);
        ensure!(
            self.max_solution_steps.is_none() || self.format == Format::Gsm8k,
            "--max-solution-steps counts the steps of GSM8K's worked answers; it needs --format gsm8k"
        );
        ensure!(self.max_new_tokens >= 1, "--max-new-tokens must be at least 1");
        ensure!(!self.temperature.is_empty(), "--temperature: give at least one");
        ensure!(self.repairs < 100, "--repairs is {}; it must be below 100", self.repairs);
        for &temperature in &self.temperature {
            self.params(temperature)?;
        }
        ensure!(
            !self.select.needs_reward() || self.reward_model.is_some(),
            "--select {} needs --reward-model; train one with `herd rejection-sampling train-rm`",
            serde_json::to_string(&self.select)?.trim_matches('"')
        );
        ensure!(
            self.select != Select::Judge || self.judge.is_given(),
            "--select judge needs --judge-model or --judge-endpoint"
        );
        Ok(())
    }

    /// The engine's parameters at a temperature.
    ///
    /// # Errors
    /// A sentence on a value that makes no sense.
    pub fn params(&self, temperature: f64) -> anyhow::Result<SamplingParams> {
        let (top_k, top_p, min_p) = (self.top_k, self.top_p, self.min_p);
        let params = SamplingParams { temperature, top_k, top_p, min_p, ..SamplingParams::default() };
        params.check().map_err(anyhow::Error::msg)?;
        Ok(params)
    }

    /// The checkpoints: `--model` (or the endpoint's model) for all capabilities, and those of `--checkpoint`.
    #[must_use]
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        let first = match self.sampler.endpoint {
            Some(_) => self.sampler.endpoint_model.clone().unwrap_or_default(),
            None => self.sampler.model.clone().unwrap_or_default(),
        };
        let all = std::iter::once(Checkpoint { capability: "*".into(), model: first });
        all.chain(self.checkpoint.iter().map(|text| Checkpoint::parse(text))).collect()
    }

    /// The flags that open a checkpoint.
    #[must_use]
    pub fn sampler_of(&self, checkpoint: &Checkpoint) -> SamplerArgs {
        let mut args = self.sampler.clone();
        let is_first = args.model.as_deref() == Some(&checkpoint.model);
        let name = Some(checkpoint.model.clone()).filter(|name| !name.is_empty());
        match args.endpoint {
            Some(_) => args.endpoint_model = name,
            None => args.model = name,
        }
        if !is_first {
            args.adapter = None;
        }
        args
    }

    /// How programs are worked on.
    #[must_use]
    pub fn rules_of_programs(&self) -> Loop {
        Loop { repairs: self.repairs, write_tests: self.write_tests }
    }

    /// How much is kept.
    #[must_use]
    pub fn rules(&self) -> Rules {
        Rules { select: self.select, per_problem: self.per_problem, pairs: self.pairs, outcome_only: self.outcome_only }
    }

    /// What answers and verdicts depend on besides problems, styles and models.
    #[must_use]
    pub fn identity(&self) -> Value {
        json!({
            "k": self.k, "temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p, "min_p": self.min_p,
            "seed": self.seed, "skip": self.skip, "max_new_tokens": self.max_new_tokens, "stop": self.stop,
            "programs": self.rules_of_programs(), "verify": verify::identity(&self.verify),
        })
    }
}
