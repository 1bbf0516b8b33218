//! `herd eval`: its flags and subcommands.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ::run::{Class, Facts, Frame, Input, Session, counted, from_flags};
use anyhow::{Context, ensure};
use clap::{Args as ClapArgs, Subcommand};
use codeexec::pool::Launcher;
use dataset::write_file;
use llama::SamplingParams;
use sampler::SamplerArgs;
use serde::Serialize;
use serde_json::json;
use text_quality::ngrams::Checker;

use crate::contamination::analyse;
use crate::items::{self, Item};
use crate::prompts::Prompts;
use crate::run::{self, Settings};
use crate::score::CodeJudge;
use crate::summary::{summarise, table};
use crate::task::Task;
use crate::{compare, data, record, report};

/// Arguments of `herd eval`.
#[derive(ClapArgs, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Compare two runs, item by item
    Compare(CompareArgs),
    /// Look for a run's items in training data, by 8-grams
    Contamination(ContaminationArgs),
    /// Show the prompts, or write them to a folder for --prompt-dir
    Prompts(PromptsArgs),
}

/// Flags of a run.
#[derive(ClapArgs, Debug, Clone, Serialize)]
struct RunArgs {
    #[command(flatten)]
    #[serde(skip)]
    frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    sampler: SamplerArgs,
    /// Benchmarks, in this order
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    tasks: Vec<Task>,
    /// The run folder: responses.jsonl, samples.jsonl, summary.json, report.html, run.json
    #[arg(long, required = true)]
    output: Option<PathBuf>,
    /// The folder with the benchmarks' data [default: what `herd data get` has fetched]
    #[arg(long, alias = "data", value_name = "DIR")]
    benchmarks: Option<PathBuf>,
    /// Problem records for the task `problems`
    #[arg(long, value_name = "FILE")]
    problems: Option<PathBuf>,
    /// A text file for the task `perplexity`
    #[arg(long, value_name = "FILE")]
    text: Option<PathBuf>,
    /// Maximum number of items of each benchmark
    #[arg(long)]
    limit: Option<usize>,
    /// Number of answers to each item
    #[arg(short = 'n', long, default_value_t = 1)]
    samples: usize,
    /// Values of k for pass@k, with -n
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    k: Vec<u64>,
    /// Temperature; 0 always takes the most likely token
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Sample from the most likely tokens whose probabilities add up to this
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed of all random choices
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Maximum number of tokens of an answer [default: each benchmark's own, 256 to 5120]
    #[arg(long)]
    max_new_tokens: Option<usize>,
    /// A folder of prompts that replace the embedded ones (`herd eval prompts`)
    #[arg(long, alias = "prompts", value_name = "DIR")]
    prompt_dir: Option<PathBuf>,
    /// Judge programs with the `codeexec serve` services at these addresses, separated by commas, instead of in this
    /// machine's sandbox. Repeatable
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    code_url: Vec<String>,
    /// The environment variable that holds the servers' token; it is sent only if it is set
    #[arg(long, default_value = sampler::WORKER_TOKEN, value_name = "VARIABLE")]
    worker_token_env: String,
    /// Worker processes for programs [default: one for each core]
    #[arg(long)]
    code_workers: Option<usize>,
    /// Window for perplexity, in tokens
    #[arg(long, default_value_t = 1024)]
    window: usize,
}

/// Flags of `compare`.
#[derive(ClapArgs, Debug)]
struct CompareArgs {
    /// A run folder
    first: PathBuf,
    /// Another run folder
    second: PathBuf,
    /// Also write the comparison as JSON
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Flags of `contamination`.
#[derive(ClapArgs, Debug)]
struct ContaminationArgs {
    /// A run folder
    #[arg(long)]
    run: PathBuf,
    /// Training data: JSONL (also .gz, .zst, .parquet); every text in it counts
    #[arg(long, alias = "train", required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Also write the findings as JSON
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Flags of `prompts`.
#[derive(ClapArgs, Debug)]
struct PromptsArgs {
    /// Write the prompts to this folder
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Runs `herd eval`. `prefix` is the part of this binary's command line before codeexec's subcommands. Worker
/// processes for programs are started with it.
///
/// # Errors
/// A message for the user.
pub fn run(args: &Args, prefix: &[&str]) -> anyhow::Result<()> {
    match &args.command {
        None => evaluate(&args.run, prefix),
        Some(Command::Compare(args)) => {
            compare::same_protocol(&args.first, &args.second)?;
            let found = compare::compare(&record::read(&args.first)?, &record::read(&args.second)?);
            ensure!(!found.differences.is_empty(), "the two runs share no item");
            print!("{found}");
            write_json(args.output.as_deref(), &found)
        }
        Some(Command::Contamination(args)) => contamination(args),
        Some(Command::Prompts(args)) => {
            for (name, text) in Prompts::load(None)?.iter() {
                match &args.output {
                    Some(folder) => {
                        std::fs::create_dir_all(folder)?;
                        write_file(folder.join(format!("{name}.txt")), text.as_bytes())?;
                    }
                    None => println!("=== {name}.txt\n{text}"),
                }
            }
            Ok(())
        }
    }
}

fn write_json(path: Option<&Path>, value: &impl serde::Serialize) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    Ok(write_file(path, format!("{}\n", serde_json::to_string_pretty(value)?).as_bytes())?)
}

fn contamination(args: &ContaminationArgs) -> anyhow::Result<()> {
    let samples = record::read(&args.run)?;
    let first: Vec<_> = samples.iter().filter(|sample| sample.sample == 0 && !sample.question.is_empty()).collect();
    let mut checker = Checker::new(first.iter().map(|sample| sample.question.as_str()));
    for path in &args.data {
        checker.see_file(path)?;
    }
    let found = analyse(&first, &checker.overlaps());
    println!("{} of training data, {}", counted(checker.texts, "text"), counted(first.len(), "item"));
    for task in &found {
        print!("{task}");
    }
    write_json(args.output.as_deref(), &found)
}

/// The class of each key: the effect of a changed value on the result.
fn class(key: &str) -> Class {
    match key {
        // Compared by content: the files and, with their prompts, the items.
        "output" | "benchmarks" | "problems" | "text" | "prompt_dir" => Class::Free,
        "code_url" | "worker_token_env" | "code_workers" => Class::Free,
        // Changes only figures computed from the same answers.
        "k" => Class::Output,
        _ => SamplerArgs::class(key).unwrap_or(Class::Course),
    }
}

fn evaluate(args: &RunArgs, prefix: &[&str]) -> anyhow::Result<()> {
    let start = Instant::now();
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let output = args.output.as_deref().context("--output is missing")?;
    ensure!(args.samples >= 1, "-n must be at least 1");
    ensure!(args.max_new_tokens != Some(0), "--max-new-tokens must be at least 1");
    ensure!(
        args.samples == 1 || args.temperature > 0.0,
        "-n {} at temperature 0 gives the same answer every time; set --temperature",
        args.samples
    );
    let sampling = SamplingParams { temperature: args.temperature, top_p: args.top_p, ..SamplingParams::default() };
    sampling.check().map_err(anyhow::Error::msg)?;
    let prompts = Prompts::load(args.prompt_dir.as_deref())?;
    let (items, files) = read_items(args, &prompts)?;
    let mut inputs = args.sampler.inputs()?;
    inputs.extend(files);
    inputs.push(Input::other("items", &format!("{} items", items.len()), &items::identity(&items)?));
    if args.frame.shows(&resolved)? {
        let (asked, answers) = (counted(items.len(), "item"), counted(items.len() * args.samples, "answer"));
        println!("{asked}, {answers}, into {}", output.display());
        return Ok(());
    }
    let facts = Facts {
        seed: Some(args.seed),
        inputs,
        hardware: args.sampler.hardware()?,
        libtorch: args.sampler.endpoint.is_none().then_some(llama::device::LIBTORCH),
        notes: args.sampler.notes(),
        ..Facts::new("eval", class)
    };
    let Some(mut session) = Session::open(output, &resolved, facts)? else { return Ok(()) };
    session.start(serde_json::Value::Null)?;
    let sampler = args.sampler.open()?;
    eprintln!("{} with {}", counted(items.len(), "item"), sampler.describe());
    let settings = Settings {
        sampling,
        seed: args.seed,
        samples: args.samples,
        max_new_tokens: args.max_new_tokens,
        window: args.window,
    };
    let code = || match &args.code_url[..] {
        urls @ [_, ..] => CodeJudge::servers(urls, &args.worker_token_env),
        [] => {
            let workers =
                args.code_workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
            Ok(CodeJudge::pool(Launcher::own(prefix)?, workers.max(1)))
        }
    };
    let samples = run::run(output, session.fingerprint(), &sampler, &items, &settings, &code)?;
    let summary = summarise(&samples, &args.k);
    write_json(Some(&output.join("summary.json")), &json!({"model": sampler.name(), "tasks": summary}))?;
    report::write(&output.join("report.html"), &format!("{} evaluated", sampler.name()), &summary, &samples)?;
    let table = table(&summary);
    let figures = json!({"model": sampler.name(), "tasks": summary});
    session.finish(&["responses.jsonl", "samples.jsonl", "summary.json"], table.trim_end(), figures)?;
    print!("{table}");
    println!("{:.0} s -> {}", start.elapsed().as_secs_f64(), output.display());
    Ok(())
}

/// The items of every task, and the files that they were read from.
fn read_items(args: &RunArgs, prompts: &Prompts) -> anyhow::Result<(Vec<Item>, Vec<Input>)> {
    let data = match &args.benchmarks {
        Some(folder) => folder.clone(),
        None => data::default_folder()?,
    };
    let (mut all, mut inputs) = (Vec::new(), Vec::new());
    for (i, &task) in args.tasks.iter().enumerate() {
        ensure!(!args.tasks[..i].contains(&task), "--tasks: {} is given twice", task.name());
        let path = match task {
            Task::Problems => args.problems.clone().context("the task problems needs --problems FILE")?,
            Task::Perplexity => args.text.clone().context("the task perplexity needs --text FILE")?,
            _ => task.locate(&data)?,
        };
        let items = items::read(task, &path, prompts, args.limit)?;
        eprintln!("{}: {} of {}", task.name(), counted(items.len(), "item"), path.display());
        all.extend(items);
        inputs.push(Input::file(task.name(), &path)?);
    }
    Ok((all, inputs))
}
