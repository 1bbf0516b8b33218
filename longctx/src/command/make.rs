//! `longctx make`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ::run::{Class, Facts, Frame, Hardware, Input, Progress, Session, Signals, from_flags, grouped};
use anyhow::{Context as _, bail, ensure};
use chat::locate_tokenizer;
use clap::ValueEnum as _;
use dataset::Conversation;
use dataset::jsonl::{self, OnBadLine};
use dataset::resume::OrderedOutput;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use super::tokens;
use crate::counter::Counter;
use crate::documents::{self, Document, UNKNOWN};
use crate::record::{self, Meta, Plan};
use crate::repo::{self, Library};
use crate::ruler::{self, Ruler};
use crate::split::Split;
use crate::stream::{BREAK, Stream};
use crate::task::{Task, World};
use crate::windows::Windows;

/// Arguments of `longctx make`.
#[derive(clap::Args, Debug, Clone, Serialize)]
pub struct Args {
    #[command(flatten)]
    #[serde(skip)]
    #[allow(missing_docs)]
    pub frame: Frame,
    /// Texts to ask about: .txt, .md, .rst (also .gz), .jsonl or .parquet with a field `text`, or folders of them
    #[arg(long, num_args = 1..)]
    pub texts: Vec<PathBuf>,
    /// Python packages to ask about: wheels, sdists, folders of sources, folders of archives
    #[arg(long, num_args = 1..)]
    pub repositories: Vec<PathBuf>,
    /// Tokenizer with chat template: a model's folder or name
    #[arg(long)]
    pub tokenizer: String,
    /// Record lengths in tokens, including chat template and answers; k is 1,024
    #[arg(long, value_delimiter = ',', default_value = "16k,32k,64k,128k")]
    pub buckets: Vec<String>,
    /// Tasks: all, extract, order, count, aggregate, key-value, facts, contradiction, hops, position, turns, repository; all means every
    /// task that the given texts and packages allow. Or RULER's tasks, for evaluation: ruler for all, ruler:niah_single_1, ...
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub tasks: Vec<String>,
    /// Number of records
    #[arg(long, default_value_t = 400)]
    pub count: u64,
    /// Side of the documents, keys and phrases: training or evaluation [default: train; evaluation for RULER's tasks]
    #[arg(long, value_enum)]
    pub split: Option<Split>,
    /// Records or texts of the other split: documents that share a run of 13 words with them are left out
    #[arg(long, num_args = 1..)]
    pub decontaminate: Vec<PathBuf>,
    /// Licence to record for texts that state none
    #[arg(long, default_value = UNKNOWN)]
    pub licence: String,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Number of threads; does not change the output [default: the processor's]
    #[arg(long)]
    pub threads: Option<usize>,
    /// Output folder for train.jsonl or evaluation.jsonl, and run.json
    #[arg(long)]
    pub output: PathBuf,
}

fn class(key: &str) -> Class {
    match key {
        // These keys are compared by the digests of their files.
        "output" | "threads" | "texts" | "repositories" | "decontaminate" | "tokenizer" => Class::Free,
        _ => Class::Course,
    }
}

/// Runs `longctx make`. The same arguments give the same bytes with any number of threads. A killed run resumes with the same command.
///
/// # Errors
/// When an argument is invalid or a step fails; the error says which.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let tasks = Tasks::parse(&args.tasks, args.texts.is_empty(), args.repositories.is_empty())?;
    let split = tasks.split(args.split)?;
    let buckets: Vec<usize> =
        args.buckets.iter().map(|text| tokens(text)).collect::<anyhow::Result<_>>().context("--buckets")?;
    ensure!(args.count > 0, "--count 0: nothing to make");
    let needing = tasks.needing_texts();
    if let (Some(task), true) = (&needing, args.texts.is_empty()) {
        bail!(
            "--tasks {task}: give --texts, or a task that needs none (key-value, ruler:niah_single_1, ruler:vt, ruler:cwe, ...)"
        );
    }
    let folder = locate_tokenizer(&args.tokenizer)?;
    let resolved = from_flags(args, args.frame.config.as_deref())?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.threads.unwrap_or(0))
        .build()
        .context("cannot start threads")?;
    ensure!(
        !tasks.has_repository() || !args.repositories.is_empty(),
        "--tasks repository: give --repositories with wheels, sdists or folders"
    );
    let read = documents::load(&args.texts, &args.licence)?;
    let (packages, package_files) = repo::load::load(&args.repositories)?;
    let mut inputs = tokenizer_inputs(&folder)?;
    for (key, files) in [("texts", &read.files), ("decontaminate", &args.decontaminate)] {
        for file in files {
            inputs.push(Input::file(key, file)?);
        }
    }
    for (path, package) in package_files.iter().zip(&packages) {
        let texts = package.files.iter().map(|file| format!("{}\n{}\n", file.path, file.text)).collect::<String>();
        inputs.push(Input::other("repositories", &path.to_string_lossy(), &texts));
    }
    let facts = Facts {
        seed: Some(args.seed),
        inputs,
        hardware: Hardware { threads: Some(pool.current_num_threads()), ..Hardware::here() },
        ..Facts::new("longctx make", class)
    };
    if args.frame.shows(&resolved)? {
        return Ok(());
    }
    let Some(mut session) = Session::open(&args.output, &resolved, facts)? else { return Ok(()) };
    let counter = Counter::open(&folder)?;
    let mut left_out = read.left_out.clone();
    let kept = choose(read.documents, &args.decontaminate, split, &counter, &mut left_out)?;
    ensure!(
        needing.is_none() || !kept.is_empty(),
        "no text is left for --split {}: {}; a document belongs to evaluation or to training by its digest, so give more of them",
        split.name(),
        counts(&left_out)
    );
    let world = pool.install(|| {
        let (kept, separator) = match &tasks {
            Tasks::Embedded(_) => (kept, BREAK),
            Tasks::Ruler(_) => (kept.into_iter().map(Document::running).collect(), " "),
        };
        let stream = if kept.is_empty() { None } else { Some(Stream::new(kept, args.seed, &counter, separator)?) };
        let library = if packages.is_empty() { None } else { Some(Library::new(packages, split, &counter)?) };
        World::new(stream, library, counter, split)
    })?;
    let is_empty = world.library.as_ref().is_some_and(|library| library.files() == 0);
    ensure!(
        !(tasks.has_repository() && is_empty),
        "no package is left for --split {}: {}; a package belongs to evaluation or to training by its name, so give more of them",
        split.name(),
        world.library.as_ref().map_or(String::new(), |library| counts(&library.left_out))
    );
    let start = texts_summary(&world, &left_out);
    eprintln!("{start}");
    session.start(Value::Null)?;
    let name = format!("{}.jsonl", split.name());
    let path = args.output.join(&name);
    let make = |number: u64| tasks.make(number, &buckets, &world, args.seed);
    pool.install(|| write(args, &make, &path, session.fingerprint()))?;
    let totals = Totals::of(&path)?;
    let summary = format!("{}: {}\n{start}", path.display(), totals.text(&tasks));
    session.finish(
        &[&name],
        &summary,
        json!({"records": totals.records, "tokens": totals.tokens, "trained_tokens": totals.trained}),
    )?;
    println!("{summary}");
    Ok(())
}

/// The tasks of a run.
enum Tasks {
    Embedded(Vec<Task>),
    Ruler(Vec<Ruler>),
}

impl Tasks {
    /// Parses task names.
    fn parse(names: &[String], no_texts: bool, no_packages: bool) -> anyhow::Result<Self> {
        let (mut embedded, mut ruler): (Vec<Task>, Vec<Ruler>) = (Vec::new(), Vec::new());
        for name in names {
            match (name.as_str(), name.strip_prefix("ruler:")) {
                ("all", _) => {
                    embedded.extend(Task::ALL.iter().filter(|task| !task.needs_texts() || !no_texts || no_packages));
                    embedded.extend((!no_packages).then_some(Task::Repository));
                }
                ("ruler", _) => ruler.extend(Ruler::ALL),
                (_, Some(of)) => ruler.push(Ruler::of_name(of).with_context(|| {
                    format!(
                        "--tasks {name}: known are ruler and ruler: with {}",
                        Ruler::ALL.map(Ruler::name).join(", ")
                    )
                })?),
                _ => embedded.push(Task::from_str(name, false).map_err(|_| {
                    let known = Task::ALL.map(Task::name).join(", ");
                    anyhow::anyhow!(
                        "--tasks {name}: known are all, {known}, repository, ruler, ruler:niah_single_1, ..."
                    )
                })?),
            }
        }
        let mut seen = std::collections::HashSet::new();
        embedded.retain(|task| seen.insert(task.name()));
        ruler.retain(|task| seen.insert(task.name()));
        match (embedded.is_empty(), ruler.is_empty()) {
            (false, true) => Ok(Self::Embedded(embedded)),
            (true, false) => Ok(Self::Ruler(ruler)),
            (true, true) => bail!("--tasks names none"),
            (false, false) => bail!("--tasks: RULER's tasks are for evaluation only; make them in a run of their own"),
        }
    }

    fn split(&self, given: Option<Split>) -> anyhow::Result<Split> {
        match (self, given) {
            (Self::Ruler(_), Some(Split::Train)) => bail!("--split train: RULER's tasks are for evaluation only"),
            (Self::Ruler(_), _) => Ok(Split::Evaluation),
            (Self::Embedded(_), given) => Ok(given.unwrap_or(Split::Train)),
        }
    }

    /// The name of a task that needs texts, if there is one.
    fn needing_texts(&self) -> Option<String> {
        match self {
            Self::Embedded(tasks) => tasks.iter().find(|task| task.needs_texts()).map(|task| task.name().to_owned()),
            Self::Ruler(tasks) => {
                tasks.iter().find(|task| task.needs_texts()).map(|task| format!("ruler:{}", task.name()))
            }
        }
    }

    fn has_repository(&self) -> bool {
        matches!(self, Self::Embedded(tasks) if tasks.contains(&Task::Repository))
    }

    fn can_be_absent(&self) -> bool {
        matches!(self, Self::Embedded(tasks) if tasks.iter().any(|task| task.can_be_absent()))
    }

    /// Makes the record with this number.
    fn make(&self, number: u64, buckets: &[usize], world: &World, seed: u64) -> anyhow::Result<Conversation> {
        match self {
            Self::Embedded(tasks) => {
                let item = Plan { tasks, buckets }.item(number);
                Ok(record::make(world, item, seed)?.conversation)
            }
            Self::Ruler(tasks) => {
                let (round, at) = (number / tasks.len() as u64, number % tasks.len() as u64);
                let bucket = buckets[(round % buckets.len() as u64) as usize];
                ruler::make(world, tasks[at as usize], number, bucket, seed)
            }
        }
    }
}

/// The files that decide how a text is tokenised.
///
/// # Errors
/// When one cannot be read.
pub fn tokenizer_inputs(folder: &Path) -> anyhow::Result<Vec<Input>> {
    let names = [
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template.jinja",
        "chat_template.json",
    ];
    let files = names.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
    files.map(|path| Input::file("tokenizer", &path)).collect()
}

/// Chooses the usable documents of the split; the others are counted and named.
///
/// # Errors
/// When a file of `against` cannot be read.
pub fn choose(
    documents: Vec<Document>,
    against: &[PathBuf],
    split: Split,
    counter: &Counter,
    left_out: &mut BTreeMap<&'static str, usize>,
) -> anyhow::Result<Vec<Document>> {
    let mut windows = Windows::default();
    for path in against {
        see(path, &mut windows)?;
    }
    let mut kept = Vec::new();
    for mut document in documents {
        let other = match split {
            Split::Train => "documents kept for evaluation",
            Split::Evaluation => "documents kept for training",
        };
        if Split::of_digest(&document.sha256) != split {
            *left_out.entry(other).or_default() += 1;
            continue;
        }
        if let Some(window) = document.paragraphs.iter().find_map(|paragraph| windows.shared(paragraph)) {
            eprintln!("left out: {} shares \"{window}\" with --decontaminate", document.name);
            *left_out.entry("documents that share 13 words with --decontaminate").or_default() += 1;
            continue;
        }
        let before = document.paragraphs.len();
        let is_mark = |line: &str| crate::phrases::marks().any(|(open, close)| line == open || line == close);
        document.paragraphs.retain(|p| counter.special_in(p).is_none() && !p.lines().any(is_mark));
        if before > document.paragraphs.len() {
            let count = before - document.paragraphs.len();
            *left_out.entry("paragraphs with a special token or a mark").or_default() += count;
        }
        if !document.paragraphs.is_empty() {
            kept.push(document);
        }
    }
    Ok(kept)
}

/// Adds the windows of a file of records or texts.
pub(crate) fn see(path: &Path, windows: &mut Windows) -> anyhow::Result<()> {
    let name = path.to_string_lossy();
    if [".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet"].iter().any(|ending| name.ends_with(ending)) {
        for record in jsonl::read::<Value>(path, OnBadLine::Error)? {
            windows.add_record(&record?);
        }
        return Ok(());
    }
    for document in documents::load(&[path.to_owned()], UNKNOWN)?.documents {
        windows.add(&document.paragraphs.join("\n\n"));
    }
    Ok(())
}

fn write(
    args: &Args,
    make: &(impl Fn(u64) -> anyhow::Result<Conversation> + Sync),
    path: &Path,
    fingerprint: &str,
) -> anyhow::Result<()> {
    let signals = Signals::listen().context("cannot listen for signals")?;
    let mut out = OrderedOutput::open(path, fingerprint)?;
    let progress = Progress::new("records", Some(args.count as usize), out.done());
    let mut next = out.done() as u64;
    while next < args.count {
        if signals.stop() {
            bail!("stopped with {next} of {} records; the same command goes on", args.count);
        }
        let until = (next + 4 * rayon::current_num_threads() as u64).min(args.count);
        let made: Vec<anyhow::Result<Conversation>> = (next..until).into_par_iter().map(make).collect();
        for (number, record) in (next..until).zip(made) {
            out.push(number as usize, &record?)?;
        }
        progress.add((until - next) as usize);
        next = until;
    }
    out.finish(args.count as usize)?;
    Ok(())
}

fn texts_summary(world: &World, left_out: &BTreeMap<&'static str, usize>) -> String {
    let mut lines = Vec::new();
    if let Some(stream) = &world.stream {
        let count = stream.documents.len();
        lines.push(format!(
            "texts: {count} documents, {} paragraphs, {} tokens",
            stream.paragraphs.len(),
            grouped(stream.total())
        ));
        let unknown = stream.documents.iter().filter(|(_, document)| document.licence == UNKNOWN).count();
        if unknown > 0 {
            lines.push(format!("{unknown} documents of unknown licence (--licence, or a field license)"));
        }
        if !world.counter.is_by_parts() {
            lines.push("this tokenizer joins paragraphs: every record is encoded whole, which is slower".to_owned());
        }
    }
    if let Some(library) = &world.library {
        let (count, unknown) = library.packages();
        lines.push(format!("packages: {count}, {} files, {} tokens", library.files(), grouped(library.total())));
        if unknown > 0 {
            lines.push(format!("{unknown} packages of unknown licence"));
        }
        if !library.left_out.is_empty() {
            lines.push(format!("left out of the packages: {}", counts(&library.left_out)));
        }
    }
    if !left_out.is_empty() {
        lines.push(format!("left out: {}", counts(left_out)));
    }
    lines.join("\n")
}

/// Formats counts by reason as a list.
#[must_use]
pub fn counts(counts: &BTreeMap<&'static str, usize>) -> String {
    counts.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

/// The totals of a file of records.
#[derive(Debug, Default)]
struct Totals {
    records: u64,
    tokens: u64,
    trained: u64,
    absent: u64,
    /// Number of records and of tokens in each bucket.
    buckets: BTreeMap<usize, (u64, u64)>,
    least_filled: Option<f64>,
}

impl Totals {
    fn of(path: &Path) -> anyhow::Result<Self> {
        /// The fields of a record that the totals need; messages are not kept.
        #[derive(serde::Deserialize)]
        struct Line {
            meta: Meta,
        }
        let mut totals = Self::default();
        for line in jsonl::read::<Line>(path, OnBadLine::Error)? {
            let meta = line?.meta;
            totals.records += 1;
            totals.tokens += meta.length_tokens as u64;
            totals.trained += meta.trained_tokens as u64;
            totals.absent += u64::from(meta.not_in_text);
            let bucket = totals.buckets.entry(meta.bucket).or_default();
            *bucket = (bucket.0 + 1, bucket.1 + meta.length_tokens as u64);
            let filled = meta.length_tokens as f64 / meta.bucket as f64;
            totals.least_filled = Some(totals.least_filled.map_or(filled, |least| least.min(filled)));
        }
        Ok(totals)
    }

    fn text(&self, tasks: &Tasks) -> String {
        let share = self.absent as f64 / self.records.max(1) as f64;
        let mut text = format!(
            "{} records, {} tokens, {} of them trained; in {} ({:.1}%) the text does not say",
            grouped(self.records),
            grouped(self.tokens),
            grouped(self.trained),
            grouped(self.absent),
            share * 100.0
        );
        if !tasks.can_be_absent() {
            text += ": none of the tasks asks for what is not in the text";
        }
        for (bucket, (records, tokens)) in &self.buckets {
            let filled = *tokens as f64 / (*records * *bucket as u64) as f64;
            text +=
                &format!("\n  bucket {}: {records} records, {:.1}% filled", grouped(*bucket as u64), filled * 100.0);
        }
        text + &format!("\n  least filled record: {:.1}%", self.least_filled.unwrap_or_default() * 100.0)
    }
}
