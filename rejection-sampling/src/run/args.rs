//! The flags of `herd rejection-sampling run`.

use std::path::PathBuf;

use ::run::Frame;
use curation::JudgeArgs;
use sampler::SamplerArgs;
use serde::Serialize;

use super::problems::Format;
use super::select::Select;
use super::verify::VerifyArgs;

/// Arguments of `herd rejection-sampling run`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Problems, one per line (.jsonl, also .gz, .zst, .parquet)
    #[arg(long, value_name = "FILE")]
    pub problems: PathBuf,
    /// The folder for samples, selection, pairs and the record; the same command continues where it stopped
    #[arg(long, value_name = "RUN")]
    pub output: PathBuf,
    /// The criterion that selects samples
    #[arg(long)]
    pub select: Select,
    /// Number of samples of each problem
    #[arg(short = 'n', long, alias = "k", short_alias = 'k', default_value_t = 16)]
    pub samples: u64,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub sampler: SamplerArgs,
    /// A further checkpoint to sample from; CAPABILITY=MODEL replaces --model for problems of that capability. With
    /// --endpoint, these are names of the server's models. Repeatable
    #[arg(long, value_name = "[CAPABILITY=]MODEL")]
    pub checkpoint: Vec<String>,

    /// The format of the problem file's rows
    #[arg(long, value_enum, default_value = "problem", help_heading = "Problems")]
    pub format: Format,
    /// For --format gsm8k: the field of the question
    #[arg(long, default_value = "question", help_heading = "Problems")]
    pub prompt_column: String,
    /// For --format gsm8k: the field of the answer
    #[arg(long, default_value = "answer", help_heading = "Problems")]
    pub answer_column: String,
    /// For --format gsm8k: use only problems whose worked answer has at most this many steps (lines above ####). A
    /// weak model solves only the short ones, and its samples of the others are of no use
    #[arg(long, value_name = "N", help_heading = "Problems")]
    pub max_solution_steps: Option<usize>,
    /// Number of problems to skip at the start
    #[arg(long, default_value_t = 0, help_heading = "Problems")]
    pub skip: usize,
    /// Maximum number of problems
    #[arg(long, help_heading = "Problems")]
    pub limit: Option<usize>,

    /// Temperatures; the samples of a problem take them in turn
    #[arg(long, value_delimiter = ',', default_value = "0.8", help_heading = "Sampling")]
    pub temperature: Vec<f64>,
    /// Sample from this many of the most likely tokens; 0 means all
    #[arg(long, default_value_t = 0, help_heading = "Sampling")]
    pub top_k: usize,
    /// Sample from the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = 1.0, help_heading = "Sampling")]
    pub top_p: f64,
    /// Drop tokens less likely than this times the most likely one
    #[arg(long, default_value_t = 0.0, help_heading = "Sampling")]
    pub min_p: f64,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0, help_heading = "Sampling")]
    pub seed: u64,
    /// Maximum number of tokens of an answer
    #[arg(long, default_value_t = 512, help_heading = "Sampling")]
    pub max_new_tokens: usize,
    /// A string that ends an answer. Repeatable
    #[arg(long, help_heading = "Sampling")]
    pub stop: Vec<String>,
    /// System prompts that steer the style, used in turn: lines {"capability", "name", "system"}
    #[arg(long, value_name = "FILE", help_heading = "Sampling")]
    pub styles: Option<PathBuf>,
    /// Keep the steering system prompt in the selected conversations and pairs
    #[arg(long, help_heading = "Sampling")]
    pub keep_style: bool,

    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub verify: VerifyArgs,
    /// Number of times that the model may repair a failed program, given its outputs and failed tests
    #[arg(long, default_value_t = 0, help_heading = "Verification")]
    pub repairs: u64,
    /// Let the model write tests for programs that have none
    #[arg(long, help_heading = "Verification")]
    pub write_tests: bool,
    /// Do not check that an answer is in the language of its prompt
    #[arg(long, help_heading = "Verification")]
    pub any_language: bool,
    /// Retry samples and verdicts that failed in an earlier run
    #[arg(long, help_heading = "Verification")]
    #[serde(skip)]
    pub retry_failed: bool,

    /// Count a right answer as right even if a step of it is judged wrong; otherwise such an answer is neither
    /// selected nor rejected
    #[arg(long, help_heading = "Selection")]
    pub outcome_only: bool,
    /// The reward model's folder, for --select rm and verifier+rm
    #[arg(long, value_name = "FOLDER", help_heading = "Selection")]
    pub reward_model: Option<PathBuf>,
    /// Maximum number of selected samples of a problem
    #[arg(long, default_value_t = 4, help_heading = "Selection")]
    pub per_problem: usize,
    /// Maximum number of preference pairs of a problem; if right answers are fewer than wrong ones, a right answer is
    /// used in several pairs
    #[arg(long, default_value_t = 4, help_heading = "Selection")]
    pub pairs: usize,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub judge: JudgeArgs,
}
