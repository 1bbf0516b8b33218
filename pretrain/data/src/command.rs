//! `herd data run`, `why`, `sql`, `unigrams`: the commands of this crate.

use std::path::PathBuf;

use ::run::{Begun, Class, Facts, Frame, Hardware, Input, Progress, RunFolder, Session, Signals, from_flags};
use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use dataset::Format;
use dataset::jsonl::AtomicWriter;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::dedup::{curve, external, sql};
use crate::engine::phases;
use crate::engine::run::{Done, Job, Split, inputs, parts_folder, run as run_recipe};
use crate::filters::{Filter, Unigrams, View};
use crate::read::{self, Event};
use crate::recipe::{Recipe, Step};
use crate::{report, why};

/// Arguments of `herd data run`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct RunArgs {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// The recipe: sources and steps
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// The folder for data/, ledger.json, report.html and run.json
    #[arg(long)]
    pub output: PathBuf,
    /// Files of a source, relative to the current folder, instead of those in the recipe. Repeatable
    #[arg(long, value_name = "SOURCE=FILE")]
    pub files: Vec<String>,
    /// Threads [default: one for each CPU]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Memory budget, in MB, of sorting and of the steps over the whole corpus; beyond it they use the disk
    #[arg(long, value_name = "MB", default_value_t = 2048)]
    pub memory: u64,
    /// Do one share of the map steps, to split them over machines: 1/8 to 8/8, all with the same --output on a shared
    /// disk
    #[arg(long, value_name = "I/N")]
    pub shard: Option<String>,
    /// Engine of the steps over the whole corpus. Both give the same bytes; `datafusion` needs the program herd-engine (`cargo xtask
    /// engine`)
    #[arg(long, value_enum, default_value = "memory")]
    pub engine: Engine,
    /// The program herd-engine [default: beside herd, or in PATH]
    #[arg(long, value_name = "FILE", env = "HERD_ENGINE")]
    pub engine_program: Option<PathBuf>,
}

/// The engine of the steps over the whole corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// In this process; uses the disk for data beyond --memory
    Memory,
    /// DataFusion, in a separate process
    Datafusion,
}

/// Arguments of `herd data why`.
#[derive(clap::Args, Debug, Clone)]
pub struct WhyArgs {
    /// The document's id
    pub id: String,
    /// The folder of `herd data run`
    #[arg(long)]
    pub run: PathBuf,
}

/// Arguments of `herd data sql`.
#[derive(clap::Args, Debug, Clone)]
pub struct SqlArgs {
    /// The folder of `herd data run`
    #[arg(long)]
    pub run: PathBuf,
}

/// Arguments of `herd data unigrams`.
#[derive(clap::Args, Debug, Clone)]
pub struct UnigramArgs {
    /// Files of documents
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The file for the counts
    #[arg(long)]
    pub output: PathBuf,
    /// Number of words to keep, most frequent first
    #[arg(long, default_value_t = 200_000)]
    pub vocab_size: usize,
}

/// Arguments of `herd data filter`.
#[derive(clap::Args, Debug, Clone)]
pub struct FilterArgs {
    /// The step's kind, as in a recipe: gopher-quality, gopher-repetition, c4, c4-paragraphs, fineweb, coverage, word-counts, divergence
    pub kind: String,
    /// Files of documents
    #[arg(long, required = true, num_args = 1..)]
    pub input: Vec<PathBuf>,
    /// The file for the documents that pass (.jsonl, .gz, .zst, .parquet)
    #[arg(long)]
    pub output: PathBuf,
    /// A key of the step, as KEY=VALUE in TOML: min_words=20
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Runs `herd data run`.
///
/// # Errors
/// When an input, the recipe or the disk is faulty; the same command then continues where it stopped.
pub fn run(args: &RunArgs) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let mut recipe = Recipe::load(&args.recipe)?;
    recipe.replace_files(&args.files)?;
    let files = inputs(&recipe)?;
    let split = args.shard.as_deref().map(split).transpose()?;
    let engine = match args.engine {
        Engine::Memory => None,
        Engine::Datafusion => Some(external::find(args.engine_program.as_deref())?),
    };
    if args.frame.shows(&resolved)? {
        plan(&recipe, &files)?;
        return Ok(());
    }
    ensure!(Format::of(&args.output) == Format::Plain, "--output {} is a folder, not a file", args.output.display());
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.unwrap_or(0))
        .build()
        .context("cannot start threads")?;
    let folder = match split {
        None => args.output.clone(),
        Some(split) => args.output.join("shares").join(format!("{}-of-{}", split.index + 1, split.count)),
    };
    std::fs::create_dir_all(&args.output).with_context(|| format!("cannot create {}", args.output.display()))?;
    let read: Vec<&(String, PathBuf)> = files
        .iter()
        .enumerate()
        .filter(|(at, _)| split.is_none_or(|split| *at as u64 % split.count == split.index))
        .map(|(_, file)| file)
        .collect();
    let mut digests = vec![Input::file("recipe", &args.recipe)?];
    digests.extend(pool.install(|| {
        read.par_iter()
            .map(|(source, path)| Input::file(&format!("source {source}"), path))
            .collect::<anyhow::Result<Vec<_>>>()
    })?);
    for path in recipe.steps.iter().flat_map(Step::files) {
        digests.push(Input::file("step file", path)?);
    }
    let facts = Facts {
        seed: Some(recipe.seed),
        inputs: digests,
        hardware: Hardware { threads: Some(pool.current_num_threads()), ..Hardware::here() },
        ..Facts::new("data run", class)
    };
    let mut session = match Session::begin(RunFolder::open(&folder)?, &resolved, facts)? {
        // A finished share is run again, since later phases may now be possible.
        Begun::Finished(record) if split.is_none() => {
            println!("{} is finished already:\n{}", args.output.display(), record.summary);
            return Ok(());
        }
        Begun::Finished(_) => bail!("{} is marked as finished; remove its folder", folder.display()),
        Begun::Going(session) => session,
    };
    session.start(Value::Null)?;
    let signals = Signals::listen().context("cannot listen for signals")?;
    let stop = || signals.stop();
    let job = Job { recipe: &recipe, folder: &args.output, memory: args.memory << 20, engine, split, stop: &stop };
    match pool.install(|| run_recipe(&job))? {
        Done::Share(next) => println!("{next}"),
        Done::All(summary) => {
            let documents: u64 = summary.shards.iter().map(|shard| shard.documents).sum();
            let bytes: u64 = summary.shards.iter().map(|shard| shard.bytes).sum();
            let mut text = report::table(&summary.ledger);
            text +=
                &format!("{documents} documents, {:.2} MB of text, {} files", bytes as f64 / 1e6, summary.shards.len());
            summary.notes.iter().for_each(|note| text += &format!("\n{note}"));
            summary.warnings.iter().for_each(|warning| text += &format!("\nwarning: {warning}"));
            println!("{text}");
            let figures =
                json!({"documents": documents, "bytes": bytes, "shards": summary.shards, "warnings": summary.warnings});
            session.finish(&["data", "ledger.json", "report.html"], &text, figures)?;
        }
    }
    Ok(())
}

/// The result depends only on the contents of the recipe and of the files.
fn class(_: &str) -> Class {
    Class::Free
}

fn split(text: &str) -> anyhow::Result<Split> {
    let numbers = text.split_once('/').and_then(|(i, n)| Some((i.parse::<u64>().ok()?, n.parse::<u64>().ok()?)));
    match numbers {
        Some((index, count)) if index >= 1 && index <= count => Ok(Split { index: index - 1, count }),
        _ => bail!("--shard {text}: give I/N with I from 1 to N, such as 1/8"),
    }
}

fn plan(recipe: &Recipe, files: &[(String, PathBuf)]) -> anyhow::Result<()> {
    println!("\nSources");
    for source in &recipe.sources {
        let count = files.iter().filter(|(name, _)| *name == source.name).count();
        println!("  {}: {count} files", source.name);
    }
    for (at, phase) in phases(recipe).iter().enumerate() {
        println!("Phase {}", at + 1);
        for step in phase.maps.iter().chain(&phase.groups) {
            let step = &recipe.steps[*step];
            let scope = if step.is_global() { "whole corpus" } else { "each document" };
            println!("  {} ({scope})", step.kind());
            if let Step::DedupMinhash(step) = step {
                println!("    {}", curve::line(step.bands, step.rows));
            }
        }
    }
    Ok(())
}

/// Runs `herd data why`.
///
/// # Errors
/// When the folder holds no run, or no document has the id.
pub fn why(args: &WhyArgs) -> anyhow::Result<()> {
    let recipe = recipe_of(&args.run)?;
    for line in why::story(&args.run, &recipe, &args.id)? {
        println!("{line}");
    }
    Ok(())
}

/// The recipe in a run's folder.
fn recipe_of(folder: &std::path::Path) -> anyhow::Result<Recipe> {
    let record = ::run::Record::read(folder)?
        .with_context(|| format!("{} holds no run of `herd data run`", folder.display()))?;
    let recipe = record.inputs.iter().find(|input| input.key == "recipe");
    let recipe = recipe.with_context(|| format!("{} holds a run of `herd {}`", folder.display(), record.stage.name))?;
    Recipe::load(std::path::Path::new(&recipe.path))
}

/// Runs `herd data sql`.
///
/// # Errors
/// When the folder holds no run.
pub fn sql(args: &SqlArgs) -> anyhow::Result<()> {
    let recipe = recipe_of(&args.run)?;
    for (at, phase) in phases(&recipe).iter().enumerate().filter(|(_, phase)| !phase.groups.is_empty()) {
        let steps: Vec<&Step> = phase.groups.iter().map(|step| &recipe.steps[*step]).collect();
        let times = steps.iter().find_map(|step| match step {
            Step::DedupLines(lines) => Some(lines.max_times),
            _ => None,
        });
        let names: Vec<&str> = steps.iter().map(|step| step.kind()).collect();
        println!("-- Phase {}: {}", at + 1, names.join(", "));
        print!("{}", sql::statements(&parts_folder(&args.run, at).to_string_lossy(), times));
    }
    Ok(())
}

/// Runs `herd data unigrams`.
///
/// # Errors
/// When a file cannot be read, or the files have no word.
pub fn unigrams(args: &UnigramArgs) -> anyhow::Result<()> {
    let progress = Progress::new("documents", None, 0);
    let mut counts = Unigrams::default();
    let mut documents = 0_u64;
    let mut problems = 0_u64;
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    for path in &args.input {
        for event in read::open(path, "", scratch.path().join("rejected"))? {
            match event {
                Event::Document(item) => {
                    counts.add(&item.document.text);
                    documents += 1;
                    progress.add(1);
                }
                Event::Problem(what) => {
                    eprintln!("warning: {what}");
                    problems += 1;
                }
            }
        }
    }
    ensure!(counts.total > 0, "the files hold no word");
    let (total, distinct) = (counts.total, counts.counts.len());
    let words: serde_json::Map<String, Value> =
        counts.most_frequent(args.vocab_size).into_iter().map(|(word, count)| (word, count.into())).collect();
    let kept = words.len();
    let text = format!("{}\n", json!({"total": total, "counts": words}));
    dataset::write_file(&args.output, text.as_bytes())?;
    println!(
        "{}: {kept} of {distinct} words, {total} occurrences in {documents} documents; {problems} places could not be read",
        args.output.display()
    );
    Ok(())
}

/// Runs `herd data filter`: a single heuristic filter.
///
/// # Errors
/// When the step does not exist, or a file cannot be read or written.
pub fn filter(args: &FilterArgs) -> anyhow::Result<()> {
    let mut text = format!("[[source]]\nname = \"data\"\nfiles = [\"-\"]\n[[step]]\nkind = \"{}\"\n", args.kind);
    args.set.iter().for_each(|line| text += &format!("{line}\n"));
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let file = scratch.path().join("recipe.toml");
    std::fs::write(&file, &text)?;
    let recipe: Recipe =
        toml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {}", args.kind, error.message()))?;
    let mut step = recipe.steps.into_iter().next().context("there is no step")?;
    step.settle(std::path::Path::new("")).with_context(|| args.kind.clone())?;
    let filter: &dyn Filter =
        step.filter().with_context(|| format!("{} is not a filter of single documents", args.kind))?;
    let mut out = AtomicWriter::create(&args.output)?;
    let mut dropped: std::collections::BTreeMap<String, u64> = std::collections::BTreeMap::new();
    let (mut documents, mut problems) = (0_u64, 0_u64);
    for path in &args.input {
        for event in read::open(path, "data", scratch.path().join("rejected"))? {
            let item = match event {
                Event::Document(item) => *item,
                Event::Problem(what) => {
                    eprintln!("warning: {what}");
                    problems += 1;
                    continue;
                }
            };
            documents += 1;
            let mut document = item.document;
            let outcome = filter.judge(&View::new(&document.text));
            if let Some(finding) = outcome.failed() {
                *dropped.entry(finding.rule.clone()).or_default() += 1;
                continue;
            }
            if let Some(text) = outcome.text {
                document.text = text;
            }
            out.write(&document)?;
        }
    }
    let kept = out.records();
    out.finish()?;
    println!("{}: {kept} of {documents} documents; {problems} places could not be read", args.output.display());
    dropped.iter().for_each(|(rule, count)| println!("  {rule}: {count}"));
    if documents > 0 && kept == 0 {
        eprintln!("warning: {} dropped every document", args.kind);
    }
    Ok(())
}
