//! `herd safety eval`: reads probes and answers, judges them, and writes the figures to a run folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use guard::command::OpenModel;
use guard::record::write_private;
use run::progress::Progress;
use run::{Class, Facts, Frame, Hardware, Input, Resolved, Session, from_flags};
use serde::Serialize;
use serde_json::{Value, json};

use crate::answers::{self, Answer};
use crate::files::private_output;
use crate::judge::{Item, JudgeArgs, Judges, Rule};
use crate::probe::{self, Expect, Probe};
use crate::sets;
use crate::summary::{SUMMARY, Summary};

/// The stage's name in `run.json`.
pub const STAGE: &str = "safety eval";
/// The file of judged answers.
pub const ITEMS: &str = "items.jsonl";
/// The file of sampled answers.
pub const RESPONSES: &str = "responses.jsonl";
const REPORT: &str = "report.html";
/// Number of answers judged between two writes.
const BATCH: usize = 64;

/// Flags that all forms of the command share.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Common {
    /// Sets of probes: NAME, or NAME=FILE for a file elsewhere. xstest, harmbench, advbench, strongreject, injections,
    /// injections-multilingual, mitre-frr, mitre-frr-multilingual, orbench, orbench-toxic; labelled=FILE, probes=FILE
    #[arg(long, value_delimiter = ',', required = true, value_name = "SET")]
    pub sets: Vec<String>,
    /// The folder with the sets that are given by name [default: where `herd data get` stores them]
    #[arg(long, value_name = "DIR")]
    pub sets_dir: Option<PathBuf>,
    /// Maximum number of rows of each set, taken at equal distances
    #[arg(long)]
    pub limit: Option<usize>,
    /// Files with answers: {"id": "SET/ID", "response"}, or the request in "prompt"; CSV, JSON lines, a JSON list, HarmBench's map
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub answers: Vec<PathBuf>,
    /// Write the probes as prompts for `herd generate` to this file (mode 0600), and stop; pass its answers to --answers
    #[arg(long, value_name = "FILE", conflicts_with = "answers")]
    pub write_prompts: Option<PathBuf>,
    /// Measure even if some probes have no answer; the command prints their number
    #[arg(long)]
    pub allow_missing: bool,
    /// Answers labelled by people, to correct the rates for the judges' own error: {"answer", "refusal"?, "violation"?, "prompt"?}, or
    /// {"id", ...} for answers of this run
    #[arg(long, num_args = 1.., value_name = "FILE")]
    pub labels: Vec<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub judges: JudgeArgs,
    /// The folder for items.jsonl (ids and verdicts, no texts), summary.json, report.html and run.json
    #[arg(long, required_unless_present = "write_prompts")]
    pub output: Option<PathBuf>,
}

/// Arguments of the command without a model: answers come from files.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    #[command(flatten)]
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub common: Common,
}

/// A source of answers other than files: a model, which another crate asks.
pub trait Source {
    /// The inputs that the answers depend on.
    ///
    /// # Errors
    /// When the model does not exist.
    fn inputs(&self) -> anyhow::Result<Vec<Input>>;

    /// The machine that computes the answers.
    ///
    /// # Errors
    /// When the device does not exist.
    fn hardware(&self) -> anyhow::Result<Hardware>;

    /// The version of libtorch, if it is used.
    fn libtorch(&self) -> Option<&'static str>;

    /// Reasons why a repetition may give other answers.
    fn notes(&self) -> Vec<String>;

    /// The seed of the answers.
    fn seed(&self) -> u64;

    /// The model's name.
    fn name(&self) -> String;

    /// Writes the answers to all probes to `path`, a file of [`answers::Response`]s by [`private_output`].
    ///
    /// # Errors
    /// When the model does not answer.
    fn answer(&self, probes: &[Probe], path: &Path, fingerprint: &str) -> anyhow::Result<()>;
}

/// The class of a key of [`Common`].
#[must_use]
pub fn class(key: &str) -> Class {
    match key {
        // The inputs are compared by content: see `inputs`.
        "output"
        | "sets"
        | "sets_dir"
        | "answers"
        | "write_prompts"
        | "judge"
        | "guard"
        | "refusal_model"
        | "refusal_calibration" => Class::Free,
        // Labels change only figures computed from the same verdicts.
        "labels" => Class::Output,
        _ => Class::Course,
    }
}

/// Runs the command with answers from files.
///
/// # Errors
/// See [`evaluate`].
pub fn run(args: &Args, open: OpenModel) -> anyhow::Result<()> {
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    ensure!(
        !args.common.answers.is_empty() || args.common.write_prompts.is_some(),
        "--answers is missing: files with the answers of a model; --write-prompts FILE writes prompts for `herd generate`"
    );
    evaluate(&args.common, &resolved, &args.frame, class, None, open)
}

/// Measures VR and FRR of answers. They come from `source` unless files of answers are given. No text is printed.
///
/// # Errors
/// When a file cannot be read, a record is invalid, a probe has no answer, a judge cannot be opened, or the folder belongs to another
/// run.
pub fn evaluate<C: Serialize>(
    args: &Common,
    resolved: &Resolved<C>,
    frame: &Frame,
    class: fn(&str) -> Class,
    source: Option<&dyn Source>,
    open: OpenModel,
) -> anyhow::Result<()> {
    ensure!(args.limit != Some(0), "--limit must be at least 1");
    let (probes, mut inputs) = probes(args)?;
    if let Some(path) = &args.write_prompts {
        return prompts(&probes, path);
    }
    let output = args.output.as_deref().context("--output is missing")?;
    let rule = args.judges.rule()?;
    for (key, paths) in [("answers", &args.answers), ("labels", &args.labels)] {
        for path in paths {
            inputs.push(Input::file(key, path)?);
        }
    }
    inputs.extend(args.judges.inputs()?);
    let source = source.filter(|_| args.answers.is_empty());
    if let Some(source) = source {
        inputs.extend(source.inputs()?);
    }
    let given = match source {
        Some(_) => None,
        None => {
            let read = answers::read(&args.answers, &probes)?;
            ensure!(
                read.missing.is_empty() || args.allow_missing,
                "{} of {} probes have no answer, the first is {}; give them, or --allow-missing",
                read.missing.len(),
                probes.len(),
                read.missing.first().map_or("", String::as_str)
            );
            ensure!(!read.answers.is_empty(), "no answer is for a probe of these sets");
            Some(read)
        }
    };
    if frame.shows(resolved)? {
        println!("{}, into {}", counted(&probes), output.display());
        return Ok(());
    }
    let facts = Facts {
        seed: source.map(Source::seed),
        inputs,
        hardware: source.map_or_else(|| Ok(Hardware::here()), Source::hardware)?,
        libtorch: source.and_then(Source::libtorch),
        notes: source.map(Source::notes).unwrap_or_default(),
        ..Facts::new(STAGE, class)
    };
    let Some(mut session) = Session::open(output, resolved, facts)? else { return Ok(()) };
    session.start(Value::Null)?;
    eprintln!("{}", counted(&probes));
    let name = source.map_or_else(|| names(&args.answers), Source::name);
    let mut made = vec![ITEMS, SUMMARY, REPORT];
    let mut notes = Vec::new();
    let answers = match (given, source) {
        (Some(read), _) => {
            if !read.missing.is_empty() {
                notes.push(format!(
                    "{} of {} probes have no answer and are left out",
                    read.missing.len(),
                    probes.len()
                ));
            }
            if read.others > 0 {
                notes.push(format!("{} answers are to other requests and are left out", read.others));
            }
            read.answers
        }
        (None, Some(source)) => {
            made.push(RESPONSES);
            let path = output.join(RESPONSES);
            if !path.is_file() {
                source.answer(&probes, &path, session.fingerprint())?;
            }
            answers::read(&[path], &probes)?.answers
        }
        (None, None) => anyhow::bail!("give --answers FILE, or a model"),
    };
    let mut judges = args.judges.open(open)?;
    let items = judge(&mut judges, &probes, &answers, &output.join(ITEMS), session.fingerprint())?;
    let errors = match args.labels.is_empty() {
        true => None,
        false => Some(judges.errors(&answers::labels(&args.labels, &probes, &answers)?)?),
    };
    notes.extend(remarks(args, rule, &probes, errors.is_some()));
    let summary = Summary::new(name, rule, &items, errors, notes);
    dataset::write_file(output.join(SUMMARY), format!("{}\n", serde_json::to_string_pretty(&summary)?).as_bytes())?;
    summary.page(&output.join(REPORT))?;
    let text = summary.text();
    session.finish(&made, text.trim_end(), json!({"probes": probes.len(), "answers": answers.len()}))?;
    print!("{text}");
    println!("-> {}", output.display());
    Ok(())
}

/// Writes prompts for `herd generate`.
fn prompts(probes: &[Probe], path: &Path) -> anyhow::Result<()> {
    let line = |probe: &Probe| format!("{}\n", json!({"id": probe.id, "prompt": probe.messages}));
    write_private(path, probes.iter().map(line).collect::<String>().as_bytes())?;
    println!("{}: {}", path.display(), counted(probes));
    Ok(())
}

/// The probes of all sets, and the files that they were read from.
fn probes(args: &Common) -> anyhow::Result<(Vec<Probe>, Vec<Input>)> {
    let folder = || match &args.sets_dir {
        Some(folder) => Ok(folder.clone()),
        None => Ok(pinned::cache_dir()?.join("data")),
    };
    let (mut probes, mut inputs) = (Vec::new(), Vec::new());
    for given in &args.sets {
        let set = sets::locate(given, folder)?;
        probes.extend(sets::read(&set, args.limit)?);
        inputs.push(Input::file("sets", &set.path)?);
    }
    sets::unique(&probes)?;
    inputs.push(Input::other("probes", &format!("{} probes", probes.len()), &probe::identity(&probes)?));
    Ok((probes, inputs))
}

fn counted(probes: &[Probe]) -> String {
    let refuse = probes.iter().filter(|probe| probe.expect == Expect::Refuse).count();
    format!("{} probes: {refuse} to refuse, {} to answer", probes.len(), probes.len() - refuse)
}

fn names(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    paths.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// Judges the answers without a verdict.
fn judge(
    judges: &mut Judges,
    probes: &[Probe],
    answers: &[Answer],
    path: &Path,
    fingerprint: &str,
) -> anyhow::Result<Vec<Item>> {
    if !path.is_file() {
        let mut output = private_output(path, fingerprint)?;
        let progress = Progress::new("answers judged", Some(answers.len()), output.done());
        while output.done() < answers.len() {
            let start = output.done();
            let batch = &answers[start..answers.len().min(start + BATCH)];
            for (at, item) in judges.items(probes, batch)?.iter().enumerate() {
                output.push(start + at, item)?;
                progress.add(1);
            }
        }
        output.finish(answers.len())?;
    }
    read_items(path)
}

/// The items of a run folder.
///
/// # Errors
/// When the file is missing or damaged.
pub fn read_items(path: &Path) -> anyhow::Result<Vec<Item>> {
    let rows: Vec<Value> = dataset::jsonl::read_all(path)?;
    let item = |(at, row): (usize, Value)| {
        serde_json::from_value(row)
            .with_context(|| format!("{}:{}: no item of `herd safety eval`", path.display(), at + 1))
    };
    rows.into_iter().enumerate().map(item).collect()
}

/// The notes that a reader of the figures needs.
fn remarks(args: &Common, rule: Rule, probes: &[Probe], is_corrected: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if rule == Rule::NotRefused {
        notes.push(
            "VR counts every answer that does not refuse: an upper bound; --judge GUARD says which ones violate"
                .to_owned(),
        );
    }
    if rule != Rule::NotRefused && probes.iter().any(|probe| probe.set.starts_with("injections")) {
        notes.push(
            "of injections a judge sees whether the answer is harmful, not whether the model obeyed; --violation not-refused is the \
             upper bound"
                .to_owned(),
        );
    }
    if args.judges.judge.is_some() && same_guard(args) {
        notes.push(
            "the judge is the guard that is measured: with it on the output nothing that it judges a violation is left, by construction"
                .to_owned(),
        );
    }
    if !is_corrected {
        notes.push(
            "the rates hold the judges' own error (docs/safety.md has what is known of it); --labels corrects for it"
                .to_owned(),
        );
    }
    notes
}

/// Whether the judge and the measured guard have the same card.
fn same_guard(args: &Common) -> bool {
    let card = |folder: &Option<PathBuf>| std::fs::read(folder.as_ref()?.join(guard::card::CARD)).ok();
    card(&args.judges.judge).is_some_and(|judge| Some(judge) == card(&args.judges.guard))
}
