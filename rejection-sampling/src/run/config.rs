//! The configuration of a run, computed once from its flags. Each part of the run gets its part of it.

use ::run::{Class, Input};
use anyhow::ensure;
use llama::{SamplingParams, locate};
use sampler::SamplerArgs;

use super::args::Args;
use super::dialog::Loop;
use super::plan::{self, Checkpoint, Style};
use super::problems::{Columns, Format};
use super::select::{Rules, Select};

/// The checked configuration of a run.
pub struct Config<'a> {
    /// How the rows of the problem file are read.
    pub columns: Columns<'a>,
    /// The checkpoints.
    pub checkpoints: Vec<Checkpoint>,
    /// For each checkpoint, the flags that open it.
    pub samplers: Vec<SamplerArgs>,
    /// System prompts that steer the style.
    pub styles: Vec<Style>,
    /// How answers are sampled.
    pub answers: Answers,
    /// Settings of the program loop.
    pub programs: Loop,
    /// The contents of the result files.
    pub files: Files,
}

/// How answers are sampled.
pub struct Answers {
    /// Sampling parameters at temperature 1; each sample has its own temperature.
    base: SamplingParams,
    /// Maximum number of tokens of an answer.
    pub max_new_tokens: usize,
    /// Strings that end an answer.
    pub stop: Vec<String>,
}

impl Answers {
    /// The parameters at a temperature, which [`Config::new`] has checked.
    #[must_use]
    pub fn at(&self, temperature: f64) -> SamplingParams {
        SamplingParams { temperature, ..self.base.clone() }
    }
}

/// The contents of the result files.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    /// Number of samples of each problem.
    pub k: usize,
    /// The selection rules.
    pub rules: Rules,
    /// Whether to keep the steering system prompt.
    pub keep_style: bool,
    /// Whether to compare the languages of prompt and answer.
    pub compare_languages: bool,
}

impl<'a> Config<'a> {
    /// Makes the checks that clap cannot make, and reads the styles.
    ///
    /// # Errors
    /// When a flag is invalid; the error names it and says what to write instead.
    pub fn new(args: &'a Args) -> anyhow::Result<Self> {
        ensure!((1..=1 << 20).contains(&args.samples), "--samples is {}; it must be at least 1", args.samples);
        ensure!(
            args.max_solution_steps.is_none() || args.format == Format::Gsm8k,
            "--max-solution-steps counts the steps of GSM8K's worked answers; it needs --format gsm8k"
        );
        ensure!(args.max_new_tokens >= 1, "--max-new-tokens must be at least 1");
        ensure!(!args.temperature.is_empty(), "--temperature: give at least one");
        ensure!(args.repairs < 100, "--repairs is {}; it must be below 100", args.repairs);
        ensure!(
            !args.select.needs_reward() || args.reward_model.is_some(),
            "--select {} needs --reward-model; train one with `herd rejection-sampling train-rm`",
            serde_json::to_string(&args.select)?.trim_matches('"')
        );
        ensure!(
            args.select != Select::Judge || args.judge.is_given(),
            "--select judge needs --judge-model or --judge-endpoint"
        );
        let (top_k, top_p, min_p) = (args.top_k, args.top_p, args.min_p);
        let base = SamplingParams { temperature: 1.0, top_k, top_p, min_p, ..SamplingParams::default() };
        let answers = Answers { base, max_new_tokens: args.max_new_tokens, stop: args.stop.clone() };
        for &temperature in &args.temperature {
            answers.at(temperature).check().map_err(anyhow::Error::msg)?;
        }
        let checkpoints = checkpoints(args);
        Ok(Self {
            columns: Columns {
                format: args.format,
                prompt: &args.prompt_column,
                answer: &args.answer_column,
                max_solution_steps: args.max_solution_steps,
            },
            samplers: checkpoints.iter().map(|checkpoint| sampler_of(&args.sampler, checkpoint)).collect(),
            checkpoints,
            styles: args.styles.as_deref().map(plan::styles).transpose()?.unwrap_or_default(),
            answers,
            programs: Loop { repairs: args.repairs, write_tests: args.write_tests },
            files: Files {
                k: args.samples as usize,
                rules: Rules {
                    select: args.select,
                    per_problem: args.per_problem,
                    pairs: args.pairs,
                    outcome_only: args.outcome_only,
                },
                keep_style: args.keep_style,
                compare_languages: !args.any_language,
            },
        })
    }
}

/// `--model` (or the endpoint's model) for all capabilities, and those of `--checkpoint`.
fn checkpoints(args: &Args) -> Vec<Checkpoint> {
    let first = match args.sampler.endpoint {
        Some(_) => args.sampler.endpoint_model.clone().unwrap_or_default(),
        None => args.sampler.model.clone().unwrap_or_default(),
    };
    let all = std::iter::once(Checkpoint { capability: "*".into(), model: first });
    all.chain(args.checkpoint.iter().map(|text| Checkpoint::parse(text))).collect()
}

/// The flags that open a checkpoint. The adapter is for `--model` only.
fn sampler_of(args: &SamplerArgs, checkpoint: &Checkpoint) -> SamplerArgs {
    let is_first = args.model.as_deref() == Some(&checkpoint.model);
    let name = Some(checkpoint.model.clone()).filter(|name| !name.is_empty());
    let mut args = args.clone();
    match args.endpoint {
        Some(_) => args.endpoint_model = name,
        None => args.model = name,
    }
    if !is_first {
        args.adapter = None;
    }
    args
}

/// The inputs of the run: problems, styles, models, the judge's questions.
///
/// # Errors
/// When a file or a model does not exist.
pub fn inputs(args: &Args, config: &Config, questions: &[(&str, &str)]) -> anyhow::Result<Vec<Input>> {
    let mut inputs = vec![Input::file("problems", &args.problems)?];
    if let Some(styles) = &args.styles {
        inputs.push(Input::file("styles", styles)?);
    }
    for (place, sampler) in config.samplers.iter().enumerate() {
        for input in sampler.inputs()? {
            inputs.push(if place == 0 { input } else { Input { key: "checkpoint".into(), ..input } });
        }
    }
    if let Some(folder) = &args.reward_model {
        inputs.push(Input::model("reward_model", &locate::locate(&folder.to_string_lossy())?)?);
    }
    if args.judge.is_given() {
        let (key, who) = args.judge.who();
        inputs.push(match locate::locate(&who) {
            Ok(folder) if key == "judge_model" => Input::model(key, &folder)?,
            _ => Input::other(key, &who, &who),
        });
        inputs.extend(questions.iter().map(|(key, text)| Input::other(key, "the judge's question", text)));
    }
    Ok(inputs)
}

/// The class of each key: whether it changes the sampled answers, or only the selection.
pub fn class(key: &str) -> Class {
    match key {
        // Compared by content.
        "output" | "problems" | "styles" => Class::Free,
        "math_url" | "code_url" | "worker_token_env" => Class::Free,
        "verify_timeout" | "verify_retries" | "verify_workers" => Class::Free,
        // Rewards and judgements belong to given answers, and are kept under their own digests.
        "reward_model" | "select" | "per_problem" | "pairs" | "outcome_only" | "keep_style" | "any_language" => {
            Class::Output
        }
        _ if key.starts_with("judge_") => Class::Output,
        _ => SamplerArgs::class(key).unwrap_or(Class::Course),
    }
}
