//! A run of a recipe: phases and group steps in order, each skipped if it is done, then the result and the report.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use dataset::digest::Fingerprint;
use rayon::prelude::*;
use serde_json::json;

use super::group::{self, Decisions};
use super::map::Work;
use super::part::{self, Part};
use super::phase::{self, Input, Place};
use super::{Phase, finish, phases};
use crate::dedup::memory::Memory;
use crate::dedup::{External, external};
use crate::ledger::Ledger;
use crate::recipe::{Recipe, Step};
use crate::report;

pub use super::finish::Shard;

/// A share of the inputs, for one of several machines: the `index`-th of `count`, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    /// The index of the share.
    pub index: u64,
    /// The number of shares.
    pub count: u64,
}

/// The settings of a run.
pub struct Job<'a> {
    /// The recipe.
    pub recipe: &'a Recipe,
    /// The folder of the run.
    pub folder: &'a Path,
    /// The memory budget of the group steps, in bytes.
    pub memory: u64,
    /// The program that runs the relational steps; `None` for this process.
    pub engine: Option<PathBuf>,
    /// One machine's share of the map steps.
    pub split: Option<Split>,
    /// Whether to stop at the next part.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

/// The end state of a run.
#[derive(Debug)]
pub enum Done {
    /// The result is complete.
    All(Box<Summary>),
    /// The share of a machine is done; the message says what to do next.
    Share(String),
}

/// A finished run.
#[derive(Debug)]
pub struct Summary {
    /// Files of the result.
    pub shards: Vec<Shard>,
    /// What happened to every document.
    pub ledger: Ledger,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Messages of the group steps.
    pub notes: Vec<String>,
}

/// The folder of a phase's parts.
#[must_use]
pub fn parts_folder(folder: &Path, phase: usize) -> PathBuf {
    folder.join("work").join(format!("{phase:02}-parts"))
}

fn groups_folder(folder: &Path, phase: usize) -> PathBuf {
    folder.join("work").join(format!("{phase:02}-groups"))
}

/// The files of the first phase, with their sources, in the order of the recipe.
///
/// # Errors
/// When a pattern matches nothing.
pub fn inputs(recipe: &Recipe) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut all = Vec::new();
    for source in &recipe.sources {
        all.extend(Recipe::files(source)?.into_iter().map(|path| (source.name.clone(), path)));
    }
    Ok(all)
}

/// Runs a recipe, or continues an interrupted run.
///
/// # Errors
/// When an input or the recipe is faulty, or a file cannot be written; the same command then continues where the run
/// stopped.
pub fn run(job: &Job) -> anyhow::Result<Done> {
    let Job { recipe, folder, .. } = *job;
    let work = folder.join("work");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
    claim(recipe, &work)?;
    let spill = work.join("spill");
    std::fs::create_dir_all(&spill).with_context(|| format!("cannot create {}", spill.display()))?;
    let exchange = spill.join("engine");
    if job.split.is_none() {
        external::remove(&exchange)?;
    }
    let memory = Memory::new(job.memory, spill.clone())?;
    let phases = phases(recipe);
    let first: Vec<Input> = inputs(recipe)?
        .into_iter()
        .enumerate()
        .map(|(number, (source, path))| Input { number: number as u64, path, source, part: None })
        .collect();
    let mut before: Option<&Phase> = None;
    for (at, phase) in phases.iter().enumerate() {
        let decisions = match before {
            Some(_) => Decisions::load(&groups_folder(folder, at - 1))?,
            None => None,
        };
        let inputs = if at == 0 { first.clone() } else { later(folder, at - 1)? };
        let parts = parts_folder(folder, at);
        map(job, phase, before.zip(decisions), &inputs, &parts, at)?;
        let missing = missing(&inputs, &parts)?;
        if !missing.is_empty() {
            return Ok(Done::Share(format!(
                "phase {}: the share is done; {} of {} inputs are not done yet. Run the other shares; then `herd data run` without --shard \
                 does the steps that need the whole corpus{}",
                at + 1,
                missing.len(),
                inputs.len(),
                if at + 1 < phases.len() {
                    ", and the next phase can be split again"
                } else {
                    " and writes the result"
                }
            )));
        }
        let done = part::all(&parts)?;
        let groups = groups_folder(folder, at);
        if !phase.groups.is_empty() && Decisions::load(&groups)?.is_none() {
            if job.split.is_some() {
                return Ok(Done::Share(format!(
                    "phase {} is done; run `herd data run` without --shard for the steps that need the whole corpus",
                    at + 1
                )));
            }
            ensure!(!(job.stop)(), "stopped; the same command continues from here");
            match &job.engine {
                None => group::run(recipe, phase, &done, &memory, &memory, &groups)?,
                Some(program) => {
                    let external = External {
                        program: program.clone(),
                        budget: job.memory,
                        threads: rayon::current_num_threads(),
                        folder: exchange.clone(),
                        stop: job.stop,
                    };
                    group::run(recipe, phase, &done, &memory, &external, &groups)?;
                }
            }
        }
        before = Some(phase);
    }
    if job.split.is_some() {
        return Ok(Done::Share("all phases are done; run `herd data run` without --shard to write the result".into()));
    }
    result(job, &phases, &spill)
}

/// Refuses a folder with the parts of another recipe or of other files.
fn claim(recipe: &Recipe, work: &Path) -> anyhow::Result<()> {
    let mut print = Fingerprint::new().text("recipe", &serde_json::to_string(recipe)?);
    for (source, path) in inputs(recipe)? {
        let bytes = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
        print = print.text(&source, &format!("{} {bytes}", path.display()));
    }
    for path in recipe.steps.iter().flat_map(Step::files) {
        print = print.file("file", path)?;
    }
    let print = print.finish();
    let path = work.join("fingerprint");
    match std::fs::read_to_string(&path) {
        Ok(there) => ensure!(
            there.trim() == print,
            "{} holds parts of another recipe or of other input files; choose another --output, or remove the folder",
            work.display()
        ),
        Err(_) => dataset::write_file(&path, format!("{print}\n").as_bytes())?,
    }
    Ok(())
}

/// The parts of a phase, as inputs of the next one.
fn later(folder: &Path, phase: usize) -> anyhow::Result<Vec<Input>> {
    let parts = part::all(&parts_folder(folder, phase))?;
    let input = |(number, (folder, part)): (usize, (PathBuf, Part))| Input {
        number: number as u64,
        path: folder.join(part::names::DOCUMENTS),
        source: String::new(),
        part: Some((part.input, part.number)),
    };
    Ok(parts.into_iter().enumerate().map(input).collect())
}

fn map(
    job: &Job,
    phase: &Phase,
    before: Option<(&Phase, Decisions)>,
    inputs: &[Input],
    parts: &Path,
    at: usize,
) -> anyhow::Result<()> {
    let mine: Vec<Input> = match job.split {
        Some(split) => inputs.iter().filter(|input| input.number % split.count == split.index).cloned().collect(),
        None => inputs.to_vec(),
    };
    let todo = missing(&mine, parts)?;
    if todo.is_empty() {
        return Ok(());
    }
    if before.is_some() {
        // The inputs were written by an earlier phase, perhaps in an earlier session.
        let written = part::all(&parts_folder(job.folder, at - 1))?;
        written.par_iter().try_for_each(|(folder, part)| part.verify(folder))?;
    }
    let work = Work::new(job.recipe, phase, before)?;
    let progress = ::run::Progress::new("documents", None, 0);
    let place = Place {
        folder: parts,
        rejected: &job.folder.join("rejected").join(format!("{at:02}")),
        stop: job.stop,
        progress: &progress,
    };
    phase::run(job.recipe, phase, &work, &todo, &place)
}

/// Inputs that are not completely processed.
fn missing(inputs: &[Input], parts: &Path) -> anyhow::Result<Vec<Input>> {
    let done: std::collections::BTreeSet<u64> =
        part::all(parts)?.into_iter().filter(|(_, part)| part.last).map(|(_, part)| part.input).collect();
    Ok(inputs.iter().filter(|input| !done.contains(&input.number)).cloned().collect())
}

/// Writes the result, the ledger and the report.
fn result(job: &Job, phases: &[Phase], spill: &Path) -> anyhow::Result<Done> {
    let Job { recipe, folder, .. } = *job;
    let mut ledger = Ledger::new(recipe.steps.iter().map(Step::kind));
    let mut problems = Vec::new();
    let mut notes = Vec::new();
    for at in 0..phases.len() {
        for (part_folder, part) in part::all(&parts_folder(folder, at))? {
            let path = part_folder.join(part::names::LEDGER);
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            ledger.merge(serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?);
            problems.extend(part.problems);
        }
        if let Some(decisions) = Decisions::load(&groups_folder(folder, at))? {
            notes.extend_from_slice(decisions.notes());
        }
    }
    let parts = part::all(&parts_folder(folder, phases.len() - 1))?;
    let shards = finish::run(recipe, &parts, job.memory, &folder.join("data"), spill)?;
    let mut warnings: Vec<String> = ledger.steps.iter().flat_map(|step| step.warnings()).collect();
    for source in recipe.sources.iter().filter(|source| !ledger.read.contains_key(&source.name)) {
        warnings.push(format!("source {}: its files hold no document", source.name));
    }
    let unreadable: u64 = ledger.unreadable.values().sum();
    if unreadable > 0 {
        let first = problems.first().map_or("", String::as_str);
        warnings.push(format!("{unreadable} places could not be read; the first: {first}"));
    }
    dataset::write_file(
        folder.join("ledger.json"),
        format!(
            "{}\n",
            serde_json::to_string_pretty(&json!({"shards": shards, "ledger": ledger, "warnings": warnings,
            "notes": notes, "problems": problems}))?
        )
        .as_bytes(),
    )?;
    report::write(&folder.join("report.html"), &ledger, &shards, &warnings, &notes, &problems)?;
    std::fs::remove_dir(spill).ok();
    Ok(Done::All(Box::new(Summary { shards, ledger, warnings, notes })))
}
