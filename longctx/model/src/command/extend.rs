//! `herd longctx extend`.

use std::path::PathBuf;

use ::eval::task::Task;
use ::run::{Class, Facts, Frame, Input, Session, from_flags};
use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use llama::device::{self, Compute};
use llama::{LlamaConfig, locate};
use longctx::command::tokens;
use longctx::needles::Wording;
use serde::{Deserialize, Serialize};
use serde_json::json;
use trainer::stage::Training;

use crate::eval::items::depths;
use crate::extend::data;
use crate::extend::machine::Rules;
use crate::extend::objective::Positions;
use crate::extend::rope::{Rope, ladder};
use crate::extend::tasks::ShortTasks;
use crate::extend::{Plan, RoundConfig};
use crate::world::Read;

/// What to do when a stage has not passed its gate after its last round.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GateMode {
    /// The extension ends, with the code 3
    Stop,
    /// The failure is reported, and the next stage begins
    Report,
}

/// Arguments of `herd longctx extend`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The model to extend: a name in the cache or a folder
    #[arg(long)]
    pub model: String,
    /// The context to reach, in tokens; k is 1,024
    #[arg(long, required_unless_present = "lengths", conflicts_with = "lengths")]
    pub to: Option<String>,
    /// Number of stages; their lengths grow by equal ratios
    #[arg(long, default_value_t = 6)]
    pub stages: usize,
    /// Lengths of the stages, instead of --to and --stages; the first may be the model's own context
    #[arg(long, value_delimiter = ',')]
    pub lengths: Vec<String>,
    /// Long documents to train on: .txt, .md, .rst (also .gz), .jsonl or .parquet with a field text, or folders of them; or conversations
    /// (.jsonl or .parquet with messages). A fifth of the documents, chosen by SHA-256, is kept for gates
    #[arg(long, num_args = 1.., required = true)]
    pub texts: Vec<PathBuf>,
    /// Short documents or conversations to mix in; those kept for gates show whether short-context ability is preserved
    #[arg(long, num_args = 1..)]
    pub short: Vec<PathBuf>,
    /// Share of the training tokens from short documents [default: 0.4 with --short, 0 without]
    #[arg(long)]
    pub short_share: Option<f64>,
    /// Texts for the needles of the gates [default: the documents of --texts that are kept for gates]
    #[arg(long, num_args = 1..)]
    pub gate_texts: Vec<PathBuf>,

    /// How the rotary positions are stretched
    #[arg(long, value_enum, default_value = "ntk", help_heading = "Positions")]
    pub rope: Rope,
    /// RoPE bases (theta), one for each stage, instead of the NTK rule
    #[arg(long, value_delimiter = ',', help_heading = "Positions")]
    pub theta: Vec<f64>,
    /// Positions of the tokens of an example
    #[arg(long, value_enum, default_value = "full", help_heading = "Positions")]
    pub positions: Positions,
    /// The longest example with skipped positions, in tokens [default: the model's context]
    #[arg(long, help_heading = "Positions")]
    pub row: Option<String>,

    /// Training tokens of a round
    #[arg(long, default_value_t = 2_000_000, help_heading = "Training")]
    pub round_tokens: usize,
    /// Maximum number of rounds of a stage; the stage ends after the first round whose gate passes
    #[arg(long, default_value_t = 3, help_heading = "Training")]
    pub rounds: usize,
    /// Tokens per optimizer step, at least one example of the stage's length
    #[arg(long, default_value_t = 65_536, help_heading = "Training")]
    pub batch_tokens: usize,
    /// Tokens that pass through the model at a time, at least one example
    #[arg(long, default_value_t = 4096, help_heading = "Training")]
    pub micro_batch_tokens: usize,
    /// Peak learning rate; every round warms up and decays
    #[arg(long, visible_alias = "lr", default_value_t = 1e-5, help_heading = "Training")]
    pub learning_rate: f64,
    /// Share of a round's steps that warm up
    #[arg(long, default_value_t = 0.1, help_heading = "Training")]
    pub warmup_ratio: f64,
    /// Weight decay, on matrices only
    #[arg(long, default_value_t = 0.1, help_heading = "Training")]
    pub weight_decay: f64,
    /// Compute activations again in the backward pass instead of keeping them
    #[arg(long, help_heading = "Training")]
    pub recompute: bool,

    /// What to do when a stage has not passed its gate after its last round
    #[arg(long, value_enum, default_value = "stop", help_heading = "Gate")]
    pub gate: GateMode,
    /// Number of depths of the needles
    #[arg(long, default_value_t = 10, help_heading = "Gate")]
    pub gate_depths: usize,
    /// Number of haystacks; each has a needle at every depth
    #[arg(long, default_value_t = 5, help_heading = "Gate")]
    pub gate_haystacks: u64,
    /// Share of the needles that must be found
    #[arg(long, default_value_t = 1.0, help_heading = "Gate")]
    pub gate_needles: f64,
    /// A TOML file with another wording of the needles
    #[arg(long, value_name = "FILE", help_heading = "Gate")]
    pub wording: Option<PathBuf>,
    /// Number of short pieces whose loss is compared with the loss before the first stage
    #[arg(long, default_value_t = 64, help_heading = "Gate")]
    pub short_items: usize,
    /// Maximum tokens of a short piece
    #[arg(long, default_value_t = 1024, help_heading = "Gate")]
    pub short_window: usize,
    /// Tolerated rise of the loss of short texts, in nats; the gate fails when a one-sided 95% paired interval lies above it
    #[arg(long, default_value_t = 0.01, help_heading = "Gate")]
    pub short_tolerance: f64,
    /// Benchmarks of `herd eval` that a gate compares item by item; the share of wrong answers must not rise
    #[arg(long, value_enum, value_delimiter = ',', help_heading = "Gate")]
    pub short_tasks: Vec<Task>,
    /// Maximum number of items of each benchmark
    #[arg(long, default_value_t = 100, help_heading = "Gate")]
    pub short_limit: usize,
    /// The folder with the benchmarks' data [default: where `herd data get` stores them]
    #[arg(long, value_name = "DIR", help_heading = "Gate")]
    pub benchmarks: Option<PathBuf>,
    /// Problem records for the task problems
    #[arg(long, value_name = "FILE", help_heading = "Gate")]
    pub short_problems: Option<PathBuf>,
    /// Sequences decoded together
    #[arg(long, default_value_t = 16, help_heading = "Gate")]
    pub max_num_seqs: usize,

    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub compute: Compute,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The run folder: journal.jsonl, stage-N/, model/, report.html, run.json
    #[arg(long)]
    pub output: PathBuf,
}

fn class(key: &str) -> Class {
    match key {
        // The content of these files is compared. After a stop, a run with more rounds resumes.
        "output" | "model" | "texts" | "short" | "gate_texts" | "wording" | "benchmarks" | "short_problems"
        | "rounds" | "recompute" => Class::Free,
        "micro_batch_tokens" | "max_num_seqs" | "dtype" | "device" | "threads" => Class::Bits,
        _ => Class::Course,
    }
}

/// Default share of short tokens: 40%, as in ProLong (Gao et al. 2024).
const SHORT_SHARE: f64 = 0.4;

/// Runs `herd longctx extend`, or resumes it.
///
/// # Errors
/// [`crate::extend::Stopped`] when a gate is not passed; another error says what is wrong.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let processes = std::env::var("WORLD_SIZE").ok().and_then(|size| size.parse::<usize>().ok()).unwrap_or(1);
    ensure!(processes <= 1, "extend trains in one process; start it without a launcher (WORLD_SIZE is {processes})");
    let short_share = args.short_share.unwrap_or(if args.short.is_empty() { 0.0 } else { SHORT_SHARE });
    ensure!(
        (0.0..1.0).contains(&short_share),
        "--short-share is {short_share}; it must be 0 or more, and below 1 (give --short for another share than 0)"
    );
    ensure!(
        short_share == 0.0 || !args.short.is_empty(),
        "--short-share {short_share}: give --short, the short documents"
    );
    ensure!(args.rounds > 0 && args.round_tokens > 0, "--rounds and --round-tokens must be at least 1");
    ensure!(args.batch_tokens > 0, "--batch-tokens must be at least 1");
    ensure!(args.gate_depths > 0 && args.gate_haystacks > 0, "--gate-depths and --gate-haystacks must be at least 1");
    ensure!(
        args.gate_needles > 0.0 && args.gate_needles <= 1.0,
        "--gate-needles is {}; it must be more than 0, and 1 at most",
        args.gate_needles
    );
    ensure!(args.short_tolerance >= 0.0, "--short-tolerance must be 0 or more");
    let folder = locate::locate(&args.model)?;
    let context = usize::try_from(LlamaConfig::from_dir(&folder)?.max_position_embeddings)?;
    ensure!(args.short_items >= 2, "--short-items is {}; it must be at least 2", args.short_items);
    ensure!(
        (2..=context).contains(&args.short_window),
        "--short-window is {}; it must be from 2 to the model's context of {context}",
        args.short_window
    );
    let lengths = lengths(args, context)?;
    ensure!(
        args.theta.is_empty() || args.theta.len() == lengths.len(),
        "--theta has {} bases for {} stages; give one for each",
        args.theta.len(),
        lengths.len()
    );
    let row = match (args.positions, &args.row) {
        (Positions::Skip, Some(row)) => Some(tokens(row).context("--row")?),
        (Positions::Skip, None) => Some(context),
        (Positions::Full, Some(_)) => anyhow::bail!("--row is for --positions skip; leave it out, or skip positions"),
        (Positions::Full, None) => None,
    };
    ensure!(row.is_none_or(|row| row >= 2), "--row must be at least 2 tokens");
    let wording = args.wording.as_deref().map_or_else(|| Ok(Wording::default()), Wording::read)?;
    let long = data::read(&args.texts)?;
    let short = data::read(&args.short)?;
    let gate_texts = if args.gate_texts.is_empty() { &long.plain } else { &args.gate_texts };
    ensure!(
        !gate_texts.is_empty(),
        "--texts has conversations only: give --gate-texts, the texts for the gates' needles"
    );
    let read = Read::new(gate_texts, &[])?;
    let (tasks, task_files) = ShortTasks::read(
        &args.short_tasks,
        args.benchmarks.as_deref(),
        args.short_problems.as_ref(),
        args.short_limit,
    )?;
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let (place, kind) = args.compute.resolve()?;
    let mut inputs = vec![Input::model("model", &folder)?];
    for (key, files) in [("texts", &long.files), ("short", &short.files)] {
        for file in files {
            inputs.push(Input::file(key, file)?);
        }
    }
    if !args.gate_texts.is_empty() {
        inputs.extend(read.inputs("gate_texts", "repositories")?);
    }
    inputs.extend(task_files);
    if let Some(file) = &args.wording {
        inputs.push(Input::file("wording", file)?);
    }
    if args.frame.shows(&resolved)? {
        println!("stages of {lengths:?} tokens, into {}", args.output.display());
        return Ok(());
    }
    let facts = Facts {
        seed: Some(args.seed),
        inputs,
        hardware: device::hardware(place, kind),
        libtorch: Some(device::LIBTORCH),
        ..Facts::new("longctx extend", class)
    };
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let held = read.held(&folder, &[]).context("texts for the gates' needles")?;
    eprintln!("gates: {}", held.summary);
    if short.files.is_empty() {
        eprintln!("no --short: long documents only; the loss of their own short pieces is what the gate watches");
    }
    session.start(json!({"lengths": lengths}))?;
    let paths = |files: &[PathBuf]| files.iter().map(|file| file.to_string_lossy().into_owned()).collect::<Vec<_>>();
    let Compute { dtype, device, threads } = args.compute.clone();
    let training = Training {
        data: paths(&long.files),
        max_steps: Some(args.round_tokens.div_ceil(args.batch_tokens)),
        batch_tokens: args.batch_tokens,
        micro_batch_tokens: args.micro_batch_tokens,
        learning_rate: args.learning_rate,
        warmup_ratio: args.warmup_ratio,
        weight_decay: args.weight_decay,
        recompute: args.recompute,
        keep_last: 1,
        keep_best: 0,
        dtype,
        device,
        threads,
        ..Training::default()
    };
    let plan = Plan {
        output: &args.output,
        model: &folder,
        rules: Rules {
            stages: lengths.len(),
            rounds: args.rounds,
            tolerance: args.short_tolerance,
            needles: args.gate_needles,
            report_only: args.gate == GateMode::Report,
        },
        lengths,
        rope: args.rope,
        thetas: args.theta.clone(),
        round: RoundConfig {
            training,
            positions: args.positions,
            short: paths(&short.files),
            short_share,
            ..RoundConfig::default()
        },
        row,
        compute: args.compute.clone(),
        max_num_seqs: args.max_num_seqs,
        depths: depths(args.gate_depths),
        haystacks: args.gate_haystacks,
        wording,
        short: (args.short_items, args.short_window),
        tasks,
        seed: args.seed,
    };
    crate::extend::run(&plan, &held, &long, &short, session)
}

/// The lengths of the stages, rising from the model's context.
fn lengths(args: &Args, context: usize) -> anyhow::Result<Vec<usize>> {
    if let Some(to) = &args.to {
        return ladder(context, tokens(to).context("--to")?, args.stages);
    }
    let lengths = args.lengths.iter().map(|text| tokens(text)).collect::<anyhow::Result<Vec<_>>>();
    let lengths = lengths.context("--lengths")?;
    ensure!(
        lengths.is_sorted_by(|a, b| a < b) && lengths.first().is_some_and(|first| *first >= context),
        "--lengths: give rising lengths, of which the first is at least the model's context of {context}"
    );
    Ok(lengths)
}
