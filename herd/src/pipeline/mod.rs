//! `herd run`: runs a pipeline of stages from a file, each in its own process.
//!
//! A stage that has succeeded is not run again while its command, its input files and its output files are the same,
//! by digest. After a kill at any moment, the same command continues: finished stages are skipped, and the
//! interrupted stage continues from its own last state.

mod inputs;
mod process;
mod recipe;
mod report;
mod required;
mod results;
mod state;
mod tables;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use run::progress::duration;
use run::{Begun, Class, Facts, Input, Resolved, RunFolder, Session, Signals, counted};
use serde::Serialize;
use serde_json::{Map, Value, json};

use process::End;
pub use recipe::shell;
use recipe::{Recipe, Stage};
use results::Evaluated;
pub use state::NAME as STAGE_RECORD;
use state::{LOG, Record};
use view::View;

/// Number of results of a stage that its line names.
const NAMED: usize = 5;

/// Arguments of `herd run`.
#[derive(clap::Args)]
pub struct Args {
    /// The pipeline file (recipes/ has examples)
    recipe: PathBuf,
    /// The folder of the pipeline, instead of the one that the file names
    #[arg(long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Change the value of a variable of the file. Repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Print the plan with the known durations, and stop
    #[arg(long)]
    dry_run: bool,
    /// Start at this stage, and use the existing results of the stages before it
    #[arg(long, value_name = "STAGE")]
    from: Option<String>,
    /// Stop after this stage
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs a pipeline file into a folder, or continues it.
///
/// # Errors
/// The same as [`run`].
pub fn run_file(recipe: &Path, output: &Path) -> anyhow::Result<()> {
    run(&Args {
        recipe: recipe.to_owned(),
        output: Some(output.to_owned()),
        set: Vec::new(),
        dry_run: false,
        from: None,
        until: None,
    })
}

/// Runs a pipeline, or continues it.
///
/// # Errors
/// When the file is faulty, or a stage fails; the error then has the last lines that the stage printed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let recipe = recipe::read(&args.recipe, &args.set, args.output.as_deref())?;
    let place = |name: &Option<String>| -> anyhow::Result<Option<usize>> {
        let Some(name) = name else { return Ok(None) };
        let at = recipe.stages.iter().position(|stage| stage.name == *name);
        let all = || recipe.stages.iter().map(|stage| &*stage.name).collect::<Vec<_>>().join(", ");
        Ok(Some(at.with_context(|| format!("there is no stage {name}; there are {}", all()))?))
    };
    let from = place(&args.from)?.unwrap_or(0);
    let until = place(&args.until)?.unwrap_or(recipe.stages.len() - 1);
    ensure!(from <= until, "--from {} comes after --until {}", recipe.stages[from].name, recipe.stages[until].name);
    for stage in recipe.stages.iter().filter(|stage| stage.herd) {
        let place = || format!("{}: stage {}: `{}`", args.recipe.display(), stage.name, stage.shown());
        crate::check(&stage.words).with_context(place)?;
    }
    if args.dry_run {
        plan(&recipe, from, until);
    }
    check_inputs(&recipe, from, until).with_context(|| args.recipe.display().to_string())?;
    if args.dry_run {
        return Ok(());
    }
    let session = session(args, &recipe)?;
    let folder = session.folder();
    keep_recipe(&args.recipe, &recipe, &folder.join("recipe.toml"))?;
    for stage in &recipe.stages[..from] {
        ensure!(
            Record::read(&stage.folder).is_some_and(|record| record.done),
            "--from {}: stage {} before it has not ended well yet",
            recipe.stages[from].name,
            stage.name
        );
    }
    let signals = Signals::listen().context("cannot listen for signals")?;
    let mut view = View::new(recipe.stages.len());
    let result = (from..=until).try_for_each(|number| one(&recipe, number, &signals, &mut view));
    view.finish();
    let evaluated = Evaluated::all(&recipe);
    let page = report::write(&recipe, &evaluated)?;
    result?;
    let text = results::text(&evaluated);
    print!("{text}");
    let seconds: BTreeMap<&str, f64> = recipe
        .stages
        .iter()
        .filter_map(|stage| Some((stage.name.as_str(), Record::read(&stage.folder)?.seconds)))
        .collect();
    session.finish(&[], text.trim_end(), json!({"seconds": seconds}))?;
    println!("{}: {} done. Report: {}", recipe.name, counted(until + 1 - from, "stage"), page.display());
    Ok(())
}

/// Checks that every input that no stage makes is there. Prints those that a stage of another program may make.
fn check_inputs(recipe: &Recipe, from: usize, until: usize) -> anyhow::Result<()> {
    let missing = required::missing(recipe, from..=until);
    let (perhaps, never): (Vec<_>, Vec<_>) = missing.into_iter().partition(|one| one.maker.is_some());
    for one in perhaps {
        println!("note: {}; stage {} may make it", one.sentence, one.maker.unwrap_or_default());
    }
    let sentences: Vec<String> = never.into_iter().map(|one| one.sentence).collect();
    ensure!(sentences.is_empty(), "{}", sentences.join("\n  "));
    Ok(())
}

/// The record of the pipeline itself. Each stage decides whether it runs again, so no difference is refused here.
fn session(args: &Args, recipe: &Recipe) -> anyhow::Result<Session> {
    let config = Keys {
        recipe: std::path::absolute(&args.recipe)?,
        output: recipe.output.clone(),
        set: args.set.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        from: args.from.clone(),
        until: args.until.clone(),
    };
    let facts = Facts { inputs: vec![Input::file("recipe", &args.recipe)?], ..Facts::new("run", |_| Class::Output) };
    let resolved = Resolved { config, origins: BTreeMap::new(), defaults: Map::new() };
    match Session::begin_again(RunFolder::open(&recipe.output)?, &resolved, facts, true)? {
        Begun::Going(mut session) => {
            session.start(Value::Null)?;
            Ok(session)
        }
        Begun::Finished(_) => bail!("{} is finished", recipe.output.display()),
    }
}

/// The keys of the pipeline in its record.
#[derive(Serialize)]
struct Keys {
    recipe: PathBuf,
    output: PathBuf,
    set: Vec<String>,
    from: Option<String>,
    until: Option<String>,
}

/// The state of a stage before it runs.
enum Standing {
    /// Finished, with nothing changed.
    Done(Record),
    /// Started with the same command and inputs: the stage continues.
    Begun(Record),
    /// Never run.
    New,
    /// The command or an input has changed: the old results are set aside.
    Stale,
    /// Finished, but a file is missing or changed.
    Damaged(Record, PathBuf),
}

fn standing(stage: &Stage, fingerprint: &str) -> anyhow::Result<Standing> {
    let Some(record) = Record::read(&stage.folder) else { return Ok(Standing::New) };
    Ok(match () {
        () if record.fingerprint != fingerprint => Standing::Stale,
        () if !record.done => Standing::Begun(record),
        () => match record.damage(&stage.folder)? {
            None => Standing::Done(record),
            Some(path) => Standing::Damaged(record, path),
        },
    })
}

/// Files outside its folder that an earlier run of the stage made.
fn created(stage: &Stage) -> BTreeSet<String> {
    Record::read(&stage.folder).map(|record| record.created).unwrap_or_default()
}

/// Keeps a copy of the recipe in the pipeline's folder. Another file of that name is moved to `.earlier` first.
fn keep_recipe(from: &Path, recipe: &Recipe, copy: &Path) -> anyhow::Result<()> {
    let there = fs::read_to_string(copy).ok();
    if there.as_deref() == Some(&recipe.text)
        || fs::canonicalize(copy).is_ok_and(|there| fs::canonicalize(from).is_ok_and(|from| from == there))
    {
        return Ok(());
    }
    if there.is_some() {
        let aside = free_name(&recipe.output, "recipe", ".toml")?;
        fs::rename(copy, &aside).with_context(|| format!("cannot move {} aside", copy.display()))?;
    }
    dataset::write_file(copy, recipe.text.as_bytes()).context("cannot keep a copy of the recipe")
}

/// An unused name in `.earlier`.
fn free_name(output: &Path, name: &str, end: &str) -> anyhow::Result<PathBuf> {
    let aside = output.join(".earlier");
    fs::create_dir_all(&aside).with_context(|| format!("cannot create {}", aside.display()))?;
    let free = (1..).map(|n| aside.join(format!("{name}-{n}{end}"))).find(|path| !path.exists());
    free.context("no name is free")
}

/// Runs one stage to its end.
fn one(recipe: &Recipe, index: usize, signals: &Signals, view: &mut View) -> anyhow::Result<()> {
    let (stage, number, total) = (&recipe.stages[index], index + 1, recipe.stages.len());
    let created = created(stage);
    let fingerprint = inputs::fingerprint(recipe, index, &created)?;
    let mut record = Record {
        name: stage.name.clone(),
        fingerprint: fingerprint.clone(),
        command: stage.shown(),
        done: false,
        failures: Vec::new(),
        seconds: 0.0,
        cpu_seconds: 0.0,
        peak_memory: 0,
        outputs: Default::default(),
        created,
    };
    match standing(stage, &fingerprint)? {
        Standing::Done(record) => {
            let took = duration(Duration::from_secs_f64(record.seconds));
            view.line(&format!("[{number}/{total}] {}: done before, in {took}", stage.name));
            return Ok(());
        }
        Standing::Begun(before) => record = Record { failures: Vec::new(), ..before },
        Standing::Damaged(before, path) => {
            view.line(&format!(
                "[{number}/{total}] {}: {} is missing or changed; it runs again",
                stage.name,
                path.display()
            ));
            record = Record { done: false, ..before };
        }
        Standing::Stale => {
            let aside = put_aside(&recipe.output, stage)?;
            view.line(&format!(
                "[{number}/{total}] {}: its command or what it reads has changed; the earlier result is in {}",
                stage.name,
                aside.display()
            ));
        }
        Standing::New => {}
    }
    fs::create_dir_all(&stage.folder).with_context(|| format!("cannot create {}", stage.folder.display()))?;
    record.write(&stage.folder)?;
    let log = stage.folder.join(LOG);
    let absent = inputs::absent(stage);
    for attempt in 0..=stage.retries {
        view.start(number, &stage.name, &record.command);
        let result = process::run(stage, &log, signals, |elapsed| view.tick(number, &stage.name, elapsed, &log))?;
        record.seconds += result.seconds;
        record.cpu_seconds += result.cpu_seconds;
        record.peak_memory = record.peak_memory.max(result.peak_memory);
        match result.end {
            End::Good => {
                record.done = true;
                record.created.extend(inputs::appeared(&absent));
                let (outputs, missed) = inputs::outputs(recipe, index);
                record.outputs = outputs;
                record.write(&stage.folder)?;
                for what in missed {
                    view.line(&format!("[{number}/{total}] {}: not recorded as a result: {what}", stage.name));
                }
                view.line(&format!(
                    "[{number}/{total}] {}: done in {}, {:.2} GB at most, {}",
                    stage.name,
                    duration(Duration::from_secs_f64(record.seconds)),
                    record.peak_memory as f64 / 1e9,
                    written(stage, &record)
                ));
                return Ok(());
            }
            End::Stopped => {
                record.write(&stage.folder)?;
                bail!("stopped by a signal in stage {}; the same command continues from there", stage.name);
            }
            End::Bad(what) => {
                record.failures.push(what.clone());
                record.write(&stage.folder)?;
                let left = stage.retries - attempt;
                let lines = view::tail(&log, 12).join("\n  ");
                ensure!(
                    left > 0,
                    "stage {} {what}. The last lines of {}:\n  {lines}\nMend the cause and run the same command: what is done \
                     stays done",
                    stage.name,
                    log.display()
                );
                view.line(&format!("[{number}/{total}] {} {what}; trying again ({left} left)", stage.name));
            }
        }
    }
    Ok(())
}

/// The results of a finished stage in words: its folder, and the files and folders in it.
fn written(stage: &Stage, record: &Record) -> String {
    let top = |name: &String| Path::new(name).components().next().map(|part| part.as_os_str().to_owned());
    let mut names: Vec<String> =
        record.outputs.keys().filter_map(top).map(|name| name.to_string_lossy().into_owned()).collect();
    names.dedup();
    // The model comes first: the next stage uses it.
    names.sort_by_key(|name| !["model", "adapter"].contains(&&**name));
    match &names[..] {
        [] => format!("nothing written to {}", stage.folder.display()),
        all => {
            let more = if all.len() > NAMED { format!(" and {} more", all.len() - NAMED) } else { String::new() };
            format!("written to {}: {}{more}", stage.folder.display(), all[..all.len().min(NAMED)].join(", "))
        }
    }
}

/// Sets a stage's folder aside.
fn put_aside(output: &Path, stage: &Stage) -> anyhow::Result<PathBuf> {
    let name = stage.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let target = free_name(output, &name, "")?;
    fs::rename(&stage.folder, &target).with_context(|| format!("cannot move {} aside", stage.folder.display()))?;
    Ok(target)
}

/// Prints the plan of `--dry-run`.
fn plan(recipe: &Recipe, from: usize, until: usize) {
    println!("{}\n{}", recipe.name, recipe.about.trim());
    let (mut known, mut unknown) = (Duration::ZERO, 0_u64);
    let mut upstream = false;
    for (index, stage) in recipe.stages.iter().enumerate() {
        let record = Record::read(&stage.folder);
        let before = record.as_ref().filter(|record| record.done).map(|record| Duration::from_secs_f64(record.seconds));
        let word = match () {
            () if index < from || index > until => "left out",
            () if upstream => "to do",
            () => match inputs::fingerprint(recipe, index, &created(stage)).and_then(|print| standing(stage, &print)) {
                Ok(Standing::Done(_)) => "done",
                Ok(Standing::Begun(_)) => "begun",
                Ok(Standing::Damaged(..)) => "damaged",
                Ok(Standing::Stale) => "changed",
                Ok(Standing::New) | Err(_) => "to do",
            },
        };
        if !["done", "left out"].contains(&word) {
            upstream = true;
            match before.or(stage.estimate) {
                Some(time) => known += time,
                None => unknown += 1,
            }
        }
        let time = match (before, stage.estimate) {
            (Some(time), _) => format!("{} last time", duration(time)),
            (None, Some(time)) => format!("about {}", duration(time)),
            (None, None) => "no estimate".into(),
        };
        println!("\n{:>3}. {:<24} {word:<9} {time}", index + 1, stage.name);
        if !stage.about.is_empty() {
            println!("     {}", stage.about);
        }
        println!("     {}", stage.shown());
        if stage.herd && stage.words.iter().any(|word| word == "--skip-bad") {
            println!("     Bad records are set aside; this command with --dry-run counts them by reason.");
        }
    }
    let more =
        if unknown > 0 { format!(", and {} without an estimate", counted(unknown, "stage")) } else { String::new() };
    println!("\nTo do: about {}{more}. Estimates are the file's, or what the stage took last time.", duration(known));
}
